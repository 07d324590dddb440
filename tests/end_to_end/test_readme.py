"""The README's own commands, run as they stand: what it says must be true."""

import os
import re
import shutil
import signal
import subprocess
import sys
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


def test_deployment_by_hand_reaches_nginx(tmp_path: Path) -> None:
    if shutil.which("nginx", path=environment()["PATH"]) is None or shutil.which("curl") is None:
        pytest.skip("needs nginx and curl")
    files, start = shell_blocks("### By hand, beside your own services")
    script = f"set -e\n{files}\n{start}\n"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert shell.stdout is not None
        output = ""
        for line in shell.stdout:
            output += line
            if '"healthy": true' in line:
                break
        assert "HTTP/1.1 200 OK" in output, output
        assert "hello from nginx" in output
        assert "backend-1" in output
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        if shell.stdout is not None:
            shell.stdout.close()
