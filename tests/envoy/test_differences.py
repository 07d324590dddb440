"""What is declared to differ does differ, stands in ARCHITECTURE.md, and no reference case was forgotten."""

from pathlib import Path

import pytest

from tests.envoy.cases import CASES
from tests.envoy.cases.reference import NOT_CARRIED_OVER, REFERENCE, RENAMED
from tests.envoy.differences import AWAITED, DIFFERENCES, Difference, Line, Where, compare, covers
from tests.envoy.facts import Facts

HEADING = "## Deliberate differences from Envoy"
# Rows that no case of two proxies can show; their tests are with the policies.
SHOWN_ELSEWHERE = ("outlier detection", "back-off")


@pytest.fixture(scope="module")
def lines(recorded: dict[str, Facts], ours: dict[str, Facts]) -> list[Line]:
    return [line for case in CASES for line in compare(case.name, recorded[case.name], ours[case.name])]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.what)
def test_a_deliberate_difference_is_real(difference: Difference, lines: list[Line]) -> None:
    assert [where for where in difference.where if not any(covers(where, line) for line in lines)] == []


def test_what_is_awaited_is_not_there_yet(lines: list[Line]) -> None:
    done: list[tuple[str, Where]] = [
        (each.note, where) for each in AWAITED for where in each.where if not any(covers(where, line) for line in lines)
    ]
    assert done == []


def test_architecture_has_the_same_rows() -> None:
    rows = _rows()
    declared = {each.what: (each.envoy, each.here, each.why) for each in DIFFERENCES}
    assert {what: rows.get(what) for what in declared} == declared
    assert sorted(rows.keys() - declared.keys() - set(SHOWN_ELSEWHERE)) == []


def _rows() -> dict[str, tuple[str, ...]]:
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {row[0]: tuple(row[1:4]) for row in cells[2:]}


def test_each_case_of_the_reference_is_carried_over_or_its_absence_has_a_reason() -> None:
    names = {case.name for case in CASES}
    assert len(REFERENCE) == 66
    assert [name for name in REFERENCE if RENAMED.get(name, name) not in names and name not in NOT_CARRIED_OVER] == []
    assert not (NOT_CARRIED_OVER.keys() & names)


def test_every_case_is_recorded_and_nothing_else(recorded: dict[str, Facts]) -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(recorded)
