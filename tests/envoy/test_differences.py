"""What is declared to differ does differ, stands in ARCHITECTURE.md, and no reference case was forgotten."""

from pathlib import Path

import pytest

from tests.envoy.cases import CASES
from tests.envoy.cases.reference import NOT_CARRIED_OVER, REFERENCE, RENAMED
from tests.envoy.differences import DIFFERENCES, Difference, Line, compare, covers
from tests.envoy.facts import Facts

HEADING = "## Deliberate differences from Envoy"
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lines(recorded: dict[str, Facts], ours: dict[str, Facts]) -> list[Line]:
    return [line for case in CASES for line in compare(case.name, recorded[case.name], ours[case.name])]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.what)
def test_a_deliberate_difference_is_real(difference: Difference, lines: list[Line]) -> None:
    assert [where for where in difference.where if not any(covers(where, line) for line in lines)] == []


def test_architecture_has_the_same_rows() -> None:
    rows = _rows()
    declared = {each.what: (each.envoy, each.here, each.why, "envoy") for each in DIFFERENCES}
    assert {what: rows.get(what) for what in declared} == declared


def test_rows_that_no_case_of_two_proxies_shows_name_a_test_that_there_is() -> None:
    sources = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    known = {each.what for each in DIFFERENCES}
    missing = {
        what: name
        for what, (_, _, _, names) in _rows().items()
        if what not in known
        for name in names.replace("`", "").split(", ")
        if f"def {name}(" not in sources
    }
    assert missing == {}


def _rows() -> dict[str, tuple[str, str, str, str]]:
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in cells[2:]}


def test_each_case_of_the_reference_is_carried_over_or_its_absence_has_a_reason() -> None:
    names = {case.name for case in CASES}
    assert len(REFERENCE) == 66
    assert [name for name in REFERENCE if RENAMED.get(name, name) not in names and name not in NOT_CARRIED_OVER] == []
    assert not (NOT_CARRIED_OVER.keys() & names)


def test_every_case_is_recorded_and_nothing_else(recorded: dict[str, Facts]) -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(recorded)
