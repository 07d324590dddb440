"""Several control planes in a simulation: one store, sidecars at any of them, and another one takes over when one dies."""

import json
from collections import Counter
from pathlib import Path
from textwrap import dedent

import attrs
import pytest

from mesh.model.errors import ConfigError
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario
from sim.scenario.scenario import Scenario

SYSTEM = """
type: Scenario
format: 1
name: replicas
duration: 40s
warmup: 2s
zones: [east, west]
control_plane: CONTROL_PLANE
services:
  shop: {instances: {east: 3, west: 3}, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {east: 2}, endpoints: {GET /: {steps: [{work: 1ms}]}}}
workload: {visitors: {rate: 5/s, journeys: {look: [GET shop/]}, timeout: 1s, zones: {east: 1}}}
timeline: TIMELINE
"""
WORKS = "[{name: works, expect: success(look) >= 99%}]"
TWO = "{zone: east, replicas: 2}"


def scenario(timeline: str, *, control_plane: str = TWO, checks: str = WORKS) -> Scenario:
    text = dedent(SYSTEM.replace("TIMELINE", timeline).replace("CONTROL_PLANE", control_plane)) + f"checks: {checks}\n"
    return parse_scenario(text, file="replicas.yaml", folder=Path())


def run(what: Scenario, folder: Path) -> list[dict[str, object]]:
    """Run a scenario, whose checks hold, and return its events."""
    saving = attrs.evolve(what, output=attrs.evolve(what.output, save=("events.jsonl",)))
    result = run_scenario(saving, out_dir=folder)
    assert result.ok, result.to_text()
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def connections(events: list[dict[str, object]]) -> dict[str, list[tuple[float, str]]]:
    """Return when each sidecar connected, and to whom."""
    found: dict[str, list[tuple[float, str]]] = {}
    for event in events:
        if event["kind"] == "control_plane.connected":
            found.setdefault(str(event["host"]), []).append((float(str(event["at_s"])), str(event["address"])))
    return found


def test_sidecars_spread_over_all_of_them(tmp_path: Path) -> None:
    found = connections(run(scenario("[]"), tmp_path))
    shares = Counter(address for (_, address), *_ in found.values())
    assert len(found) == 9 and len(shares) == 2 and min(shares.values()) >= 2, shares


def test_another_one_takes_over_when_one_dies_and_nobody_is_lost(tmp_path: Path) -> None:
    events = run(scenario("[{at: 5s, for: 20s, control-plane: down, replica: control-plane-2}]"), tmp_path)
    kinds = Counter(str(event["kind"]) for event in events)
    assert not kinds["proxy.left"] and not kinds["proxy.lost"]
    found = connections(events)
    moved = [made for made in found.values() if len(made) > 1]
    assert moved and all(made[-1][1] == "10.0.0.2:5678" for made in found.values())


def test_without_their_store_they_go_on_from_memory(tmp_path: Path) -> None:
    events = run(scenario("[{at: 5s, for: 20s, control-plane: down, replica: control-plane-store}]"), tmp_path)
    kinds = Counter(str(event["kind"]) for event in events)
    assert kinds["instance.not_heard"] and not kinds["instance.lost"]
    assert not kinds["proxy.left"] and not kinds["proxy.lost"]
    # Neither can tell that the other is cut off, too: sidecars change places, for nothing, and a few times at most.
    assert all(len(made) <= 3 for made in connections(events).values())


def test_replica_that_is_cut_off_from_the_store_sends_its_sidecars_to_the_other(tmp_path: Path) -> None:
    events = run(scenario("[{at: 5s, for: 30s, stale-replica: control-plane-2}]"), tmp_path)
    kinds = Counter(str(event["kind"]) for event in events)
    assert kinds["instance.lost"] == 1 and kinds["instance.cut_off"] == 1 and kinds["instance.reached_again"] == 1
    assert not kinds["proxy.left"] and not kinds["proxy.lost"]
    for made in connections(events).values():
        assert made[-1][1] == "10.0.0.2:5678" and made[-1][0] < 2.0 + 5.0 + 20.0


def test_lag_of_configurations_grows_where_the_replica_cannot_know_the_newest() -> None:
    timeline = (
        "[{at: 0s, for: 40s, partition: [control-plane, west]}, {at: 5s, for: 25s, stale-replica: control-plane-2}]"
    )
    checks = """
  - {name: lags, expect: config-lag(*) >= 12s, when: between 20s and 28s}
  - {name: over, expect: config-lag(*) <= 2s, when: after stale-replica, grace: 9s}
"""
    result = run_scenario(scenario(timeline, checks=checks))
    assert result.ok, result.to_text()


def test_sidecars_that_reach_that_replica_alone_go_on_with_it(tmp_path: Path) -> None:
    timeline = (
        "[{at: 0s, for: 40s, partition: [control-plane, west]}, {at: 5s, for: 40s, stale-replica: control-plane-2}]"
    )
    events = run(scenario(timeline), tmp_path)
    kinds = Counter(str(event["kind"]) for event in events)
    assert kinds["proxy.lost"] == 3 and not kinds["proxy.left"], "those of west, for the other one"


def test_partition_may_name_them(tmp_path: Path) -> None:
    events = run(scenario("[{at: 5s, for: 15s, partition: [control-plane, west]}]"), tmp_path)
    moved = {name: made[-1][1] for name, made in connections(events).items() if len(made) > 1}
    assert moved and set(moved.values()) == {"10.0.0.3:5678"}


def test_same_seed_gives_the_same_events(tmp_path: Path) -> None:
    what = scenario("[{at: 5s, for: 10s, control-plane: down, replica: control-plane-2}]")
    assert run_scenario(what).event_hash == run_scenario(what).event_hash


@pytest.mark.parametrize(
    ("control_plane", "complaint"),
    [
        ("{zone: east, replicas: 0}", "must be at least 1"),
        ("{zone: east, replicas: 100}", "must be at most 9"),
        ("{zone: [east, north]}", "unknown zone 'north'"),
        ("{zone: east, config_limit: 3}", "a size with a unit"),
    ],
)
def test_what_makes_no_sense_is_refused(control_plane: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario("[]", control_plane=control_plane)
    assert complaint in str(caught.value)


def test_replicas_stand_in_the_zones_by_turns(tmp_path: Path) -> None:
    what = scenario("[]", control_plane="{zone: [east, west], replicas: 3}")
    addresses = {str(e["host"]): str(e["address"]) for e in run(what, tmp_path) if e["kind"] == "control_plane.started"}
    assert addresses == {
        "control-plane": "10.0.0.2:5678",
        "control-plane-2": "10.1.0.2:5678",
        "control-plane-3": "10.0.0.3:5678",
    }
