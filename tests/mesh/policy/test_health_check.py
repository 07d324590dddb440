"""Active health checks, as values and verdicts: thresholds, pauses, expected bytes; verdicts also against a replayed history."""

import random
from collections.abc import Callable

import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mesh.policy.health_check import (
    CheckFailure,
    CheckVerdict,
    HealthCheck,
    contains_in_order,
    delay_to_first_s,
    delay_to_next_s,
)

CHECK = HealthCheck(healthy_threshold=2, unhealthy_threshold=3)
RANDOM = random.Random(0)


def test_one_success_is_enough_at_first() -> None:
    verdict = CheckVerdict()
    assert verdict.failed and verdict.pending
    assert verdict.pass_once(CHECK)
    assert not verdict.failed


def test_after_a_first_failure_the_threshold_counts() -> None:
    verdict = CheckVerdict()
    assert not verdict.fail_once(CHECK, CheckFailure.NETWORK)
    assert [verdict.pass_once(CHECK) for _ in range(2)] == [False, True]


def test_network_failures_are_borne_up_to_the_threshold_and_only_in_a_row() -> None:
    verdict = CheckVerdict(failed=False)
    kinds = (CheckFailure.NETWORK, CheckFailure.NETWORK_TIMEOUT)
    assert [verdict.fail_once(CHECK, kind) for kind in kinds] == [False, False]
    assert not verdict.pass_once(CHECK)
    assert [verdict.fail_once(CHECK, CheckFailure.NETWORK) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("failure", [CheckFailure.ACTIVE, CheckFailure.PASSIVE])
def test_an_answer_that_says_no_is_believed_at_once(failure: CheckFailure) -> None:
    verdict = CheckVerdict(failed=False)
    assert verdict.fail_once(CHECK, failure)


def test_what_was_well_before_checks_began_stays_so_until_the_threshold() -> None:
    verdict = CheckVerdict(failed=False)
    assert not verdict.fail_once(CHECK, CheckFailure.NETWORK)
    assert not verdict.failed


def test_pauses() -> None:
    check = HealthCheck(interval_s=10.0, no_traffic_interval_s=60.0)
    assert delay_to_next_s(check, RANDOM, used=True) == 10.0
    assert delay_to_next_s(check, RANDOM, used=False) == 60.0
    assert delay_to_first_s(check, RANDOM) == 0.0


def test_jitters_add_up_and_never_shorten() -> None:
    check = HealthCheck(interval_s=10.0, interval_jitter_s=1.0, interval_jitter_percent=50, initial_jitter_s=4.0)
    delays = [delay_to_next_s(check, RANDOM, used=True) for _ in range(500)]
    assert 10.0 <= min(delays) < 10.5 and 15.3 < max(delays) < 16.0
    firsts = [delay_to_first_s(check, RANDOM) for _ in range(200)]
    assert 0.0 <= min(firsts) < 0.2 and 3.8 < max(firsts) < 4.0


def test_there_is_always_a_pause() -> None:
    assert delay_to_next_s(HealthCheck(interval_s=0.0), RANDOM, used=True) == 0.001


@pytest.mark.parametrize(
    ("received", "expected", "found"),
    [
        (b"", (), True),
        (b"+PONG\r\n", (b"PONG",), True),
        (b"a..b", (b"a", b"b"), True),
        (b"b..a", (b"a", b"b"), False),
        (b"ab", (b"ab", b"b"), False),  # pieces do not overlap
        (b"aa", (b"a", b"a"), True),
    ],
)
def test_expected_bytes(received: bytes, expected: tuple[bytes, ...], found: bool) -> None:
    assert contains_in_order(received, expected) == found


class VerdictAgainstReplayedHistory(RuleBasedStateMachine):
    """Results in any order, with checks that begin anew in between; the model reads the whole history each time."""

    @initialize(
        healthy=st.integers(1, 4),
        unhealthy=st.integers(1, 4),
        failed=st.booleans(),
    )
    def begin(self, healthy: int, unhealthy: int, failed: bool) -> None:
        self.check = HealthCheck(healthy_threshold=healthy, unhealthy_threshold=unhealthy)
        self.verdict = CheckVerdict(failed=failed)
        self.history: list[CheckFailure | None] = []  # None: passed
        self.began_failed = failed

    @rule(failure=st.sampled_from([None, None, *CheckFailure]))
    def result(self, failure: CheckFailure | None) -> None:
        before = self.naively_failed()
        self.history.append(failure)
        if failure is None:
            changed = self.verdict.pass_once(self.check)
        else:
            changed = self.verdict.fail_once(self.check, failure)
        assert changed == (before != self.naively_failed())

    @rule()
    def checks_begin_anew(self) -> None:
        self.began_failed = self.verdict.failed
        self.verdict = CheckVerdict(failed=self.verdict.failed)
        self.history = []

    @rule(healthy=st.integers(1, 4), unhealthy=st.integers(1, 4))
    def other_thresholds(self, healthy: int, unhealthy: int) -> None:
        self.check = attrs.evolve(self.check, healthy_threshold=healthy, unhealthy_threshold=unhealthy)
        self.checks_begin_anew()

    def naively_failed(self) -> bool:
        failed = self.began_failed
        for end in range(1, len(self.history) + 1):
            seen = self.history[:end]
            last = seen[-1]
            if failed and last is None:
                row = _tail(seen, lambda result: result is None)
                failed = len(seen) > 1 and row < self.check.healthy_threshold
            elif not failed and last is not None:
                decisive = last in (CheckFailure.ACTIVE, CheckFailure.PASSIVE)
                row = _tail(seen, lambda result: result is not None)
                failed = decisive or row >= self.check.unhealthy_threshold
        return failed

    @invariant()
    def verdict_and_model_agree(self) -> None:
        if hasattr(self, "verdict"):
            assert self.verdict.failed == self.naively_failed()
            assert self.verdict.pending == (not self.history)


def _tail(results: list[CheckFailure | None], counts: Callable[[CheckFailure | None], bool]) -> int:
    """Return how many results at the end are of one kind."""
    row = 0
    while row < len(results) and counts(results[-1 - row]):
        row += 1
    return row


TestVerdictAgainstReplayedHistory = VerdictAgainstReplayedHistory.TestCase
TestVerdictAgainstReplayedHistory.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def _forgets_no_failures(self: CheckVerdict, check: HealthCheck) -> bool:
    """`pass_once`, planted bug: failures before a success go on counting."""
    failures = self.failures
    changed = CheckVerdict.passed_rightly(self, check)  # type: ignore[attr-defined]
    self.failures = failures
    return bool(changed)


def _always_patient(self: CheckVerdict, check: HealthCheck, failure: CheckFailure) -> bool:
    """`fail_once`, planted bug: a wrong status is borne as a lost connection is."""
    return bool(CheckVerdict.failed_rightly(self, check, CheckFailure.NETWORK))  # type: ignore[attr-defined]


def _never_the_first(self: CheckVerdict, check: HealthCheck) -> bool:
    """`pass_once`, planted bug: the threshold counts for the first check too."""
    self.pending = False
    return bool(CheckVerdict.passed_rightly(self, check))  # type: ignore[attr-defined]


PLANTED = settings(
    derandomize=True, database=None, max_examples=500, stateful_step_count=25, deadline=None, phases=[Phase.generate]
)


@pytest.mark.parametrize(
    ("name", "planted"),
    [("pass_once", _forgets_no_failures), ("fail_once", _always_patient), ("pass_once", _never_the_first)],
)
def test_the_machine_finds_planted_bugs(monkeypatch: pytest.MonkeyPatch, name: str, planted: object) -> None:
    monkeypatch.setattr(CheckVerdict, "passed_rightly", CheckVerdict.pass_once, raising=False)
    monkeypatch.setattr(CheckVerdict, "failed_rightly", CheckVerdict.fail_once, raising=False)
    monkeypatch.setattr(CheckVerdict, name, planted)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            VerdictAgainstReplayedHistory,
            settings=PLANTED,
        )
