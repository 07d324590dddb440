"""Faults of the control plane and of identity: how they are read and drawn, whom they spare, what they leave behind."""

from pathlib import Path
from textwrap import dedent

import pytest

from sim.faults.catalogue import CONTROL_PLANE, IDENTITY
from sim.faults.control_plane.damage import RULE_BYTES, oversized
from sim.faults.control_plane.down import ControlPlaneDown
from sim.faults.control_plane.restart import ControlPlaneRestart
from sim.faults.control_plane.stale_replica import StaleReplica
from sim.report.result import RunResult
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario
from sim.scenario.names import Names
from sim.scenario.verb import Verb
from tests.sim.faults.small_scenario import drawn_entries, refusal_of, scenario_with, verb_of, written

SYSTEM = """
type: Scenario
format: 1
name: faulty
duration: 40s
warmup: 2s
zones: [here]
CONTROL_PLANE
services:
  shop: {instances: {here: 2}, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: 1ms}]}}}
workload: {visitors: {rate: 10/s, journeys: {look: [GET shop/]}, timeout: 1s}}
timeline: TIMELINE
checks: CHECKS
---
{type: MeshTimeout, name: fresh-connections, spec: {rules: [{default: {http: {maxConnectionDuration: 2s}}}]}}
"""


def run(timeline: str, *checks: str, control_plane: str = "") -> RunResult:
    listed = ", ".join(f"{{name: check-{number}, {check}}}" for number, check in enumerate(checks))
    text = SYSTEM.replace("TIMELINE", timeline).replace("CHECKS", f"[{listed}]").replace("CONTROL_PLANE", control_plane)
    return run_scenario(parse_scenario(dedent(text), file="faulty.yaml", folder=Path()))


