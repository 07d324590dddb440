"""Without faults a mesh gives every user the answer that the application alone gives, in the same time but for its handshakes."""

import attrs
import pytest

from sim.network.links import NetworkModel
from sim.runner import observe_scenario

SECONDS = 10.0
LOOPBACK_S = NetworkModel().loopback_s
# Nothing is left to chance, so that both runs have the same requests.
APPLICATION = """
network: {default: {latency: 500us}}
services:
  shop:
    instances: {z: 1}
    endpoints:
      GET /hats: {steps: [{work: 2ms}, {call: stock GET /}, [{call: stock GET /}, {work: 4ms}]]}
      POST /order: {counts: ordered, request: 3KiB, response: 70KiB, steps: [{call: db INSERT orders}, {call: cache DEL}]}
      GET /late: {steps: [{work: 1s}]}
      GET /secret: {requires: {x-key: open}}
  stock: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 5ms}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
  cache: {kind: redis, instances: {z: 1}, work: 200us}
workload:
  browsers: {rate: 20/s, arrivals: constant, journeys: {hats: [GET shop/hats]}}
  buyers: {rate: 10/s, arrivals: constant, journeys: {order: [POST shop/order]}}
  waiters: {rate: 3/s, arrivals: constant, timeout: 500ms, journeys: {late: [GET shop/late]}}
  snoops: {rate: 3/s, arrivals: constant, journeys: {secret: [GET shop/secret]}}
"""


@pytest.fixture
def both(bench):
    """Run the application alone and in a mesh; return what users and services of each saw."""
    plain = bench(APPLICATION).run(SECONDS)
    meshed = observe_scenario(attrs.evolve(plain.scenario, duration_s=SECONDS)).evidence
    return (plain.log, plain.tally), (meshed.users, meshed.services)


def outcomes(log):
    return sorted((visit.request, visit.status, visit.timed_out) for visit in log.visits)


def test_answers_and_effects_are_those_of_the_application(both):
    (plain_log, plain_tally), (mesh_log, mesh_tally) = both
    assert len(plain_log.visits) == 360
    assert {visit.status for visit in plain_log.visits} == {0, 200, 400}
    assert outcomes(mesh_log) == outcomes(plain_log)
    assert mesh_tally.executions == plain_tally.executions
    assert mesh_tally.statements == plain_tally.statements
    assert mesh_tally.events == plain_tally.events
    assert sorted(mesh_tally.deliveries.values()) == sorted(plain_tally.deliveries.values())


@pytest.mark.parametrize(("request_", "calls"), [("GET shop/hats", 3), ("POST shop/order", 3), ("GET shop/secret", 1)])
def test_answers_take_as_long_as_the_application(both, request_, calls):
    """Processors take no time in simulation: what a mesh adds is the way through sidecars on the same host, and handshakes."""
    (plain_log, _), (mesh_log, _) = both
    plain, meshed = (
        sorted(v.end_s - v.start_s for v in log.visits if v.request == request_) for log in (plain_log, mesh_log)
    )
    middle = len(plain) // 2
    added_s = 4 * calls * LOOPBACK_S  # to and from the sidecar, at the caller and at the called
    assert meshed[middle] == pytest.approx(plain[middle] + added_s, abs=1e-6)
    assert meshed[-1] < plain[-1] + 0.01
