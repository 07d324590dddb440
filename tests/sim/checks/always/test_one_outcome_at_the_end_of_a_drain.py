"""A drain that runs out of time cuts what is under way: no bug of the proxy's."""

from pathlib import Path

from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

# One shop is taken away while the line to what it calls is full: after the 30 s of its drain requests are still under way, and
# end with its host, which takes some time to say goodbye on that line.
SCENARIO = """\
type: Scenario
format: 1
name: cut
duration: 45s
warmup: 3s
zones: [front, back]
network: {links: [{between: [front, back], latency: 2ms}]}
services:
  shop: {instances: {front: 2}, concurrency: 50, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {back: 1}, endpoints: {GET /: {response: 16KiB, steps: [{work: 1ms}]}}}
workload:
  visitors: {rate: 4/s, arrivals: constant, zones: {front: 1}, timeout: 50s, journeys: {look: [GET shop/]}}
timeline:
  - {at: 4s, for: 40s, bandwidth: [front, back], to: 64kbit}
  - {at: 6s, scale: shop, to: {front: 1}}
---
{type: MeshTimeout, name: long, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 60s}}}]}}
"""


def test_requests_that_end_with_their_host_are_excused():
    # Without the word of hosts that stop in Disturbances.lived_through: "ended without an outcome" for each of them.
    result = run_scenario(parse_scenario(SCENARIO, file="cut.yaml", folder=Path()))
    verdict = next(check for check in result.checks if check.name == "one-outcome")
    assert verdict.ok, result.to_text()
