"""A service is called at its VIP on a host that takes the VIPs' network for its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETUP = "ip link set lo up && ip route add local 241.0.0.0/8 dev lo"


def has_networks_of_its_own() -> bool:
    if os.geteuid() or not (shutil.which("ip") and shutil.which("unshare")):
        return False
    return subprocess.run(["unshare", "-n", "sh", "-c", SETUP], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_networks_of_its_own(), reason="takes root, unshare and ip, to make a network namespace")
def test_a_service_answers_at_its_vip(tmp_path: Path) -> None:
    command = f"{SETUP} && exec {sys.executable} -m tests.mesh.proxy.vip_process {tmp_path}"
    ended = subprocess.run(["unshare", "-n", "sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    vip, status, body = ended.stdout.splitlines()[-1].split()
    assert vip.startswith("241.") and (status, body) == ("200", "ok")


@pytest.mark.skipif(not has_networks_of_its_own(), reason="takes root, unshare and ip, to make a network namespace")
def test_without_that_route_the_proxy_says_what_is_wrong(tmp_path: Path) -> None:
    command = f"ip link set lo up && exec {sys.executable} -m tests.mesh.proxy.vip_process {tmp_path}"
    ended = subprocess.run(["unshare", "-n", "sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0 and "is not an address of this machine" in ended.stderr + ended.stdout
