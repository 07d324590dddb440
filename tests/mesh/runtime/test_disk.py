import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from mesh.runtime.durable import write_durably
from mesh.runtime.real.disk import RealDisk


class RecordingDisk:
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    async def read(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    async def write(self, path: str, data: bytes) -> None:
        self.calls.append(("write", path, data.decode()))

    async def sync(self, path: str) -> None:
        self.calls.append(("sync", path))

    async def rename(self, source: str, target: str) -> None:
        self.calls.append(("rename", source, target))

    async def delete(self, path: str) -> None:
        self.calls.append(("delete", path))

    async def list(self, folder: str) -> Sequence[str]:
        return ()


async def test_writing_durably_syncs_the_bytes_before_and_the_name_after_the_rename() -> None:
    disk = RecordingDisk()
    await write_durably(disk, "keys/svid.json", b"new")
    assert disk.calls == [
        ("write", "keys/svid.json.new", "new"),
        ("sync", "keys/svid.json.new"),
        ("rename", "keys/svid.json.new", "keys/svid.json"),
        ("sync", "keys/svid.json"),
    ]


async def test_files_are_written_read_listed_renamed_and_deleted(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "data"))
    assert list(await disk.list("")) == []
    await write_durably(disk, "a/b/one", b"1")
    await disk.write("two", b"22")
    await disk.write("two", b"2")
    await disk.sync("two")
    assert list(await disk.list("")) == ["a/b/one", "two"]
    assert list(await disk.list("a")) == ["a/b/one"]
    assert list(await disk.list("absent")) == []
    assert (await disk.read("a/b/one"), await disk.read("two")) == (b"1", b"2")
    await disk.rename("two", "a/two")
    await disk.delete("a/b/one")
    assert list(await disk.list("")) == ["a/two"]
    with pytest.raises(FileNotFoundError):
        await disk.read("two")
    with pytest.raises(FileNotFoundError):
        await disk.sync("two")


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "data"))
    await disk.write("keys/private", b"key")
    for place, mode in (("data", 0o700), ("data/keys", 0o700), ("data/keys/private", 0o600)):
        assert stat.S_IMODE((tmp_path / place).stat().st_mode) == mode


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../outside", "a/../../outside", "link/outside", "a\0b", "."])
async def test_no_path_leaves_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_text("not yours")
    disk = RealDisk(str(tmp_path / "data"))
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        await disk.read(path)
    with pytest.raises(PermissionError):
        await disk.write(path, b"x")


async def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not yours")
    disk = RealDisk(str(tmp_path / "data"))
    (tmp_path / "data" / "file").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic links"):
        await disk.write("file", b"x")
    with pytest.raises(OSError, match="symbolic links"):
        await disk.read("file")
    assert (tmp_path / "outside").read_text() == "not yours"
