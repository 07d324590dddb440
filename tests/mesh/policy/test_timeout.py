"""Which span of a request runs out first."""

import math

import pytest

from mesh.policy.timeout import Deadlines, Expiry, Timeouts, deadline_after, effective_per_try_s


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
    deadlines = Deadlines(request=5.0, stream=5.0, per_try=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.REQUEST
    deadlines = Deadlines(stream=5.0, per_try=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.STREAM_MAX
    deadlines = Deadlines(per_try=5.0, idle=5.0)
    assert deadlines.expired() is Expiry.PER_TRY


def test_nothing_of_the_last_request_is_left_for_the_next() -> None:
    deadlines = Deadlines()
    busy = Timeouts(request_s=1.0, stream_idle_s=1.0, stream_s_max=1.0)
    deadlines.begin(busy, 0.0)
    deadlines.begin_response_wait(busy, 0.0)
    deadlines.begin_try(0.5, 0.0)
    deadlines.begin(Timeouts(request_s=0.0, stream_idle_s=0.0), 10.0)
    assert deadlines.earliest() == math.inf
