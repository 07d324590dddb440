"""`mesh up` as a user runs it: real processes, sockets and TLS on loopback; curl, openssl and tcpdump as witnesses."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "scenarios" / "examples" / "first.yaml"
# first.yaml has shop-1, shop-2, stock-1, stock-2 and the visitors' edge, in this order of addresses.
SHOP_1, STOCK_1, EDGE = "127.10.0.1", "127.10.0.3", "127.10.0.5"


@attrs.define(eq=False)
class Up:
    """A running `mesh up`."""

    process: "subprocess.Popen[str]"
    data: Path
    output: Path

    def text(self) -> str:
        return self.output.read_text()

    def clusters(self, address: str) -> dict[str, dict[str, dict[str, object]]]:
        """Return what a sidecar knows: {cluster: {endpoint: its state}}."""
        clusters = json.loads(get(f"http://{address}:9901/clusters")[1])
        return {c["name"]: {e["name"]: e for e in c["endpoints"]} for c in clusters}

    def pid(self, title: str) -> int:
        """Return the process id of `NAME service` or `NAME sidecar`."""
        name, kind = title.split()
        what = f"--instance {name} " if kind == "service" else f"{name}/dataplane.yaml"
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if (
                    entry.name.isdigit()
                    and f" mesh {kind} " in command
                    and what in command
                    and str(self.data) in command
                ):
                    return int(entry.name)
        raise AssertionError(f"no process {title}")


def get(url: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> float:
    """Wait; return the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    output = folder / "output"
    command = [
        sys.executable,
        "-m",
        "mesh",
        "up",
        str(SCENARIO),
        "--data",
        str(folder / "data"),
        "--address",
        f"127.0.0.1:{free_port()}",
    ]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    running = Up(process, folder / "data", output)
    try:
        wait_until(
            lambda: "Ctrl-C ends it" in running.text() or process.poll() is not None,
            timeout_s=90,
            what="the mesh is up",
        )
        assert process.poll() is None, running.text()
        yield running
    finally:
        process.kill()
        process.wait()


def test_every_request_after_it_is_up_is_answered(up: Up) -> None:
    assert [get(f"http://{EDGE}:10001/")[0] for _ in range(20)] == [200] * 20


def test_curl_reaches_two_hops_away(up: Up) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    output = subprocess.run(
        [curl, "-sS", "-w", "%{http_code}", f"http://{EDGE}:10001/"], capture_output=True, text=True, check=True
    )
    assert output.stdout.endswith("200")
    wait_until(lambda: (up.data / "stock-1" / "access.log").exists(), timeout_s=5, what="stock-1 has an access log")
    time.sleep(0.3)
    lines = [
        json.loads(line) for n in (1, 2) for line in (up.data / f"stock-{n}" / "access.log").read_text().splitlines()
    ]
    assert any(line["dir"] == "in" and line["peer"].endswith("/workload/shop") for line in lines)


def test_inbound_speaks_tls_1_3_with_a_spiffe_identity(up: Up) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    session = subprocess.run(
        ["openssl", "s_client", "-connect", f"{STOCK_1}:8080", "-showcerts"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TLSv1.3" in session.stdout
    assert "-----BEGIN CERTIFICATE-----" in session.stdout
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"],
        input=session.stdout,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "URI:spiffe://default.here.mesh.local/workload/stock" in text.stdout


def test_inbound_refuses_plaintext_and_callers_without_certificate(up: Up) -> None:
    plain = subprocess.run(
        [sys.executable, "-c", f"import urllib.request as u; u.urlopen('http://{STOCK_1}:8080/', timeout=3)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert plain.returncode != 0


def test_capture_between_sidecars_shows_only_tls(up: Up, tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None or os.geteuid() != 0:
        pytest.skip("needs tcpdump and root")
    capture = tmp_path / "capture"
    command = [
        "tcpdump",
        "-i",
        "lo",
        "--immediate-mode",
        "-w",
        str(capture),
        "-U",
        "-s",
        "0",
        "tcp port 8080 and net 127.10.0.0/16",
    ]
    dump = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert dump.stderr is not None
    while "listening" not in dump.stderr.readline():
        assert dump.poll() is None, "tcpdump ended"
    for _ in range(5):
        assert get(f"http://{EDGE}:10001/?secret-mark")[0] in (200, 404)
        assert get(f"http://{EDGE}:10001/")[0] == 200
    time.sleep(1.5)
    dump.send_signal(signal.SIGINT)
    dump.wait()
    dump.stderr.close()
    captured = capture.read_bytes()
    assert len(captured) > 2000
    assert b"HTTP/1.1" not in captured
    assert b"secret-mark" not in captured


def test_killed_service_leaves_discovery_within_seconds_and_the_rest_goes_on(up: Up) -> None:
    os.kill(up.pid("stock-2 service"), signal.SIGKILL)
    took = wait_until(
        lambda: up.clusters(SHOP_1)["stock_8080"]["stock-2"]["healthy"] is False, timeout_s=10, what="shop-1 knows"
    )
    assert took < 5
    assert [get(f"http://{EDGE}:10001/")[0] for _ in range(20)] == [200] * 20


def test_killed_sidecar_leaves_discovery_within_seconds_and_the_rest_goes_on(up: Up) -> None:
    os.kill(up.pid("shop-2 sidecar"), signal.SIGKILL)
    took = wait_until(lambda: "shop-2" not in up.clusters(EDGE)["shop_8080"], timeout_s=15, what="the edge knows")
    assert took < 10
    assert [get(f"http://{EDGE}:10001/")[0] for _ in range(20)] == [200] * 20
    assert "shop-2 left" in up.text()


def test_control_plane_restart_is_not_noticed_by_traffic(up: Up) -> None:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if " mesh control-plane " in command and str(up.data) in command:
                os.kill(int(entry.name), signal.SIGKILL)
    assert [get(f"http://{EDGE}:10001/")[0] for _ in range(20)] == [200] * 20


def test_interrupt_ends_every_process(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(40) == 0

    def left() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                if str(up.data) in command and entry.name.isdigit():
                    found.append(command)
        return found

    wait_until(lambda: not left(), timeout_s=5, what="no process is left")
