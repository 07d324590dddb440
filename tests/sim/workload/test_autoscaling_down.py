"""An autoscaler that takes instances away, while those that leave have much to finish."""

from pathlib import Path

from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

# What the shop calls is stuck: its instances wait, at work with nothing, and each takes its whole time to drain.
SCENARIO = """\
type: Scenario
format: 1
name: down
duration: 36s
warmup: 3s
zones: [here]
services:
  shop:
    instances: {here: 4}
    concurrency: 50
    autoscale: {metric: cpu, target: 50%, min: 1, max: 4, calm: 5s}
    endpoints: {GET /: {steps: [{call: stock GET /}]}}
  stock: {instances: {here: 1}, concurrency: 500, endpoints: {GET /: {steps: [{work: 1ms}]}}}
workload:
  visitors: {rate: 8/s, arrivals: constant, timeout: 40s, journeys: {look: [GET shop/]}}
timeline: [{at: 4s, for: 32s, stuck: stock}]
checks:
  - {name: there-at-first, expect: instances(shop) >= 4, when: between 0s and 8s}
  - {name: all-but-one-are-gone, expect: instances(shop) <= 1, when: between 33s and 36s}
---
{type: MeshTimeout, name: long, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 60s}}}]}}
"""


def test_instances_that_drain_slowly_do_not_stop_the_autoscaler():
    # With stop_instance awaited in keep_scaled: 3 instances are left at 33 s.
    result = run_scenario(parse_scenario(SCENARIO, file="down.yaml", folder=Path()))
    verdicts = {check.name: check for check in result.checks}
    assert verdicts["there-at-first"].ok, result.to_text()
    assert verdicts["all-but-one-are-gone"].ok, result.to_text()
