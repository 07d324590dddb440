"""Which span of a request runs out first."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.timeout import (
    Deadlines,
    Expiry,
    Timeouts,
    deadline_after,
    effective_per_try_s,
    expected_timeout_ms,
)


@pytest.mark.parametrize(("span_s", "deadline"), [(0.0, math.inf), (2.5, 12.5)])
def test_span_of_zero_never_runs_out(span_s: float, deadline: float) -> None:
    assert deadline_after(10.0, span_s) == deadline


@pytest.mark.parametrize(
    ("per_try_s", "request_s", "effective_s"),
    [
        (0.1, 15.0, 0.1),
        (16.0, 15.0, 0.0),  # Kuma's default retry against Kuma's default timeout: never in force.
        (15.0, 15.0, 0.0),
        (16.0, 0.0, 16.0),
        (0.0, 15.0, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_per_try_span_counts_only_below_the_requests(per_try_s: float, request_s: float, effective_s: float) -> None:
    assert effective_per_try_s(per_try_s, request_s) == effective_s


def test_request_timeout_starts_with_the_complete_request() -> None:
    timeouts = Timeouts(request_s=15.0, stream_idle_s=0.0)
    deadlines = Deadlines()
    deadlines.begin(timeouts, 100.0)
    assert deadlines.earliest() == math.inf
    deadlines.begin_response_wait(timeouts, 107.0)
    assert deadlines.earliest() == 122.0
    assert deadlines.expired() is Expiry.REQUEST


def test_each_try_has_its_own_span_within_the_requests() -> None:
    timeouts = Timeouts(request_s=0.25, stream_idle_s=0.0)
    deadlines = Deadlines()
    deadlines.begin(timeouts, 0.0)
    deadlines.begin_response_wait(timeouts, 0.0)
    deadlines.begin_try(0.1, 0.0)
    assert (deadlines.earliest(), deadlines.expired()) == (0.1, Expiry.PER_TRY)
    deadlines.end_try()
    assert (deadlines.earliest(), deadlines.expired()) == (0.25, Expiry.REQUEST)
    deadlines.begin_try(0.1, 0.2)
    assert (deadlines.earliest(), deadlines.expired()) == (0.25, Expiry.REQUEST)


def test_traffic_puts_the_idle_span_off_and_nothing_else() -> None:
    timeouts = Timeouts(request_s=0.0, stream_idle_s=300.0, stream_s_max=400.0)
    deadlines = Deadlines()
    deadlines.begin(timeouts, 0.0)
    assert (deadlines.earliest(), deadlines.expired()) == (300.0, Expiry.STREAM_IDLE)
    deadlines.touch(timeouts, 50.0)
    assert deadlines.earliest() == 350.0
    deadlines.touch(timeouts, 200.0)
    assert (deadlines.earliest(), deadlines.expired()) == (400.0, Expiry.STREAM_MAX)


def test_the_end_of_the_request_beats_the_end_of_a_try_at_the_same_instant() -> None:
    # Else a retry would start for a request whose time is over. Planted once and found: per-try asked first.
    deadlines = Deadlines(request=5.0, stream=5.0, per_try=5.0, per_try_idle=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.REQUEST
    deadlines = Deadlines(stream=5.0, per_try=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.STREAM_MAX
    deadlines = Deadlines(per_try=5.0, per_try_idle=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.PER_TRY
    deadlines = Deadlines(per_try_idle=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.PER_TRY_IDLE


def test_idle_span_of_a_try_is_put_off_by_traffic_and_goes_on_in_the_response() -> None:
    timeouts = Timeouts(request_s=0.0, stream_idle_s=300.0)
    deadlines = Deadlines()
    deadlines.begin(timeouts, 0.0)
    deadlines.begin_try(2.0, 0.0, 1.0)
    assert (deadlines.earliest(), deadlines.expired()) == (1.0, Expiry.PER_TRY_IDLE)
    deadlines.touch(timeouts, 0.5)
    assert (deadlines.earliest(), deadlines.expired()) == (1.5, Expiry.PER_TRY_IDLE)
    deadlines.touch(timeouts, 1.25)
    assert (deadlines.earliest(), deadlines.expired()) == (2.0, Expiry.PER_TRY)
    deadlines.begin_response()
    assert (deadlines.earliest(), deadlines.expired()) == (2.25, Expiry.PER_TRY_IDLE)
    deadlines.end_try()
    deadlines.touch(timeouts, 2.0)
    assert (deadlines.earliest(), deadlines.expired()) == (302.0, Expiry.STREAM_IDLE)
    deadlines.begin_try(0.0, 3.0)  # the next try has none
    deadlines.touch(timeouts, 4.0)
    assert deadlines.earliest() == 304.0


SPANS = st.sampled_from([0.0, 0.25, 1.0, 2.0, 15.0])


@settings(max_examples=100, deadline=None)
@given(SPANS, SPANS, SPANS, SPANS, SPANS, st.floats(0.0, 1e6))
def test_a_complete_request_begins_as_one_whose_parts_come_one_by_one(
    request_s: float, idle_s: float, longest_s: float, per_try_s: float, per_try_idle_s: float, now: float
) -> None:
    # Planted once and found: `begin_complete` that leaves the last request's per_try_idle standing.
    timeouts = Timeouts(request_s=request_s, stream_idle_s=idle_s, stream_s_max=longest_s)
    at_once = Deadlines(request=1.0, stream=1.0, per_try=1.0, per_try_idle=1.0, idle=1.0)
    earliest = at_once.begin_complete(timeouts, per_try_s, now, per_try_idle_s)
    step_by_step = Deadlines()
    step_by_step.begin(timeouts, now)
    step_by_step.begin_response_wait(timeouts, now)
    step_by_step.begin_try(per_try_s, now, per_try_idle_s)
    assert earliest == at_once.earliest() == step_by_step.earliest()
    for deadlines in (at_once, step_by_step):
        deadlines.touch(timeouts, now + 0.125)
    assert [getattr(at_once, name) for name in WHEN] == [getattr(step_by_step, name) for name in WHEN]


WHEN = ("request", "stream", "per_try", "per_try_idle", "idle")


@pytest.mark.parametrize(
    ("per_try_s", "request_s", "elapsed_s", "hedges", "expected_ms"),
    [
        (0.0, 15.0, 0.0, False, 15000),
        (0.25, 15.0, 0.0, False, 250),
        (0.25, 15.0, 14.9, False, 100),  # a try cannot take longer than what is left
        (0.25, 15.0, 14.9, True, 100),
        (0.25, 15.0, 1.0, True, 14000),  # a hedged try is not ended by its span
        (0.0, 15.0, 2.5, False, 12500),
        (0.0, 15.0, 15.0, False, 1),
        (0.0, 15.0, 99.0, False, 1),
        (0.25, 0.0, 99.0, False, 250),
        (0.0, 0.0, 99.0, False, 0),
        (0.25, 0.0, 0.0, True, 0),
        (0.0, 1.001, 0.0, False, 1001),
    ],
)
def test_time_that_an_upstream_may_take(
    per_try_s: float, request_s: float, elapsed_s: float, hedges: bool, expected_ms: int
) -> None:
    assert expected_timeout_ms(per_try_s, request_s, elapsed_s=elapsed_s, hedges=hedges) == expected_ms


def test_nothing_of_the_last_request_is_left_for_the_next() -> None:
    deadlines = Deadlines()
    busy = Timeouts(request_s=1.0, stream_idle_s=1.0, stream_s_max=1.0)
    deadlines.begin(busy, 0.0)
    deadlines.begin_response_wait(busy, 0.0)
    deadlines.begin_try(0.5, 0.0, 0.5)
    deadlines.begin(Timeouts(request_s=0.0, stream_idle_s=0.0), 10.0)
    assert deadlines.earliest() == math.inf
