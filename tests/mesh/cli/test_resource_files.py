"""Resources from files and folders: nothing in them is never taken for no policies."""

from pathlib import Path

import pytest

from mesh.cli.files import check_data_folder, read_resources
from mesh.model.errors import ConfigError

MESH = "{type: Mesh, name: default}\n"


def violations(*paths: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read_resources(paths)
    return [str(violation) for violation in refused.value.violations]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n---\n", "null\n"])
def test_file_without_resource_is_refused(tmp_path: Path, text: str) -> None:
    empty = write(tmp_path / "empty.yaml", text)
    hint = "(write at least one, as {type: Mesh, name: default})"
    assert violations(empty) == [f"{empty}: holds no resource {hint}"]
    assert violations(write(tmp_path / "mesh.yaml", MESH), empty) == [f"{empty}: holds no resource {hint}"]


def test_folder_without_resource_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", "not ours")
    assert violations(tmp_path)[0].startswith(f"{tmp_path}: holds no resource: no .yaml, .yml, .json file in it")
    write(tmp_path / "a.yaml", "# nothing yet")
    assert violations(tmp_path)[0].startswith(f"{tmp_path}: holds no resource (")


def test_folder_needs_one_resource_not_one_in_each_file(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "# nothing yet")
    write(tmp_path / "b.yaml", MESH)
    assert [resource.kind for resource in read_resources([tmp_path])] == ["Mesh"]


def test_no_files_at_all_are_no_resources() -> None:
    assert violations()[0].startswith("--resources: holds no resource")


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.yaml", "")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    wrong = write(tmp_path / "wrong.yaml", "{type: Mesch, name: default}")
    found = violations(tmp_path / "missing.yaml", empty, binary, wrong)
    assert found[0] == f"{tmp_path / 'missing.yaml'}: cannot read the resources: No such file or directory"
    assert found[1].startswith(f"{empty}: holds no resource")
    assert found[2] == f"{binary}: cannot read the resources: not UTF-8 text"
    assert found[3].startswith(f"{wrong}:1:2: type: unknown kind 'Mesch'")
    assert len(found) == 4


def test_data_folder_is_no_file(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "")
    for path in (file, file / "below"):
        with pytest.raises(ConfigError, match=rf"^--data: {file} is a file, not a folder"):
            check_data_folder(path)
    assert check_data_folder(tmp_path / "new" / "newer") == tmp_path / "new" / "newer"
