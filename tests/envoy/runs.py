"""Runs: cases to facts, with second chances.

A busy machine stretches spans and reorders what happens at once. What differs is run again, by itself: chance goes away, a
real difference stays.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from tests.envoy.case import Case
from tests.envoy.differences import compare, declared
from tests.envoy.facts import Facts, facts
from tests.envoy.outcome import Outcome

RUNS_MAX = 3
Runner = Callable[[Sequence[Case]], Awaitable[dict[str, Outcome | Exception]]]


def run(runner: Runner, cases: Sequence[Case], expected: Mapping[str, Facts] | None = None) -> dict[str, Facts]:
    """Run all cases; those that are not as expected, up to three times."""
    found: dict[str, Facts] = {}
    remaining = list(cases)
    for _ in range(RUNS_MAX):
        outcomes = trio.run(runner, remaining)
        found |= {case.name: _facts(case, outcomes[case.name]) for case in remaining}
        if expected is None:
            return found
        remaining = [case for case in remaining if not as_expected(case, expected, found)]
        if not remaining:
            break
    return found


def as_expected(case: Case, expected: Mapping[str, Facts], found: Mapping[str, Facts]) -> bool:
    """Are all differences meant?"""
    lines = compare(case.name, expected.get(case.name, {}), found[case.name])
    return all(declared(line) for line in lines)


def _facts(case: Case, outcome: Outcome | Exception) -> Facts:
    return {"error": repr(outcome)} if isinstance(outcome, Exception) else facts(case, outcome)
