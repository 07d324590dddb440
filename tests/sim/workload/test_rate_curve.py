"""Rate curves: the area under them, and its inverse."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario.users import RateStage
from sim.workload.rate_curve import RateCurve

STAGES = st.lists(
    st.builds(
        RateStage,
        to=st.one_of(st.none(), st.floats(0.5, 200.0)),
        span_s=st.floats(0.0, 100.0),
    ),
    min_size=1,
    max_size=5,
)


def test_curve_goes_to_a_rate_holds_it_and_keeps_the_last_one():
    curve = RateCurve(
        (RateStage(to=60.0, span_s=30.0), RateStage(to=None, span_s=60.0), RateStage(to=0.0, span_s=10.0))
    )
    assert [curve.rate_at(t) for t in (0.0, 15.0, 30.0, 89.0, 95.0, 200.0)] == [0.0, 30.0, 60.0, 60.0, 30.0, 0.0]
    assert curve.starts_until(30.0) == pytest.approx(900)
    assert curve.starts_until(100.0) == pytest.approx(900 + 3600 + 300)
    assert curve.time_of(900.0) == pytest.approx(30.0)
    assert curve.time_of(4801.0) == math.inf


def test_plain_rate_starts_at_once():
    curve = RateCurve((RateStage(to=50.0, span_s=0.0),))
    assert curve.time_of(1.0) == pytest.approx(0.02)


def test_nothing_starts_while_the_rate_is_zero():
    curve = RateCurve((RateStage(to=0.0, span_s=20.0), RateStage(to=10.0, span_s=0.0)))
    assert curve.time_of(1.0) == pytest.approx(20.1)


@given(STAGES, st.floats(0.01, 5000.0))
@settings(max_examples=100, deadline=None)
def test_time_is_the_inverse_of_the_area(stages, starts):
    curve = RateCurve(tuple(stages))
    time_s = curve.time_of(starts)
    if time_s < math.inf:
        assert curve.starts_until(time_s) == pytest.approx(starts, rel=1e-6, abs=1e-6)
