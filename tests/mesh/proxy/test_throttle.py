"""The throttle: what it lets through in any window, and in which pieces."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mesh.proxy.throttle import FILL_INTERVAL_S, Throttle

RATES = st.sampled_from([1.0, 125.0, 1024.0, 6_250_000.0])
ROUNDING = 1e-6
PLANTED = settings(derandomize=True, database=None, max_examples=200, deadline=None, phases=[Phase.generate])


class ThrottleMachine(RuleBasedStateMachine):
    """A sender that waits as it is told; the model keeps what went out when."""

    @initialize(rate=RATES)
    def begin(self, rate: float) -> None:
        self.throttle, self.rate, self.now = Throttle(rate), rate, 50.0
        self.sent: list[tuple[float, int]] = []

    @rule(pause_s=st.floats(0.0, 5.0))
    def the_upstream_pauses(self, pause_s: float) -> None:
        self.now += pause_s

    @precondition(lambda self: hasattr(self, "throttle"))
    @rule(share=st.floats(0.0, 3.0))
    def send(self, share: float) -> None:
        size = max(1, int(self.rate * share))
        delay_s = self.throttle.delay_s(size, self.now)
        assert delay_s >= 0.0
        self.now += delay_s
        self.sent.append((self.now, size))
        total = 0
        for sent_at, sent_bytes in reversed(self.sent):
            total += sent_bytes
            allowed = self.rate * (1.0 + self.now - sent_at)  # one second's worth is the burst
            # One piece that is larger than the burst goes out at once when its turn has come.
            oversize = max(0.0, sent_bytes - self.rate)
            assert total <= (allowed + oversize) * (1.0 + ROUNDING) + ROUNDING


TestThrottle = ThrottleMachine.TestCase
TestThrottle.settings = settings(max_examples=60, deadline=None, stateful_step_count=30)


def forgets_its_debt(throttle: Throttle, size: int, now: float) -> float:
    """Lets a piece wait, and forgets that it has been let through."""
    elapsed = 0.0 if throttle._filled_at is None else now - throttle._filled_at
    throttle._filled_at = now
    tokens = min(throttle._tokens + elapsed * throttle._bytes_per_s, throttle._bytes_per_s) - size
    throttle._tokens = max(0.0, tokens)
    return 0.0 if tokens >= 0.0 else -tokens / throttle._bytes_per_s


def test_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Throttle, "delay_s", forgets_its_debt)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(ThrottleMachine, settings=PLANTED)


@settings(max_examples=50, deadline=None)
@given(RATES, st.integers(2, 60))
def test_a_fast_upstream_is_sent_on_in_a_piece_each_fill_interval(rate: float, pieces: int) -> None:
    throttle, now, waits = Throttle(rate), 7.0, []
    for _ in range(pieces):
        delay_s = throttle.delay_s(throttle.piece_bytes, now)
        now += delay_s
        waits.append(delay_s)
    if rate * FILL_INTERVAL_S >= 1.0:
        assert waits[0] == 0.0, "the first piece goes at once"
        piece_s = throttle.piece_bytes / rate
        assert waits[2:] == pytest.approx([piece_s] * len(waits[2:]), abs=1e-6)
        assert piece_s <= FILL_INTERVAL_S
    assert pieces * throttle.piece_bytes <= rate * (now - 7.0 + FILL_INTERVAL_S) + 1.0 + ROUNDING * rate


def test_a_mebibyte_takes_as_long_as_its_rate_says() -> None:
    throttle, now = Throttle(1024.0 * 1024.0), 0.0
    for _ in range(1024):
        now += throttle.delay_s(1024, now)
    assert now == pytest.approx(1.0 - FILL_INTERVAL_S, abs=0.01)
