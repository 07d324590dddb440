"""Rolling deployments: none of the drained ones loses a request, the abrupt ones show the burst of 503 that everybody knows."""

from pathlib import Path

import attrs
import pytest

from mesh.discovery.client import ControlPlaneClient
from mesh.model.departure import Departure
from sim.runner import run_scenario
from sim.scenario.distributions import Constant
from sim.scenario.loader import load_scenario

CHANGES = Path(__file__).parents[2] / "scenarios" / "examples" / "changes"


@pytest.mark.parametrize("name", ["deploy-drained", "deploy-abrupt"])
def test_example_holds(name):
    result = run_scenario(load_scenario(CHANGES / f"{name}.yaml"))
    assert result.ok, result.to_text()


def deployed(*, instances=3, **changes):
    scenario = load_scenario(CHANGES / "deploy-drained.yaml")
    (entry,), (service,) = scenario.timeline, scenario.services
    return run_scenario(
        attrs.evolve(
            scenario,
            timeline=(attrs.evolve(entry, verb=attrs.evolve(entry.verb, **changes)),),
            services=(attrs.evolve(service, instances=(("here", instances),)),),
        )
    )


def broken(result):
    return {check.name for check in result.checks if not check.ok}


def test_two_at_once_and_newest_first_lose_nothing_either():
    assert not broken(deployed(instances=5, at_once=2, newest_first=True))


def test_application_that_stops_before_its_sidecar_loses_requests():
    assert "no-503" in broken(deployed(application_first=True))


@pytest.mark.parametrize("instances", [3, 5])
def test_all_but_one_at_once_lose_nothing(instances):
    assert not broken(deployed(instances=instances, at_once=instances - 1))


def drained_together():
    """Run a deployment in which all instances drain at once, and end one after the other."""
    scenario = load_scenario(CHANGES / "deploy-drained.yaml")
    (entry,) = scenario.timeline
    one_by_one = tuple(
        attrs.evolve(
            entry,
            at_s=10.0 + 0.2 * number,
            verb=attrs.evolve(entry.verb, target=f"shop-{number}", settle_s=settle_s, starts_after_s=starts_after_s),
        )
        for number, settle_s, starts_after_s in [(1, 1.0, 1.0), (2, 2.0, 3.0), (3, 5.0, 3.0)]
    )
    return run_scenario(attrs.evolve(scenario, timeline=one_by_one))


def test_all_that_drain_together_and_end_one_after_the_other_lose_nothing():
    assert not broken(drained_together())


def test_they_would_if_callers_were_not_told_who_closes_first(monkeypatch):
    depart = ControlPlaneClient.depart
    monkeypatch.setattr(ControlPlaneClient, "depart", lambda client, _: depart(client, Departure.DRAINING))
    assert "nothing-is-lost" in broken(drained_together())


def test_all_at_once_leaves_nobody():
    assert "nothing-is-lost" in broken(deployed(at_once=3))


def test_whoever_goes_before_callers_have_heard_of_it_loses_requests_and_whoever_waits_does_not():
    def released(settle_s):
        scenario = load_scenario(CHANGES / "deploy-drained.yaml")
        (entry,) = scenario.timeline
        return run_scenario(
            attrs.evolve(
                scenario,
                duration_s=60.0,
                control_plane=attrs.evolve(scenario.control_plane, push_delay=Constant(3.0)),
                timeline=(attrs.evolve(entry, verb=attrs.evolve(entry.verb, settle_s=settle_s)),),
            )
        )

    assert "no-503" in broken(released(None))
    assert not broken(released(8.0))
