"""One script, one configuration, two proxies: in each case ours does what Envoy does, or the difference is declared.

Against the recording, so that no Envoy is needed; `pytest -m envoy` has a live one, and sees whether the recording is still true.
"""

import pytest

from tests.envoy.case import Case
from tests.envoy.cases import CASES
from tests.envoy.differences import Line, compare, declared
from tests.envoy.facts import Facts

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _judge(lines: list[Line]) -> None:
    undeclared = [line for line in lines if not declared(line)]
    assert not undeclared, "\n".join(map(str, undeclared))


@each_case
def test_ours_does_what_envoy_did(case: Case, recorded: dict[str, Facts], ours: dict[str, Facts]) -> None:
    _judge(compare(case.name, recorded[case.name], ours[case.name]))


@pytest.mark.envoy
@each_case
def test_ours_does_what_envoy_does(case: Case, theirs: dict[str, Facts], ours: dict[str, Facts]) -> None:
    _judge(compare(case.name, theirs[case.name], ours[case.name]))


@pytest.mark.envoy
@each_case
def test_the_recording_is_true(case: Case, recorded: dict[str, Facts], theirs: dict[str, Facts]) -> None:
    assert compare(case.name, recorded[case.name], theirs[case.name]) == []
