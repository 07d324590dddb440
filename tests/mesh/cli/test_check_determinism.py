"""`mesh run --check-determinism` from outside: two processes, and an exit code of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCENARIO = """type: Scenario
format: 1
name: tiny
duration: 3s
zones: [z]
services: {shop: {instances: {z: 1}, endpoints: {GET /: {}}}}
workload: {users: {rate: 5/s, journeys: {look: [GET shop/]}}}
checks: [{name: works, expect: success(look) >= 99%}]
"""
# The first look at whether the mesh stands comes at a moment that depends on how strings are hashed.
PLANTED = """import sim.runner
sim.runner._POLL_S = 0.1 + hash("mesh") % 1000 / 1e6
"""


def check(tmp_path, *, planted=""):
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    (tmp_path / "sitecustomize.py").write_text(planted)
    return subprocess.run(
        [sys.executable, "-m", "mesh", "run", "tiny.yaml", "--check-determinism", "--seed", "5"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_equal_runs_are_said_to_be_equal(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "works" in done.stdout
    assert "in two processes with different PYTHONHASHSEEDs" in done.stderr


def test_a_difference_is_shown_and_has_its_exit_code(tmp_path):
    done = check(tmp_path, planted=PLANTED)
    assert done.returncode == 4
    assert "not deterministic" in done.stderr
    assert "the last entries that both have:" in done.stdout
    assert "here   " in done.stdout
