"""Back-off: intervals, jitter, and what a response may say about it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.back_off import ExponentialBackOff, RateLimitedBackOff, ResetHeader, ResetHeaderFormat, ResetHeaders
from tests.mesh.policy.heads import response

NOON_S = 1_700_000_000.75


class HighestDraw(random.Random):
    """Draws what lies just below the upper end."""

    def random(self) -> float:
        return 1.0 - 2.0**-53


@pytest.mark.parametrize(
    ("base_s", "longest_s", "bounds_s"),
    [
        (0.025, 0.25, [0.025, 0.05, 0.1, 0.2, 0.25, 0.25]),  # Envoy's defaults
        (0.1, 0.3, [0.1, 0.2, 0.3, 0.3, 0.3, 0.3]),
        (1.0, 0.5, [1.0] * 6),
        (0.0, 0.0, [0.0] * 6),
    ],
)
def test_backoff_doubles_up_to_the_longest_and_is_fully_jittered(
    base_s: float, longest_s: float, bounds_s: list[float]
) -> None:
    def delays_s(generator: random.Random) -> list[float]:
        back_off = ExponentialBackOff(base_s, longest_s)
        return [back_off.next_s(generator) for _ in range(6)]

    highest = delays_s(HighestDraw())
    assert highest == pytest.approx(bounds_s, abs=1e-12)
    drawn = [delays_s(random.Random(seed)) for seed in range(200)]
    for index, bound in enumerate(bounds_s):
        column = [delays[index] for delays in drawn]
        assert 0.0 <= min(column) <= 0.05 * bound
        assert max(column) >= 0.95 * bound
        assert bound == 0.0 or max(column) < bound
        assert sum(column) / len(column) == pytest.approx(bound / 2, rel=0.2)


SECONDS = ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS)
DATE = ResetHeader(name="x-ratelimit-reset", format=ResetHeaderFormat.UNIX_TIMESTAMP)


def delay_s(
    fields: dict[str, str], *, interval_s_max: float = 300.0, headers: tuple[ResetHeader, ...] = (SECONDS, DATE)
) -> float | None:
    """Return the shortest delay: the generator draws 0."""

    class LowestDraw(random.Random):
        def random(self) -> float:
            return 0.0

    reset = ResetHeaders(RateLimitedBackOff(reset_headers=headers, interval_s_max=interval_s_max))
    return reset.delay_s(response(429, **fields), wall_clock_s=NOON_S, random=LowestDraw())


@pytest.mark.parametrize(
    ("fields", "delay"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "300"}, 300.0),
        ({"retry_after": "301"}, None),
        ({"retry_after": "0"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "1.5"}, None),
        ({"retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"retry_after": "18446744073709551616"}, None),
        ({"retry_after": "9" * 100_000}, None),
        ({"x_ratelimit_reset": "1700000010"}, 10.0),
        ({"x_ratelimit_reset": "1700000000"}, None),
        ({"x_ratelimit_reset": "1699999999"}, None),
        ({"x_ratelimit_reset": "1700000301"}, None),
        ({"retry_after": "soon", "x_ratelimit_reset": "1700000010"}, 10.0),
        ({"retry_after": "999", "x_ratelimit_reset": "1700000010"}, 10.0),
        ({"retry_after": "3", "x_ratelimit_reset": "1700000010"}, 3.0),
    ],
)
def test_first_reset_header_that_makes_sense_counts(fields: dict[str, str], delay: float | None) -> None:
    assert delay_s(fields) == delay


def test_longest_interval_is_the_policys() -> None:
    assert delay_s({"retry_after": "4"}, interval_s_max=4.0) == 4.0
    assert delay_s({"retry_after": "5"}, interval_s_max=4.0) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32))
def test_delay_is_at_least_what_was_asked_and_at_most_half_as_much_again(seconds: int, seed: int) -> None:
    reset = ResetHeaders(RateLimitedBackOff(reset_headers=(SECONDS,)))
    head = response(503, retry_after=str(seconds))
    for generator in (random.Random(seed), HighestDraw()):
        delay = reset.delay_s(head, wall_clock_s=NOON_S, random=generator)
        assert delay is not None and seconds <= delay <= 1.5 * seconds


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=30), st.sampled_from(ResetHeaderFormat))
def test_no_value_of_a_reset_header_breaks_anything(value: bytes, format_: ResetHeaderFormat) -> None:
    header = ResetHeader(name="retry-after", format=format_)
    delay = delay_s({"retry_after": value.decode("latin-1")}, headers=(header,))
    assert delay is None or 0.0 < delay <= 300.0
