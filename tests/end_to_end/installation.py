"""Real processes on this machine: control planes, HTTP servers, the sidecars beside them, an operator, curl."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

# A server of one file: answers with its name, after a second where the path says so.
SERVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(1.0 if "slow" in self.path else 0.0)
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


@attrs.define(eq=False)
class Plane:
    """One control plane process and where it serves."""

    data: Path
    stream_port: int
    api_port: int
    store: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    def kill(self) -> None:
        """End it with kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@attrs.define(eq=False)
class Day:
    """A folder, the processes in it, and the operator at the command line."""

    folder: Path
    processes: "list[subprocess.Popen[bytes]]" = attrs.Factory(list)
    port_by_name: dict[str, int] = attrs.Factory(dict)

    def start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def port(self, name: str) -> int:
        return self.port_by_name.setdefault(name, free_port())

    def try_mesh(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"XDG_CONFIG_HOME": str(self.folder / "config"), "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-m", "mesh", *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def mesh(self, *arguments: str, stdin: str = "") -> str:
        ended = self.try_mesh(*arguments, stdin=stdin)
        assert ended.returncode == 0, f"mesh {' '.join(arguments)}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def start_plane(self, plane: Plane) -> None:
        name = plane.data.name
        plane.process = self.start(
            name,
            "-m",
            "mesh",
            "control-plane",
            *("--data", str(plane.data)),
            *("--address", f"127.0.0.1:{plane.stream_port}"),
            *("--api", "off", "--api-tls", f"127.0.0.1:{plane.api_port}"),
            *plane.store,
        )
        wait_until(
            lambda: can_connect(plane.api_port) and can_connect(plane.stream_port), timeout_s=30, what=f"{name} serves"
        )

    def use(self, plane: Plane, *, ca: Path, token: Path) -> None:
        self.mesh(
            *("config", "control-planes", "add", "--name", plane.data.name, "--overwrite"),
            *("--address", f"https://127.0.0.1:{plane.api_port}"),
            *("--ca-cert-file", str(ca), "--token-file", str(token)),
        )
        self.mesh("config", "control-planes", "use", plane.data.name)

    def start_service(self, name: str, planes: list[Plane], *, calls: Iterable[str] = ()) -> None:
        """Start a real HTTP server and the sidecar beside it, by which it calls other services."""
        self.start(f"{name}-server", "-c", SERVER, str(self.port(f"{name} server")), name)
        outbounds = [
            f"{{address: 127.0.0.1, port: {self.port(f'to {other}')}, "
            f"backendRef: {{kind: MeshService, name: {other}, port: {self.port(other)}}}}}"
            for other in calls
        ]
        dataplane = self.folder / f"{name}.yaml"
        dataplane.write_text(
            f"type: Dataplane\nname: {name}-1\nmesh: shop\nlabels: {{kuma.io/workload: {name}}}\nnetworking:\n"
            f"  address: 127.0.0.1\n"
            f"  inbound: [{{port: {self.port(name)}, servicePort: {self.port(f'{name} server')}, protocol: http}}]\n"
            f"  outbound: [{', '.join(outbounds)}]\n"
        )
        token = self.folder / f"{name}.token"
        token.write_text(
            self.mesh(
                *("generate", "dataplane-token", "--mesh", "shop", "--name", f"{name}-1"),
                *("--workload", name, "--valid-for", "24h"),
            )
        )
        urls = [part for plane in planes for part in ("--control-plane", f"https://127.0.0.1:{plane.stream_port}")]
        self.start(
            f"{name}-sidecar",
            *("-m", "mesh", "sidecar", "--dataplane", str(dataplane), "--token-file", str(token)),
            *("--ca-cert-file", str(planes[0].data / "ca.pem"), "--access-log", "off"),
            *("--admin", f"127.0.0.1:{self.port(f'{name} admin')}"),
            *urls,
        )

    def admin(self, path: str, name: str = "web") -> str:
        """Return a page of the admin port of a service's sidecar."""
        url = f"http://127.0.0.1:{self.port(f'{name} admin')}{path}"
        return subprocess.run(["curl", "-s", "-m", "10", url], capture_output=True, text=True, check=False).stdout

    def curl(self, service: str, path: str = "/") -> tuple[int, str]:
        """Call a service as the local application of `web` would, through its sidecar."""
        ended = subprocess.run(
            ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", f"http://127.0.0.1:{self.port(f'to {service}')}{path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        body, _, status = ended.stdout.rpartition("\n")
        return int(status or 0), body

    def proxies(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.mesh("status", "-o", "json"))["proxies"]
        return found

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@attrs.define(eq=False)
class Caller:
    """Calls the catalog all the time, as one long-lived client would, and counts what went wrong."""

    day: Day
    answered: int = 0
    failed: list[str] = attrs.Factory(list)
    _over: threading.Event = attrs.Factory(threading.Event)

    def run(self) -> None:
        while not self._over.is_set():
            status, body = self.day.curl("catalog")
            if (status, body) == (200, "catalog"):
                self.answered += 1
            else:
                self.failed.append(f"{status} {body}")
            time.sleep(0.02)

    @contextlib.contextmanager
    def calling(self) -> "Iterator[Caller]":
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
