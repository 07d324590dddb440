"""A small broken run, made once: an instance dies, its callers retry, one check does not hold."""

from functools import cache
from pathlib import Path

from sim.report.capture import PAGE, TRACES
from sim.runner import observe_scenario
from sim.scenario.loader import parse_scenario

SCENARIO = """\
type: Scenario
format: 1
name: small
seed: 3
duration: 14s
warmup: 2s
zones: [a, b]
network: {links: [{between: [a, b], latency: 5ms}]}
services:
  shop: {instances: {a: 1}, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {a: 1, b: 1}, endpoints: {GET /: {steps: [{work: 2ms}]}}}
workload:
  visitors: {rate: 20/s, journeys: {look: [GET shop/]}, timeout: 1s}
timeline: [{at: 5s, kill: stock-2, restart_after: 5s}]
checks:
  - {name: quick, expect: max(look) < 90ms, window: 1s}
  - {name: answered, expect: success(look) >= 90%}
---
type: MeshRetry
name: all
spec:
  to:
    - targetRef: {kind: Mesh}
      default: {http: {numRetries: 2, perTryTimeout: 100ms, retryOn: [5xx, Reset, HttpMethodGet]}}
---
{type: MeshTimeout, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 100ms}}]}}
---
type: MeshCircuitBreaker
name: all
spec:
  to:
    - targetRef: {kind: Mesh}
      default: {outlierDetection: {maxEjectionPercent: 50, detectors: {totalFailures: {consecutive: 3}}}}
"""


def parsed():
    return parse_scenario(SCENARIO, file="small.yaml", folder=Path())


@cache
def small_run():
    """Return the run's material, with everything kept that a file may need."""
    return observe_scenario(parsed(), wanted=(TRACES, PAGE))


@cache
def plain_run():
    """Return the same run with nothing kept."""
    return observe_scenario(parsed())
