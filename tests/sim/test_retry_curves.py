"""What retries cost and what they bring, against what the literature says of them.

Sources: Google's SRE book, chapters 21 and 22 (tiers multiply; a budget of 10 % bounds a tier's growth to 1.1); Brooker,
Timeouts, retries and backoff with jitter (Amazon Builders' Library); Envoy's retry budgets.
"""

from pathlib import Path

import pytest

from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

EVERYTHING = "{percent: 100, minConcurrency: 100000}"


def tiers(count, *, errors, retries, budget, seconds=30, rate=40):
    """Return a chain of services of which the last fails, each called with retries by the one before it."""
    services = []
    for tier in range(1, count + 1):
        does = f"{{errors: {{503: {errors}}}}}" if tier == count else f"{{steps: [{{call: t{tier + 1} GET /}}]}}"
        services.append(
            f"  t{tier}: {{instances: {{z: 1}}, concurrency: 1000, queue: 1000, endpoints: {{GET /: {does}}}}}"
        )
    return f"""type: Scenario
format: 1
name: tiers
duration: {seconds}s
warmup: 0s
zones: [z]
services:
{chr(10).join(services)}
workload: {{users: {{rate: {rate}/s, arrivals: constant, journeys: {{ask: [GET t1/]}}}}}}
checks: [{{name: any, expect: success(ask) >= 0%}}]
---
type: MeshRetry
name: eager
spec:
  to:
    - targetRef: {{kind: Mesh}}
      default:
        http: {{numRetries: {retries}, retryOn: [5xx], backOff: {{baseInterval: 1ms, maxInterval: 2ms}}, retryBudget: {budget}}}
"""


def run(text, *, until_s=None):
    scenario = parse_scenario(text, file="curve.yaml", folder=Path())
    return run_scenario(scenario, until_s=until_s)


@pytest.mark.parametrize(("errors", "retries"), [(0.2, 1), (0.5, 2), (0.5, 4), (0.9, 3)])
def test_tries_and_success_of_one_tier_are_geometric(errors, retries):
    totals = run(tiers(1, errors=f"{errors:.0%}", retries=retries, budget=EVERYTHING, seconds=60)).totals
    tries = (1 - errors ** (retries + 1)) / (1 - errors)
    success = 1 - errors ** (retries + 1)
    assert totals.journeys == 2400
    assert totals.tries / totals.requests == pytest.approx(tries, rel=0.04)
    assert totals.journeys_ok / totals.journeys == pytest.approx(success, abs=0.03)


@pytest.mark.parametrize(("count", "retries"), [(1, 3), (2, 3), (3, 3), (3, 2), (4, 1)])
def test_tiers_multiply_when_the_last_one_is_down(count, retries):
    totals = run(tiers(count, errors="100%", retries=retries, budget=EVERYTHING, seconds=5, rate=4)).totals
    # Each tier tries `retries + 1` times whatever reaches it: three tiers of four tries ask the last one 64 times.
    each = retries + 1
    assert totals.tries / totals.journeys == sum(each**tier for tier in range(1, count + 1))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_rate_budget_bounds_the_growth_of_each_tier(count):
    budget = "{percent: 10, ratePerSecond: 1}"
    totals = run(tiers(count, errors="100%", retries=3, budget=budget, seconds=60, rate=100)).totals
    bottom = totals.tries / totals.journeys
    # 1.1 to the power of the tiers at the last one, and all those before it; the floor of one a second adds to each.
    allowed = sum(1.1**tier + 0.03 * tier for tier in range(1, count + 1))
    assert sum(1.05**tier for tier in range(1, count + 1)) < bottom <= allowed


def test_a_budget_is_the_difference_between_a_dip_and_a_storm():
    """Load that fits, a dip of capacity, and eager retries of callers who lose patience: only the budget lets it come back."""
    share = {}
    for name, budget in (("none", EVERYTHING), ("budget", "{percent: 20, minConcurrency: 3}")):
        result = run(overload(budget))
        share[name] = float(result.checks[0].value.rstrip("%"))
    assert share["none"] < 50 < 95 < share["budget"]


def overload(budget):
    return f"""type: Scenario
format: 1
name: dip
duration: 75s
warmup: 5s
zones: [z]
services:
  shop: {{instances: {{z: 2}}, concurrency: 1000, endpoints: {{GET /: {{steps: [{{call: stock GET /}}]}}}}}}
  stock: {{instances: {{z: 1}}, concurrency: 10, queue: 150, endpoints: {{GET /: {{steps: [{{work: {{mean: 200ms}}}}]}}}}}}
workload: {{users: {{rate: 30/s, journeys: {{ask: [GET shop/]}}, timeout: 6s}}}}
timeline: [{{at: 15s, for: 10s, slow: stock, factor: 3}}]
checks: [{{name: after, expect: success(ask) >= 0%, when: between 60s and 75s}}]
---
{{type: MeshTimeout, name: t, spec: {{to: [{{targetRef: {{kind: Mesh}}, default: {{http: {{requestTimeout: 5s}}}}}}]}}}}
---
type: MeshCircuitBreaker
name: wide
spec:
  to:
    - targetRef: {{kind: Mesh}}
      default: {{connectionLimits: {{maxConnections: 10000, maxPendingRequests: 10000, maxRequests: 10000, maxRetries: 10000}}}}
---
type: MeshRetry
name: eager
spec:
  to:
    - targetRef: {{kind: Mesh}}
      default:
        http:
          numRetries: 3
          perTryTimeout: 1s
          retryOn: [5xx]
          backOff: {{baseInterval: 10ms, maxInterval: 50ms}}
          retryBudget: {budget}
"""