@pytest.mark.parametrize("verb", [*CONTROL_PLANE, *IDENTITY], ids=lambda verb: verb.word)
def test_what_the_fuzzer_draws_can_be_read(verb: type[Verb]) -> None:
    for entry in drawn_entries(verb):
        assert entry is not None and len(entry) <= 4
        with_span = entry if verb.lasts_key in ("", "for") else entry | {verb.lasts_key: "1s"}
        assert isinstance(verb_of(written(with_span)), verb)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{at: 1s, push-delay: 1s, zone: east}", "zone: needs to"),
        ("{at: 1s, push-delay: 1s, to: nobody}", "unknown service or instance 'nobody'"),
        ("{at: 1s, cp-restart: graceful}", "'restart_after' is missing"),
        ("{at: 1s, restart_after: 1s, cp-restart: soon}", "unknown value 'soon'"),
        ("{at: 1s, control-plane: down, replica: control-plane-2}", "unknown value 'control-plane-2'"),
        ("{at: 1s, stale-replica: control-plane}", "one control plane alone has nobody to fall behind"),
        ("{at: 1s, stale-replica: 0s}", "must be longer than 0s"),
        ("{at: 1s, bad-config: nonsense}", "unknown damage 'nonsense'"),
        ("{at: 1s, bad-config: missing.yaml}", "cannot read 'missing.yaml'"),
        ("{at: 1s, bad-config: oversized}", "needs size"),
        ("{at: 1s, bad-config: deny-all, size: 1KiB}", "is about oversized alone"),
        ("{at: 1s, oversized-config: 1KiB, about: nobody}", "'nobody' is no http service"),
        ("{at: 1s, flapping-config: deny-all}", "'every' is missing"),
        ("{at: 1s, cert-expiry: nobody}", "unknown value 'nobody'"),
        ("{at: 1s, cert-expiry: all, renewal: true}", "needs left"),
        ("{at: 1s, ca-down: false}", "must be true"),
        ("{at: 1s, root-rotation: true, overlap: false, propagation: 1s}", "is about a rotation with overlap"),
        ("{at: 1s, wrong-trust: shop-1}", "is no service"),
        ("{at: 1s, token-revoked: nobody}", "unknown zone, service or instance 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused(entry: str, complaint: str) -> None:
    assert complaint in refusal_of(entry)


def test_entries_are_read() -> None:
    assert verb_of("{at: 1s, control-plane: down}") == ControlPlaneDown()
    assert verb_of("{at: 1s, restart_after: 2s, cp-restart: power-cut}") == ControlPlaneRestart(graceful=False)
    assert verb_of("{at: 50s, stale-replica: 30s}") == StaleReplica(age_s=30.0)
    entry = scenario_with("{at: 50s, stale-replica: 1m}").timeline[0]
    assert entry.verb.backup_s(entry.at_s) == 0.0


def test_oversized_routes_are_as_large_as_they_should_be() -> None:
    names = Names.of({"services": {"shop": {}, "stock": {}}, "zones": ["here"]})
    (shop, stock) = oversized(names, 40 * RULE_BYTES, mesh="default")
    assert [len(each.written["spec"]["to"][0]["rules"]) for each in (shop, stock)] == [20, 20]
    (alone,) = oversized(names, 40 * RULE_BYTES, mesh="default", service="stock")
    assert len(alone.written["spec"]["to"][0]["rules"]) == 40


def test_graceful_restart_that_is_over_before_the_stop_is_leaves_it_running() -> None:
    timeline = "[{at: 5s, restart_after: 1ms, cp-restart: graceful}, {at: 10s, scale: stock, to: {here: 3}}]"
    result = run(timeline, "expect: success(look) >= 99.9%")
    assert result.ok, result.to_text()


def test_what_cannot_be_built_leaves_proxies_as_they_are_and_is_no_bug() -> None:
    timeline = "[{at: 5s, for: 20s, bad-config: impossible-identity}]"
    result = run(timeline, "expect: success(look) >= 99.9%")
    assert result.ok and not result.notes, result.to_text()


@pytest.mark.parametrize("damage", ["deny-all", "dead-route"])
def test_what_is_legal_and_bad_is_live_at_once(damage: str) -> None:
    result = run(
        f"[{{at: 10s, for: 10s, bad-config: {damage}}}]",
        "expect: success(look) <= 1%, when: between 11s and 19s",
        "expect: success(look) >= 99.9%, when: between 22s and 40s",
    )
    assert result.ok, result.to_text()


def test_oversized_configuration_below_the_limit_is_live_and_does_no_harm() -> None:
    result = run("[{at: 10s, for: 10s, oversized-config: 20KiB}]", "expect: success(look) >= 99.9%")
    assert result.ok and not result.notes, result.to_text()


def test_push_delay_for_others_does_not_bite() -> None:
    result = run("[{at: 5s, for: 30s, push-delay: 5s, to: stock}]")
    assert result.notes == ("push-delay stock: touched nothing",)


def test_time_leaps_to_the_last_hour_of_the_certificates_and_they_are_renewed() -> None:
    timeline = "[{at: 5s, cert-expiry: all, left: 1h, renewal: true}]"
    text = dedent(SYSTEM.replace("TIMELINE", timeline).replace("CHECKS", "[]").replace("CONTROL_PLANE", ""))
    text = text.replace("duration: 40s", "duration: 400s").replace("rate: 10/s", "rate: 1/s")
    checks = "[{name: nobody-notices, expect: success(look) >= 99.9%}]"
    result = run_scenario(parse_scenario(text.replace("checks: []", f"checks: {checks}"), file="leap", folder=Path()))
    assert result.ok and not result.notes, result.to_text()


def test_one_expired_service_hurts_its_callers_alone_and_only_new_connections() -> None:
    result = run(
        "[{at: 10s, for: 25s, cert-expiry: stock, left: 1s}]",
        "expect: success(look) >= 99%, when: between 5s and 10s",
        "expect: success(look) <= 1%, when: between 15s and 34s",
    )
    assert result.ok, result.to_text()


def test_zones_tokens_are_revoked_together() -> None:
    result = run(
        "[{at: 10s, for: 10s, token-revoked: stock}]",
        "expect: success(look) <= 1%, when: between 14s and 19s",
        "expect: success(look) >= 99.9%, when: between 30s and 40s",
    )
    assert result.ok, result.to_text()


def test_backup_of_several_control_planes_is_that_of_their_store() -> None:
    result = run(
        "[{at: 8s, for: 30s, bad-config: dead-route}, {at: 20s, for: 8s, stale-replica: 15s}]",
        "expect: success(look) <= 1%, when: between 10s and 19s",
        "expect: success(look) >= 90%, when: between 25s and 27s",
        "expect: success(look) <= 1%, when: between 30s and 37s",
        control_plane="control_plane: {zone: here, replicas: 2}",
    )
    assert result.ok, result.to_text()
