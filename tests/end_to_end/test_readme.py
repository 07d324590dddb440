"""The README's own commands, run as they stand: what it says must be true."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def shell_blocks(heading: str) -> list[str]:
    """Return the shell blocks of one section of the README."""
    section = README.split(f"\n{heading}\n", 1)[1]
    section = re.split(r"\n#{2,3} ", section)[0]
    return re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)


def environment() -> dict[str, str]:
    """Return an environment in which `mesh` is the one under test."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"}


def test_scenario_commands_run(tmp_path: Path) -> None:
    block = shell_blocks("## 1. Run scenario files")[0]
    for line in block.strip().splitlines():
        if "retailer" in line:
            continue  # The main job; the build runs it by itself.
        ended = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("number", [1, 2])
def test_faults_outages_and_real_processes_are_as_said(number: int, tmp_path: Path) -> None:
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    for line in shell_blocks("## 1. Run scenario files")[number].strip().splitlines():
        ended = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        fails = "as it happened" in line
        assert ended.returncode == (1 if fails else 0), f"{line}\n{ended.stdout}{ended.stderr}"


def test_deployment_by_hand_reaches_nginx_and_is_operated(tmp_path: Path) -> None:
    if shutil.which("nginx", path=environment()["PATH"]) is None or shutil.which("curl") is None:
        pytest.skip("needs nginx and curl")
    blocks = [*shell_blocks("### By hand, beside your own services"), *shell_blocks("### Policies")]
    script = "\n".join(["set -e", *blocks, "echo operated\n"])
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment() | {"XDG_CONFIG_HOME": str(tmp_path / "config")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    # What waits for ever in there must fail here.
    watchdog = threading.Timer(120, os.killpg, (shell.pid, signal.SIGKILL))
    watchdog.start()
    try:
        assert shell.stdout is not None
        output = ""
        for line in shell.stdout:
            output += line
            if line == "operated\n":
                break
        assert "HTTP/1.1 200 OK" in output, output
        assert "hello from nginx" in output
        assert '"healthy": true' in output
        assert "live on 2 of 2 proxies" in output
        assert "local_rate_limited 429" in output
        assert "requestTimeout: 2s" in (tmp_path / "backup.yaml").read_text()
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        if shell.stdout is not None:
            shell.stdout.close()
