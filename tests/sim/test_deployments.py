"""Rolling deployments: none of the drained ones loses a request, the abrupt ones show the burst of 503 that everybody knows."""

from pathlib import Path

import attrs
import pytest

from sim.runner import run_scenario
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


def test_all_at_once_leaves_nobody():
    assert "nothing-is-lost" in broken(deployed(at_once=3))


def test_whoever_goes_before_callers_have_heard_of_it_loses_requests_and_whoever_waits_does_not():
    slow_news = {"control_plane.push_delay": "3s"}

    def released(settle_s):
        scenario = load_scenario(CHANGES / "deploy-drained.yaml", settings=slow_news)
        (entry,) = scenario.timeline
        timeline = (attrs.evolve(entry, verb=attrs.evolve(entry.verb, settle_s=settle_s)),)
        return run_scenario(attrs.evolve(scenario, timeline=timeline, duration_s=60.0))

    assert "no-503" in broken(released(None))
    assert not broken(released(8.0))
