"""What a sidecar may read of its own host."""

import os
from pathlib import Path

import pytest

from mesh.runtime.real.host_files import FILE_BYTES_MAX, RealHostFiles


def test_files_and_variables_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(b"x")
    monkeypatch.setenv("CLIENT_KEY", "y")
    assert RealHostFiles().read(str(tmp_path / "ca.pem")) == b"x"
    assert RealHostFiles().variable("CLIENT_KEY") == "y"
    assert RealHostFiles().variable("NO_SUCH_VARIABLE_HERE") is None


def test_what_is_no_small_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    for path in (
        "relative.pem",
        str(tmp_path),
        str(tmp_path / "absent"),
        str(tmp_path / "pipe"),
        str(tmp_path / "large"),
    ):
        with pytest.raises(OSError, match=r".+"):
            RealHostFiles().read(path)
