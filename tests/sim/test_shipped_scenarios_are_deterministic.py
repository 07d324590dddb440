"""Every scenario that is shipped, in every variant: the same event hash in two processes that hash strings differently."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "scenarios").rglob("*.yaml") if "type: Scenario" in path.read_text())
SECONDS = 8.0  # of each after its warm-up; `mesh run --check-determinism` compares whole runs
RUN = """
import sys
from tests.sim.test_shipped_scenarios_are_deterministic import hashes_of
print(hashes_of(sys.argv[1]))
"""


def hashes_of(path):
    """Run every variant of a file and return {variant: event hash}, in this process."""
    hashes = {}
    for name in load_scenario(path).variants or (None,):
        scenario = load_scenario(path, variant=name)
        hashes[name] = run_scenario(scenario, until_s=scenario.warmup_s + SECONDS).event_hash
    return hashes


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_scenario_has_one_hash(path):
    other = subprocess.Popen(
        [sys.executable, "-c", RUN, str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    mine = hashes_of(path)
    assert other.communicate()[0].strip() == str(mine)


def test_there_are_scenarios_of_every_sort():
    sorts = {path.relative_to(ROOT / "scenarios").parts[:-1] for path in FILES}
    assert {("outages",), ("examples",), ("examples", "faults"), ("examples", "policies")} <= sorts
    assert len(FILES) > 100
