"""`mesh control-plane`: where it keeps its store and key, how it serves its API, and that its folder is its own."""

import os
import re
import select
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Mesh

from mesh.cli.open_store import read_key_file
from mesh.model.errors import ConfigError

NO_API = ("--api", "off", "--api-tls", "off")


def test_wrong_store_and_api_addresses_are_said_at_once_without_a_password(mesh: Mesh, tmp_path: Path) -> None:
    options = ("--store", "mysql://u:secret@h/db", "--api", "10.0.0.1:5681", "--api-tls", "127.0.0.1")
    ended = mesh("control-plane", "--data", tmp_path / "cp", *options)
    assert ended.code == 2
    assert ended.errors == [
        "--store: is neither sqlite nor the URL of a database"
        " (write sqlite, or postgresql://user:password@host:5432/database)",
        "--api: 10.0.0.1:5681 is not on loopback"
        " (write 127.0.0.1:5681: tokens would be read on the way; others use HTTPS, --api-tls)",
        "--api-tls: '127.0.0.1' is not an address with a port (write IP:PORT, as 127.0.0.1:5678 or [::1]:5678)",
    ]
    assert not (tmp_path / "cp").exists()


def test_damaged_encryption_key_is_not_made_anew(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "cp").mkdir()
    (tmp_path / "cp" / "encryption.key").write_text("junk")
    ended = mesh("control-plane", "--data", tmp_path / "cp", "--address", "127.0.0.1:0", *NO_API)
    assert ended.code == 2
    assert ended.errors == [
        "encryption.key: is not a sealing key: 32 bytes as base64, one key a line"
        " (bring it back from a copy: the secrets in the store cannot be read without it)"
    ]


def test_encryption_key_is_made_where_it_is_wanted_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mesh.key"
    keys = read_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path) == keys
    assert [file.name for file in tmp_path.iterdir()] == ["mesh.key"]
    with pytest.raises(ConfigError, match="No such file or directory"):
        read_key_file(tmp_path / "no" / "mesh.key")


class Serving:
    """A control plane in a process of its own, with its API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "mesh", "control-plane", "--data", str(folder), "--address", "127.0.0.1:0"]
        command += ["--api", "127.0.0.1:0", "--api-tls", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.text = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        while (found := re.search(pattern, self.text)) is None:
            readable, _, _ = select.select([self.process.stderr], [], [], 20)
            data = os.read(self.process.stderr.fileno(), 65536) if readable else b""
            assert data, f"{pattern!r} is not in {self.text!r}"
            self.text += data.decode()
        return found

    def get(self, url: str, *, token: str = "") -> tuple[int, str]:
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("serving") / "cp")
    serving.wait_for("control plane on https")
    yield serving
    serving.process.kill()
    serving.process.communicate()


def test_api_is_served_with_the_certificate_of_the_control_plane(serving: Serving) -> None:
    token_file = serving.folder / "admin.token"
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text().strip()
    for scheme in ("http", "https"):
        url = serving.wait_for(rf"API on ({scheme}://127\.0\.0\.1:\d+), its administrator's token in ")[1]
        assert serving.get(f"{url}/meshes")[0] == 401
        status, body = serving.get(f"{url}/meshes", token=token)
        assert status == 200 and '"default"' in body
    assert token not in serving.text
    assert [path.name for path in serving.folder.iterdir() if path.name.startswith(".")] == []


def test_data_folder_is_one_control_planes(serving: Serving, mesh: Mesh) -> None:
    ended = mesh("control-plane", "--data", serving.folder, "--address", "127.0.0.1:0", *NO_API)
    assert ended.code == 2
    assert ended.errors == [
        f"--data: {serving.folder} is in use by another control plane (stop it, or name another folder)"
    ]


def test_store_without_its_key_is_told_and_no_other_key_is_made(tmp_path: Path) -> None:
    (tmp_path / "mesh.db").write_bytes(b"")
    command = [
        sys.executable,
        "-m",
        "mesh",
        "control-plane",
        "--data",
        str(tmp_path),
        "--api",
        "off",
        "--api-tls",
        "off",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "holds mesh.db, but not its encryption.key (bring it back from a copy" in ended.stderr
    assert not (tmp_path / "encryption.key").exists()
