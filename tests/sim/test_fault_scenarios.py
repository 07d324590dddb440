"""Every fault has a short scenario that shows it: its checks hold with the fault, and not without it."""

from pathlib import Path

import attrs
import pytest

from sim.faults.catalogue import FAULT_WORDS
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

FOLDER = Path(__file__).parents[2] / "scenarios" / "examples" / "faults"
FILES = sorted(FOLDER.glob("*.yaml"))


def shown_by(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# shows: "), f"{path.name} begins with `# shows: VERB`"
    return first.removeprefix("# shows: ").strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fault_bites_and_its_checks_hold_only_with_it(path):
    scenario = load_scenario(path)
    word = shown_by(path)
    assert word in {entry.word for entry in scenario.timeline}
    result = run_scenario(scenario)
    assert result.ok, result.to_text()
    assert not [note for note in result.notes if "touched nothing" in note], result.to_text()
    without = attrs.evolve(scenario, timeline=tuple(entry for entry in scenario.timeline if entry.word != word))
    plain = run_scenario(without)
    unproven = [check.name for check in plain.checks if not check.ok or check.value == "not judged"]
    assert unproven, f"the checks of {path.name} hold without {word}, too\n{plain.to_text()}"


def test_every_fault_is_shown():
    assert {shown_by(path) for path in FILES} == set(FAULT_WORDS)
