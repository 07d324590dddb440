"""Every scenario that is shipped, in every variant: the same event hash in two processes that hash strings differently."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "scenarios").rglob("*.yaml") if "type: Scenario" in path.read_text())
RUN_ALL = """
import json, sys
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario
hashes = {}
for path in sys.argv[1:]:
    first = load_scenario(path)
    for variant in first.variants or (None,):
        hashes[f"{path} {variant}"] = run_scenario(load_scenario(path, variant=variant)).event_hash
print(json.dumps(hashes))
"""


def start(hash_seed):
    return subprocess.Popen(
        [sys.executable, "-c", RUN_ALL, *map(str, FILES)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


@pytest.mark.slow
def test_every_shipped_scenario_has_one_hash():
    processes = [start("1"), start("2")]
    first, second = (json.loads(process.communicate()[0]) for process in processes)
    assert len(first) >= len(FILES) > 40
    assert first == second
