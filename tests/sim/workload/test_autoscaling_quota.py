"""What an autoscaler may start, and what it takes for load."""

import pytest
from hypothesis import given, settings, strategies

from sim.scenario.topology import Autoscale
from sim.workload.autoscaler import Autoscaler, Quota


@settings(max_examples=100, deadline=None)
@given(strategies.lists(strategies.tuples(strategies.integers(0, 6), strategies.integers(0, 30)), max_size=20))
def test_no_span_has_more_starts_than_the_quota(wishes):
    quota, now, started = Quota(count=4, span_s=60.0), 0.0, []
    for wanted, later_s in wishes:
        now += later_s
        granted = quota.take(wanted, now=now)
        assert 0 <= granted <= wanted
        started += [now] * granted
        recent = [moment for moment in started if moment > now - 60.0]
        assert len(recent) <= 4
        # Nothing is kept back without need.
        assert granted == wanted or len(recent) == 4


def test_without_a_quota_everything_is_granted():
    assert Quota(count=None, span_s=60.0).take(500, now=0.0) == 500


def test_quota_of_nothing_grants_nothing():
    assert Quota(count=0, span_s=60.0).take(3, now=0.0) == 0


def test_calm_is_as_long_as_written():
    scaler = Autoscaler(Autoscale(target=0.5, least=1, most=9, delay_s=0.0, calm_s=10.0))
    assert [scaler.decide(measured=0.0, instances=4, now=now) for now in (0.0, 9.0, 10.0)] == [4, 4, 3]


def test_places_at_work_are_not_those_that_wait(bench):
    async def look(b):
        import trio

        await trio.sleep(2.0)
        b.seen = {name: (s.places.busy, s.places.working) for name, s in b.services.items()}

    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 10ms}, {call: back GET /}]}}}
  back: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 1s}]}}}
workload: {u: {rate: 50/s, arrivals: constant, journeys: {j: [GET web/]}}}
""").run(3.0, during=look)
    assert b.seen["web"] == (pytest.approx(50, abs=2), pytest.approx(0.5, abs=0.5))
    assert b.seen["back"][0] == b.seen["back"][1]
