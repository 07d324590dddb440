"""`mesh control-plane`: options checked at once, the real port told, resources kept when new ones are wrong."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Mesh

from mesh.control.first_start import OLD_AUTHORITY, OLD_FOLDER

MESH = "{type: Mesh, name: default}\n"


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    path = tmp_path / "resources.yaml"
    path.write_text(MESH)
    return path


def test_everything_wrong_is_said_at_once(mesh: Mesh, tmp_path: Path) -> None:
    file, empty = tmp_path / "file", tmp_path / "empty.yaml"
    file.touch()
    empty.touch()
    options = ("--address", "localhost:5678", "--server-name", "a b", "--zone", "", "--resources", empty)
    ended = mesh("control-plane", "--data", file, *options)
    assert ended.code == 2
    assert ended.errors == [
        f"--data: {file} is a file, not a folder (name a folder or a new one)",
        "--address: 'localhost' is not an IP address (write IP:PORT, as 127.0.0.1:5678)",
        "--server-name: 'a b' is neither a host name nor an IP address"
        " (write it as in the URL that sidecars use, without scheme and port)",
        "--zone: is empty (write a name of lower case letters, digits, '.', '_' and '-')",
        f"{empty}: holds no resource (write at least one, as {{type: Mesh, name: default}})",
    ]


def test_damaged_or_unusable_old_keys_are_named(mesh: Mesh, tmp_path: Path, resources: Path) -> None:
    damaged, unusable = tmp_path / "damaged", tmp_path / "unusable"
    for folder in (damaged, unusable):
        (folder / OLD_FOLDER).mkdir(parents=True)
    (damaged / OLD_AUTHORITY).write_text("junk")
    (unusable / OLD_AUTHORITY).mkdir()
    for folder, message in (
        (damaged, "a key is damaged: "),
        (unusable, "cannot keep the control plane's keys: Is a directory"),
    ):
        ended = mesh("control-plane", "--data", folder, "--resources", resources, "--address", "127.0.0.1:0")
        assert ended.code == 2
        assert ended.errors[0].startswith(f"{folder}: {message}")


class Running:
    """A control plane in a process of its own."""

    def __init__(self, folder: Path, resources: Path) -> None:
        command = [sys.executable, "-m", "mesh", "control-plane", "--data", str(folder), "--resources", str(resources)]
        listening = ("--address", "127.0.0.1:0", "--api", "off", "--api-tls", "off")
        self.process = subprocess.Popen([*command, *listening], stderr=subprocess.PIPE)
        self.text = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        while (found := re.search(pattern, self.text)) is None:
            readable, _, _ = select.select([self.process.stderr], [], [], 20)
            data = os.read(self.process.stderr.fileno(), 65536) if readable else b""
            assert data, f"{pattern!r} is not in {self.text!r}"
            self.text += data.decode()
        return found


@pytest.fixture
def running(tmp_path: Path, resources: Path) -> Iterator[Running]:
    running = Running(tmp_path / "cp", resources)
    yield running
    running.process.kill()
    running.process.communicate()


def test_port_is_told_and_wrong_resources_change_nothing(running: Running, resources: Path) -> None:
    port = int(running.wait_for(r"control plane on https://127\.0\.0\.1:(\d+), CA certificate in ")[1])
    assert port > 0
    resources.write_text("# all gone\n")
    running.process.send_signal(signal.SIGHUP)
    running.wait_for(r"error: \S+resources\.yaml: holds no resource .*\nthe resources stay as they were")
    assert "resources_replaced" not in running.text
    resources.write_text(MESH)
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("the resources were read again")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0
