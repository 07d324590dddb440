"""Outages that were in the news, each as it happened and with what would have helped: tests of the mesh, and of its checks.

A variant that names checks in `breaks` must break them; one that does not must keep everything. What is always on must hold
in both, unless it is named, too. That every run is alike is tested in test_shipped_scenarios_are_deterministic.py.
"""

import re
from pathlib import Path

import pytest

from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

FOLDER = Path(__file__).parents[2] / "scenarios" / "outages"
FILES = sorted(FOLDER.glob("*.yaml"))
TOLD = [(path, variant) for path in FILES for variant in load_scenario(path).variants or (None,)]


def header_of(path):
    lines = path.read_text().splitlines()
    return "\n".join(lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_outage_names_its_source_and_has_a_remedy(path):
    assert re.search(r"https://\S+", header_of(path)), (
        f"{path.name} begins with comments that tell the story and its source"
    )
    breaks = [load_scenario(path, variant=variant).breaks for variant in load_scenario(path).variants]
    assert any(breaks) and not all(breaks), f"{path.name} needs a variant with `breaks` and one without"


@pytest.mark.slow
@pytest.mark.parametrize(("path", "variant"), TOLD, ids=[f"{path.stem}-{variant}" for path, variant in TOLD])
def test_outage_breaks_what_it_broke_and_nothing_with_the_remedy(path, variant):
    scenario = load_scenario(path, variant=variant)
    result = run_scenario(scenario)
    broken = {check.name for check in result.checks if not check.ok}
    assert set(scenario.breaks) <= broken, result.to_text()
    if not scenario.breaks:
        assert result.ok, result.to_text()
        return
    assert not [check.name for check in result.checks if check.always and check.name in broken - set(scenario.breaks)]
