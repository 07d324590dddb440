"""The course of a run with `phases`: safety, a healed core, the drain; and that what does not come about is found."""

from pathlib import Path

import pytest

import mesh.proxy.sidecar
from mesh.discovery.reconnection import Reconnection
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.outlier_detection import OutlierDetector
from sim.faults.active import EachHost
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

HEAD = """\
type: Scenario
format: 1
name: phased
duration: 60s
warmup: 5s
zones: [here]
services:
  shop: {instances: {here: 2}, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {here: 3}, endpoints: {GET /: {steps: [{work: 2ms}]}}}
workload:
  visitors: {rate: 20/s, journeys: {look: [GET shop/]}, timeout: 2s}
"""
POLICIES = """
---
type: MeshRetry
name: all
spec:
  to:
    - targetRef: {kind: Mesh}
      default: {http: {numRetries: 2, perTryTimeout: 300ms, retryOn: [5xx, Reset, ConnectFailure, HttpMethodGet]}}
---
{type: MeshTimeout, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 100ms}}]}}
---
type: MeshCircuitBreaker
name: all
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        outlierDetection:
          interval: 1s
          baseEjectionTime: 5s
          maxEjectionPercent: 60
          detectors: {totalFailures: {consecutive: 3}}
"""
LIVENESS = [
    "core-configured",
    "goodput-returns",
    "ejections-end",
    "streams-progress",
    "certificates-rotate",
    "endpoints-share",
    "reconnects-decay",
    "core-serves",
]


def run(more, *, until_s=None):
    return run_scenario(parse_scenario(HEAD + more + POLICIES, file="phased.yaml", folder=Path()), until_s=until_s)


def verdicts(result):
    return {check.name: check for check in result.checks}


def broken(result):
    return [check.name for check in result.checks if not check.ok]


def test_core_recovers_and_every_promise_is_judged():
    result = run("timeline: [{at: 10s, kill: stock-1}]\nphases: {heal: 20s, within: 20s}")
    assert result.ok, result.to_text()
    assert [name for name in verdicts(result) if name in LIVENESS] == LIVENESS
    assert verdicts(result)["core-configured"].detail.startswith("<= 20s; ")
    assert {"all-connected", "nothing-left", "idle-is-quiet"} <= set(verdicts(result))


def test_fault_outside_the_core_stays_until_the_end():
    result = run(
        "timeline: [{at: 10s, restart_after: 15s, kill: stock-1}]\n"
        "phases: {heal: 20s, core: [shop, stock-2, stock-3], within: 20s}\n"
        "checks: [{name: gone, expect: instances(stock) == 2, when: between 21s and 59s}]"
    )
    assert result.ok, result.to_text()


def test_random_core_follows_from_the_seed():
    more = "seed: 5\ntimeline: [{at: 10s, kill: stock}]\nphases: {heal: 20s, core: random, within: 20s}"
    first, second = run(more), run(more)
    assert first.ok, first.to_text()
    assert first.event_hash == second.event_hash
    assert run(more.replace("seed: 5", "seed: 6")).event_hash != first.event_hash


def test_proxy_that_does_not_come_back_is_named(monkeypatch):
    # Planted: a proxy that lost its control plane waits for ever before it tries again.
    monkeypatch.setattr(Reconnection, "delay_s", lambda self, random: 1e6)
    result = run("timeline: [{at: 10s, control-plane: down}]\nphases: {heal: 20s, within: 10s}")
    configured = verdicts(result)["core-configured"]
    assert not configured.ok and "is not connected" in configured.detail and "control-plane down" in configured.near
    assert configured.first_s == 30.0
    assert "all-connected" in broken(result)


def test_system_that_stays_down_is_named_with_requests_and_a_trace(monkeypatch):
    # Planted: what made the service fail does not go away when the core is healed.
    monkeypatch.setattr(EachHost, "spare", lambda self, core: True)
    result = run(
        "timeline: [{at: 10s, fail: stock, errors: {503: 90%}}]\n"
        "phases: {heal: 20s, core: [shop, stock-1, stock-2], within: 10s}"
    )
    goodput = verdicts(result)["goodput-returns"]
    assert not goodput.ok and "success is" in goodput.detail
    assert goodput.requests and len(goodput.trace) == 32


def test_endpoint_that_stays_ejected_is_named(monkeypatch):
    # Planted: the detector never finds that the time of an ejection is up.
    monkeypatch.setattr(OutlierDetector, "_is_due", lambda self, host, now: False)
    result = run("timeline: [{at: 10s, for: 5s, fail: stock-1, errors: {503: 100%}}]\nphases: {heal: 20s, within: 15s}")
    ejections = verdicts(result)["ejections-end"]
    assert not ejections.ok and "stock-1 is still ejected at shop-" in ejections.detail


def test_mesh_that_does_not_rest_is_named(monkeypatch):
    # Planted: sidecars tick 200 times a second instead of once.
    monkeypatch.setattr(mesh.proxy.sidecar, "TICK_S", 0.005)
    result = run("timeline: [{at: 10s, kill: stock-1}]\nphases: {heal: 20s, within: 20s}")
    assert "idle-is-quiet" in broken(result)


def test_what_is_left_over_is_named(monkeypatch):
    # Planted: a breaker is not paid back what a request held of it.
    monkeypatch.setattr(CircuitBreaker, "release_request", lambda self: None)
    left = verdicts(run("", until_s=10.0))["nothing-left"]
    assert not left.ok and "requests of stock_8080 at shop-" in left.detail


def test_promises_are_not_judged_when_the_run_ends_before():
    result = run("timeline: [{at: 10s, kill: stock-1}]\nphases: {heal: 20s, within: 20s}", until_s=25.0)
    assert {verdicts(result)[name].value for name in LIVENESS} == {"not judged"}


def test_run_whose_faults_touch_nothing_is_void():
    result = run("timeline: [{at: 10s, for: 1s, loss: [stock-1, stock-2], share: 1%}]")
    assert broken(result) == ["void"]
    assert result.exit_code == 1
    assert any("touched nothing" in note for note in result.notes)


@pytest.mark.parametrize("more", ["", "timeline: [{at: 20s, kill: stock}]"])
def test_mesh_is_whole_and_empty_after_the_load(more):
    result = run(more)
    assert verdicts(result)["all-connected"].ok and verdicts(result)["nothing-left"].ok, result.to_text()
    assert verdicts(result)["nothing-left"].always
