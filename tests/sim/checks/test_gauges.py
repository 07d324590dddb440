"""Metrics that stand at some value at each moment: a comparison judges the worst second; names are checked as for all metrics."""

from pathlib import Path

import pytest

from mesh.model.errors import ConfigError
from sim.runner import run_scenario
from sim.scenario.expression import Metric
from sim.scenario.loader import parse_scenario

HEAD = """\
type: Scenario
format: 1
name: gauged
duration: 40s
warmup: 5s
zones: [here]
services:
  shop: {instances: {here: 2}, concurrency: 4, queue: 100, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: 20ms}]}}}
workload: {visitors: {rate: 20/s, journeys: {look: [GET shop/]}, timeout: 2s}}
timeline: [{at: 15s, kill: stock-1, restart_after: 5s}]
checks:
"""


def judge(*checks):
    scenario = parse_scenario(HEAD + "".join(f"  - {check}\n" for check in checks), file="gauged.yaml", folder=Path())
    return {check.name: check for check in run_scenario(scenario).checks}


def test_gauges_follow_the_mesh():
    verdicts = judge(
        "{name: one-left, expect: instances(stock) == 1, when: during kill}",
        "{name: two-after, expect: instances(stock) >= 2, when: after kill}",
        "{name: restarts, expect: restarts(stock) == 1, when: after kill, grace: 5s}",
        "{name: connected, expect: connected(*) >= 4}",
        "{name: lag, expect: config-lag(stock) <= 5s}",
        "{name: certificates, expect: certificate-left(*) >= 1h}",
        "{name: connections, expect: open-connections(stock) >= 1}",
        "{name: ejected, expect: ejected(*) == 0}",
        "{name: panic, expect: panicking(stock) == 0}",
        "{name: at-work, expect: in-flight(stock) + queued(shop) <= 50}",
        "{name: fan-out, expect: amplification(stock) <= 2}",
        "{name: offered, expect: offered(look) >= 10/s}",
    )
    assert [name for name, verdict in verdicts.items() if not verdict.ok] == []
    assert verdicts["one-left"].value == "1" and verdicts["restarts"].value == "1"


def test_broken_gauge_names_the_moment_and_the_fault():
    broken = judge("{name: always-two, expect: instances(stock) >= 2}")["always-two"]
    assert (broken.ok, broken.value, broken.near) == (False, "1", "kill stock-1")
    assert broken.first_s is not None and 5.0 <= broken.first_s <= 16.0


@pytest.mark.parametrize(
    ("expect", "complaint"),
    [
        ("instances(stok) >= 1", "instances() does not know the member 'stok' (did you mean 'stock'?)"),
        ("ejected(visitors) == 0", "ejected() does not know the service 'visitors'"),
        ("ejectd(stock) == 0", "unknown metric 'ejectd'"),
        ("config-lag(*) <= 5", "a span of time against a plain number or share"),
    ],
)
def test_unknown_names_are_refused(expect, complaint):
    with pytest.raises(ConfigError) as refused:
        judge(f"{{name: c, expect: {expect}}}")
    assert any(complaint in str(violation) for violation in refused.value.violations), refused.value.violations


def test_the_highest_or_the_lowest_value_counts(case):
    rows = [(20.0, 1.0), (30.0, 5.0), (31.0, 2.0)]
    most = case("{name: c, expect: ejected(web) <= 4}")
    most.evidence.gauges[Metric("ejected", "web")] = rows
    assert (most.verdict().ok, most.verdict().value) == (False, "5")
    least = case("{name: c, expect: ejected(web) >= 1}")
    least.evidence.gauges[Metric("ejected", "web")] = rows
    assert (least.verdict().ok, least.verdict().value) == (True, "1")
    other_side = case("{name: c, expect: 4 >= ejected(web)}")
    other_side.evidence.gauges[Metric("ejected", "web")] = rows
    assert not other_side.verdict().ok
