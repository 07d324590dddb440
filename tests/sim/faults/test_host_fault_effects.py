"""What faults of hosts do to a running mesh, beyond what their examples show."""

import itertools
import json
from pathlib import Path

import attrs
import pytest

from sim.report.result import RunResult
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario, parse_scenario

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples" / "faults"

TEXT = """
type: Scenario
format: 1
name: effects
duration: DURATION
warmup: 2s
zones: [here]
services: {stock: {instances: {here: 1}, endpoints: {GET /: {}}}}
workload: {visitors: {rate: 10/s, journeys: {look: [GET stock/]}, timeout: 1s}}
timeline: [TIMELINE]
checks: [CHECKS]
"""

IDENTITY = """---
{type: MeshIdentity, name: here, spec: {selector: {dataplane: {matchLabels: {}}}, provider: {type: Bundled, bundled: {
  insecureAllowSelfSigned: true, autogenerate: {enabled: true}, certificateParameters: {expiry: 1h}}}}}
---
{type: MeshTLS, name: strict, spec: {rules: [{default: {mode: Strict}}]}}
---
type: MeshTrafficPermission
name: all
spec: {targetRef: {kind: Mesh}, rules: [{default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://"}}]}}]}
"""


def run(timeline: str, *checks: str, duration: str = "30s", more: str = "", out: Path | None = None) -> RunResult:
    """Run a small mesh through a timeline, and see that its checks hold and its faults bit."""
    expectations = ", ".join(f"{{name: c{n}, expect: {check}}}" for n, check in enumerate(checks))
    text = TEXT.replace("TIMELINE", timeline).replace("CHECKS", expectations).replace("DURATION", duration)
    result = run_scenario(parse_scenario(text + more, file="effects.yaml", folder=EXAMPLES), out_dir=out)
    assert result.ok, result.to_text()
    assert not any("touched nothing" in note for note in result.notes), result.to_text()
    return result


def test_a_machine_that_stands_still_is_silent_and_goes_on() -> None:
    scenario = load_scenario(EXAMPLES / "pause.yaml")
    (entry,) = scenario.timeline
    machine = attrs.evolve(entry, verb=attrs.evolve(entry.verb, how="machine"))  # type: ignore[misc]  # an attrs value
    result = run_scenario(attrs.evolve(scenario, timeline=(machine,)))
    assert result.ok, result.to_text()


@pytest.mark.parametrize(("disk", "share"), [("kept", ">= 99%"), ("wiped", "<= 1%")])
def test_a_sidecar_without_control_plane_starts_from_its_disk_or_not_at_all(disk: str, share: str) -> None:
    run(
        f"{{at: 4s, control-plane: down}}, {{at: 5s, restart: stock, how: cut, disk: {disk}}}",
        f"success(look) {share}, when: between 10s and 30s",
    )


def test_a_paused_control_plane_stops_no_request_and_catches_up() -> None:
    run(
        "{at: 4s, for: 40s, pause: control-plane}, {at: 10s, apply: applied/shop-fails.yaml}",
        "success(look) == 100%, when: between 5s and 43s",
        "success(look) == 0%, when: between 55s and 65s",
        duration="65s",
    )


def test_a_slow_control_plane_stops_no_request_and_takes_changes_late() -> None:
    run(
        "{at: 4s, for: 20s, slow-cpu: control-plane, factor: 1000}, {at: 6s, apply: applied/shop-fails.yaml}",
        "success(look) == 100%, when: between 3s and 6500ms",
        "success(look) == 0%, when: between 25s and 30s",
    )


def test_certificates_from_the_future_are_refused() -> None:
    """The control plane's clock is ahead: what it issues now is valid in an hour."""
    run(
        "{at: 4s, for: 12s, clock-skew: control-plane, by: 1h}, {at: 5s, restart: stock, how: cut, disk: wiped}",
        "success(look) >= 99%, when: between 2s and 4s",
        "success(look) <= 1%, when: between 8s and 15s",
        more=IDENTITY,
    )


def test_each_death_by_memory_is_followed_by_a_longer_wait(tmp_path: Path) -> None:
    run(
        "{at: 3s, for: 22s, memory-limit: stock, limit: 32MiB, restart_after: 2s}",
        "success(look) <= 10%, when: between 5s and 24s",
        "success(look) >= 99%, when: between 27s and 30s",
        out=tmp_path,
    )
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    deaths = [event["run_s"] for event in events if event["kind"] == "host.crashed"]
    waits = [later - earlier for earlier, later in itertools.pairwise(deaths)]
    # Who starts has been looked at within 100 ms.
    assert [round(wait) for wait in waits] == [2, 4, 8]
