"""What must not matter does not: an unused host changes no event, and a mesh without faults changes no answer."""

from pathlib import Path

import pytest

from sim.assembly import SimulatedMesh
from sim.entry_file import EntryWriter, entries
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

SHOP = """type: Scenario
format: 1
name: shop
duration: 20s
warmup: 2s
zones: [east, west]
network:
  default: {{latency: {{p50: 250us, p99: 1ms}}}}
  links: [{{between: [east, west], latency: {{p50: 5ms, p99: 9ms}}, loss: 1%}}]
services:
  shop: {{instances: {{east: 1, west: 1}}, endpoints: {{GET /: {{steps: [{{work: {{mean: 2ms}}}}, {{call: stock GET /}}]}}}}}}
  stock: {{instances: {{east: 1, west: 1}}, endpoints: {{GET /: {{errors: {{503: 2%}}, steps: [{{work: {{mean: 9ms}}}}]}}}}}}
{more}
workload:
  visitors: {{rate: 30/s, journeys: {{look: [GET shop/]}}, timeout: 2s}}
timeline:
  - {{at: 8s, for: 3s, partition: [east, west]}}
  - {{at: 14s, kill: stock-1, restart_after: 2s}}
"""
SPARE = "  spare: {instances: {west: 2}, endpoints: {GET /: {}}}"


def run(text, folder):
    """Return the result, and every event on the way of requests: all but the control plane's and the spare hosts' own."""
    scenario = parse_scenario(text, file="shop.yaml", folder=Path())
    with EntryWriter(folder) as writer:
        result = run_scenario(scenario, entries=writer)
    return result, list(entries(folder))


def concerning_others(events):
    return [entry for entry in events if "spare" not in entry.what]


def on_the_way_of_requests(events):
    """Return what happened between sidecars, applications and users once the mesh stood, by time since then."""
    began = next(number for number, entry in enumerate(events) if entry.what.endswith("scenario.began"))
    later = [entry for entry in concerning_others(events[began:]) if "control-plane" not in entry.what]
    return [(round(entry.at_s - events[began].at_s, 9), entry.what) for entry in later]


@pytest.fixture
def plain(tmp_path):
    result, events = run(SHOP.format(more=""), tmp_path / "plain")
    assert result.totals.journeys > 400
    assert result.totals.journeys_ok < result.totals.journeys, "there is something that could be otherwise"
    return result, events


def test_a_host_that_does_nothing_changes_no_other_event(plain, tmp_path, monkeypatch):
    def with_a_spare(mesh, what, *, add=SimulatedMesh._add):
        if "spare" not in mesh.world.hosts:
            mesh.world.add_host("spare", zone="east", address="10.99.0.1")
        return add(mesh, what)

    monkeypatch.setattr(SimulatedMesh, "_add", with_a_spare)
    result, events = run(SHOP.format(more=""), tmp_path / "spare")
    assert len(events) > len(plain[1])
    assert result.totals == plain[0].totals
    assert concerning_others(events) == plain[1]


def test_a_service_that_nobody_calls_changes_nothing_for_those_who_call_others(plain, tmp_path):
    """Its sidecars take the control plane's time while the mesh comes up, as they would; requests never notice."""
    result, events = run(SHOP.format(more=SPARE), tmp_path / "spare")
    assert result.totals == plain[0].totals
    assert on_the_way_of_requests(events) == on_the_way_of_requests(plain[1])
