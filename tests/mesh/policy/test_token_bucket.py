"""The token bucket against a list of what was admitted when: never more than rate x time + burst in any window."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mesh.policy.rate_limit import Rate, TokenBucket

RATES = st.builds(Rate, count=st.integers(1, 20), interval_s=st.sampled_from([0.06, 0.5, 1.0, 7.0, 60.0]))
# Eighths of a second are exact in floating point; the rates need not be.
SPANS = st.one_of(st.just(0.0), st.integers(1, 80).map(lambda n: n / 8), st.floats(0.0, 100.0))
ROUNDING = 1e-6
PLANTED = settings(derandomize=True, database=None, max_examples=200, deadline=None, phases=[Phase.generate])


class TokenBucketMachine(RuleBasedStateMachine):
    """The model keeps the instants of what was admitted, and an exact bucket beside it."""

    @initialize(rate=RATES, now=st.sampled_from([0.0, 1000.0, 123456.75]))
    def begin(self, rate: Rate, now: float) -> None:
        self.bucket, self.rate, self.now = TokenBucket(rate), rate, now
        self.per_s = Fraction(rate.count) / Fraction(rate.interval_s)
        self.admitted: list[float] = []
        self.tokens, self.at = Fraction(rate.count), Fraction(now)

    @rule(span=SPANS)
    def wait(self, span: float) -> None:
        self.now += span

    @precondition(lambda self: hasattr(self, "bucket"))
    @rule(times=st.integers(1, 25))
    def take(self, times: int) -> None:
        for _ in range(times):
            self.tokens = min(Fraction(self.rate.count), self.tokens + (Fraction(self.now) - self.at) * self.per_s)
            self.at = Fraction(self.now)
            taken = self.bucket.take(self.now)
            # Only where a token is all but there may rounding decide.
            if abs(self.tokens - 1) > ROUNDING:
                assert taken == (self.tokens >= 1), (self.tokens, taken)
            if taken:
                self.tokens -= 1
                self.admitted.append(self.now)
        self.check_windows()

    def check_windows(self) -> None:
        last = self.admitted[-100:]
        for number, begin in enumerate(last):
            window_s = last[-1] - begin
            allowed = self.rate.count + window_s * float(self.per_s)
            assert len(last) - number <= allowed + ROUNDING, (len(last) - number, window_s, self.rate)


TestTokenBucket = TokenBucketMachine.TestCase
TestTokenBucket.settings = settings(max_examples=60, deadline=None, stateful_step_count=30)


def refills_beyond_its_size(bucket: TokenBucket, now: float) -> bool:
    """Forgets that a bucket which is full takes no more."""
    tokens = bucket._tokens + (now - bucket._filled_at) * bucket._tokens_per_s
    bucket._filled_at = now
    bucket._tokens = tokens - 1.0 if tokens >= 1.0 else tokens
    return tokens >= 1.0


def fills_at_once_when_the_interval_is_over(bucket: TokenBucket, now: float) -> bool:
    """Fills by a timer, as old Envoys did: two bursts meet at its tick."""
    if now - bucket._filled_at >= bucket.rate.interval_s:
        bucket._filled_at, bucket._tokens = now, float(bucket.rate.count)
    if bucket._tokens < 1.0:
        return False
    bucket._tokens -= 1.0
    return True


@pytest.mark.parametrize("planted", [refills_beyond_its_size, fills_at_once_when_the_interval_is_over])
def test_planted_bugs_are_found(planted: Callable[[TokenBucket, float], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenBucket, "take", planted)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(TokenBucketMachine, settings=PLANTED)


def test_two_per_half_second_as_recorded_from_envoy() -> None:
    # Source: observed-behaviour local_ratelimit_2_per_500ms: one token after 0.3 s, not two at 0.5 s.
    bucket = TokenBucket(Rate(count=2, interval_s=0.5))
    assert [bucket.take(9.0) for _ in range(4)] == [True, True, False, False]
    assert bucket.take(9.3)
    assert not bucket.take(9.3)
    assert [bucket.take(20.0) for _ in range(3)] == [True, True, False]


@settings(max_examples=50, deadline=None)
@given(rate=RATES, now=st.floats(0.0, 1e6))
def test_a_full_bucket_gives_its_count_at_once(rate: Rate, now: float) -> None:
    bucket = TokenBucket(rate)
    assert [bucket.take(now) for _ in range(rate.count + 1)] == [True] * rate.count + [False]
