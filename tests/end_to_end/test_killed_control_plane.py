"""A real control plane is killed with kill -9 while operators write through its API: what it acknowledged is there again."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

pytestmark = pytest.mark.slow

KILLS = 6


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def timeout_of(name: str, seconds: int) -> dict[str, object]:
    conf = {"http": {"requestTimeout": f"{seconds}s"}}
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]}
    return {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}


@attrs.define(eq=False)
class Plane:
    """A control plane that is started again and again on the same ports and the same folder."""

    folder: Path
    stream: int = attrs.field(factory=free_port)
    api: int = attrs.field(factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mesh", "control-plane", "--data", str(self.folder / "cp")]
        command += ["--address", f"127.0.0.1:{self.stream}", "--api", f"127.0.0.1:{self.api}", "--api-tls", "off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while self.call("GET", "/") != 200:
            assert time.monotonic() < deadline and self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> int:
        """Return the status; 0 when there was no answer."""
        return self.ask(method, path, body)[0]

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[int, dict[str, object]]:
        token = self.folder / "cp" / "admin.token"
        headers = {"content-type": "application/json"}
        if token.exists():
            headers["authorization"] = f"Bearer {token.read_text().strip()}"
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.api}{path}"
        request = urllib.request.Request(url, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except (OSError, ValueError):
            return 0, {}


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    plane.start()
    try:
        yield plane
    finally:
        plane.kill()


def test_nothing_that_was_acknowledged_is_lost(plane: Plane) -> None:
    chance = random.Random(1)
    acknowledged: dict[str, int] = {}
    unanswered: dict[str, list[int]] = {}  # since the last acknowledgement
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            name = f"t-{number % 40}"
            unanswered.setdefault(name, []).append(number)
            if plane.call("PUT", f"/meshes/default/meshtimeouts/{name}", timeout_of(name, number)) in (200, 201):
                acknowledged[name] = number
                unanswered[name] = []
            else:
                time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(KILLS):
            time.sleep(0.2 + chance.random())
            plane.kill()
            plane.start()
    finally:
        over.set()
        writer.join()
    assert len(acknowledged) == 40 and max(acknowledged.values()) > 100
    for name, number in acknowledged.items():
        status, found = plane.ask("GET", f"/meshes/default/meshtimeouts/{name}")
        assert status == 200
        text = json.dumps(found)
        # A later write may have happened whose answer was lost: then it is that one, whole.
        allowed = (number, *unanswered[name])
        assert any(f'"{_go(count)}"' in text for count in allowed), (name, allowed, text)
    assert "Traceback" not in (plane.folder / "log").read_text()


def _go(seconds: int) -> str:
    """Write a span as Go does."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def test_sidecar_joins_by_the_name_of_an_applied_dataplane(plane: Plane) -> None:
    port, outbound = free_port(), free_port()
    document: dict[str, object] = {
        "type": "Dataplane",
        "mesh": "default",
        "name": "dp-1",
        "labels": {"kuma.io/workload": "web"},
        "networking": {
            "address": "127.0.0.1",
            "inbound": [{"port": port, "servicePort": free_port(), "protocol": "http"}],
            "outbound": [
                {"port": outbound, "backendRef": {"kind": "MeshService", "name": "web", "port": port}},
            ],
        },
    }
    token = plane.folder / "token"
    generate = [sys.executable, "-m", "mesh", "generate", "dataplane-token", "--data", str(plane.folder / "cp")]
    generate += ["--name", "dp-1", "--workload", "web", "--valid-for", "1h"]
    made = subprocess.run(generate, capture_output=True, text=True, check=True)
    token.write_text(made.stdout)
    command = [sys.executable, "-m", "mesh", "sidecar", "--name", "dp-1", "--token-file", str(token)]
    command += ["--control-plane", f"https://127.0.0.1:{free_port()}"]  # nobody is there
    command += ["--control-plane", f"https://127.0.0.1:{plane.stream}", "--access-log", "off"]
    command += ["--ca-cert-file", str(plane.folder / "cp" / "ca.pem"), "--data", str(plane.folder / "sidecar")]
    with (plane.folder / "sidecar.log").open("ab") as log:
        sidecar = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        time.sleep(2.0)
        assert plane.call("PUT", "/meshes/default/dataplanes/dp-1", document) == 201
        deadline = time.monotonic() + 30
        while not _answers(outbound):
            assert time.monotonic() < deadline, (plane.folder / "sidecar.log").read_text()
            time.sleep(0.1)
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(40) == 0
        assert plane.call("GET", "/meshes/default/dataplanes/dp-1") == 200
    finally:
        sidecar.kill()
        sidecar.wait()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0
