"""Whole runs of small scenarios: sidecars, control plane, faults, checks and files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.model.errors import ConfigError
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

HEAD = """\
type: Scenario
format: 1
name: small
seed: 3
duration: 20s
warmup: 4s
zones: [a, b]
network:
  default: {latency: 250us}
  links: [{between: [a, b], latency: {p50: 5ms, p99: 8ms}}]
services:
  web: {instances: {a: 1, b: 1}, endpoints: {GET /: {steps: [{work: 1ms}, {call: stock GET /}, {call: db SELECT things}]}}}
  stock: {instances: {a: 1, b: 1}, endpoints: {GET /: {steps: [{work: {mean: 3ms}}]}}}
  db: {kind: postgresql, instances: {a: 1}, work: 1ms}
workload:
  users: {rate: 20/s, journeys: {look: [GET web/]}, timeout: 1s}
"""
MTLS = """
---
type: MeshIdentity
name: i
spec:
  selector: {dataplane: {matchLabels: {}}}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
---
type: MeshTrafficPermission
name: p
spec:
  targetRef: {kind: Mesh}
  rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://default.}}]}}]
---
type: MeshTimeout
name: t
spec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 100ms}}]}
---
type: MeshRetry
name: r
spec:
  to:
    - targetRef: {kind: Mesh}
      default: {http: {numRetries: 2, perTryTimeout: 300ms, retryOn: [5xx, Reset, ConnectFailure]}}
"""


def run(more="", **how):
    scenario = parse_scenario(HEAD + more, file="small.yaml", folder=Path(how.pop("folder", ".")))
    return run_scenario(scenario, **how)


def verdicts(result):
    return {check.name: (check.ok, check.value, check.detail) for check in result.checks}


def test_healthy_mesh_keeps_its_promises_under_mutual_tls():
    result = run(
        "checks: [{name: all, expect: success(look) == 100%}, {builtin: mtls-everywhere}, {name: once, expect: retries(*) == 0}]"
        + MTLS
    )
    assert result.ok, result.to_text()
    totals = result.totals
    assert totals.journeys == pytest.approx(320, rel=0.2)
    # Users to web, web to stock; the statements go through both sidecars as TCP.
    assert result.hops == totals.requests == totals.tries
    assert result.hops == pytest.approx(2 * totals.database_statements, abs=4)
    assert not result.notes


def test_mesh_that_names_no_identity_has_one():
    result = run("checks: [{builtin: mtls-everywhere}]", until_s=6.0)
    assert verdicts(result)["mtls-everywhere"][0]


def test_mesh_without_identity_is_seen_to_be_plaintext():
    result = run("tls: none\nchecks: [{builtin: mtls-everywhere}]", until_s=6.0)
    ok, value, _ = verdicts(result)["mtls-everywhere"]
    assert not ok
    assert not value.startswith("0 of")


def test_real_tls_gives_the_same_answers():
    result = run(
        "tls: real\nchecks: [{builtin: mtls-everywhere}, {name: all, expect: success(look) == 100%}]" + MTLS,
        until_s=6.0,
    )
    assert result.ok, result.to_text()


def test_killed_instance_is_survived_by_retries_and_seen_without():
    timeline = (
        "timeline: [{at: 8s, kill: stock-2, restart_after: 5s}]\nchecks: [{name: c, expect: success(look) >= 99%}]"
    )
    assert run(timeline + MTLS).ok
    result = run(timeline)
    ok, _, detail = verdicts(result)["c"]
    assert not ok
    assert "kill stock-2" in detail


def test_partition_cuts_what_crosses_it():
    result = run(
        """
timeline: [{at: 8s, for: 4s, partition: [a, b]}]
checks:
  - {name: hurts, expect: success(look) < 80%, when: during partition}
  - {name: before, expect: success(look) == 100%, when: outside faults, grace: 5s}
"""
        + MTLS
    )
    assert result.ok, result.to_text()


def test_slow_service_shows_in_latency_while_it_lasts():
    result = run("""
timeline: [{at: 8s, for: 4s, slow: db, factor: 100}]
checks:
  - {name: slow, expect: p50(look) > 100ms, when: during slow}
  - {name: fast, expect: p99(look) < 80ms, when: outside faults, grace: 1s}
""")
    assert result.ok, result.to_text()


def test_latency_and_loss_are_felt_on_their_link_only():
    result = run("""
timeline:
  - {at: 6s, for: 3s, latency: [web, db], add: 50ms, name: far}
  - {at: 11s, for: 3s, latency: [web, db], set: 50ms, name: set}
  - {at: 16s, for: 3s, loss: [web, db], share: 30%}
checks:
  - {name: far, expect: p50(look) > 100ms, when: during far}
  - {name: set, expect: p50(look) > 95ms, when: during set}
  - {name: lossy, expect: p90(look) > 190ms, when: during loss}
  - {name: calm, expect: p90(look) < 60ms, when: outside faults, grace: 2s}
""")
    assert result.ok, result.to_text()
    assert not result.notes


def test_fault_that_touches_nothing_is_reported():
    result = run("timeline: [{at: 8s, for: 1s, partition: [stock-1, db-1]}]")
    assert result.notes == ("partition stock-1|db-1: touched nothing",)


def test_scaled_service_takes_load_and_configuration_converges(tmp_path):
    (tmp_path / "p.yaml").write_text(
        "{type: MeshTimeout, name: t, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 9s}}}]}}"
    )
    result = run(
        """
timeline: [{at: 6s, apply: p.yaml}, {at: 8s, scale: stock, to: {a: 3, b: 0}}]
checks: [{builtin: config-converges, within: 4s}, {name: c, expect: success(look) == 100%}]
""",
        folder=tmp_path,
    )
    assert result.ok, result.to_text()


def test_control_plane_may_be_down():
    result = run(
        "timeline: [{at: 6s, for: 8s, control-plane: down}]\nchecks: [{name: c, expect: success(look) == 100%}]"
    )
    assert result.ok, result.to_text()


def test_busy_service_is_scaled_up(tmp_path):
    busy = HEAD.replace(
        "stock: {instances: {a: 1, b: 1}, endpoints: {GET /: {steps: [{work: {mean: 3ms}}]}}}",
        "stock: {instances: {a: 1}, concurrency: 2, autoscale: {target: 50%, max: 4, delay: 1s},"
        " endpoints: {GET /: {steps: [{work: 90ms}]}}}",
    )
    # With seeds 3, 6 and 7 chance makes it busy enough for a third for a moment, while the second has yet to get its share.
    scenario = parse_scenario(busy.replace("seed: 3", "seed: 4"), file="busy.yaml", folder=Path())
    run_scenario(scenario, out_dir=tmp_path)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    scaled = [event["instances"] for event in events if event["kind"] == "service.scaling"]
    # 20 a second of 90 ms are 1.8 busy places; at a target of one in two that takes two instances, and no third.
    assert scaled == [2]
    assert "stock-2" in {event["host"] for event in events if event["kind"] == "host.started"}


def test_until_ends_the_run_early_and_must_leave_something():
    assert run(until_s=5.0).totals.journeys < 60
    with pytest.raises(ConfigError, match="ends within the warm-up"):
        run(until_s=4.0)


def test_files_are_written(tmp_path):
    result = run("checks: [{name: never, expect: success(look) < 1%}]", until_s=6.0, out_dir=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written == json.loads(json.dumps(result.to_json()))
    assert set(written) == {
        "scenario",
        "variant",
        "seed",
        "event_hash",
        "virtual_s",
        "wall_s",
        "hops",
        "checks",
        "totals",
    }
    assert {"name", "ok", "value", "detail", "first_s", "near", "requests", "trace", "always"} == set(
        written["checks"][0]
    )
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert "configuration.applied" in kinds
    assert 'failures="1"' in (tmp_path / "out" / "junit.xml").read_text()


def test_text_shows_checks_totals_and_exit_code():
    result = run("checks: [{name: never, expect: success(look) < 1%}]", until_s=6.0)
    text = result.to_text()
    assert "FAIL  never  100.00%  success(look) < 1%; first broken at 4s" in text
    assert "TOTALS  journeys" in text
    assert result.exit_code == 1
    assert text.rstrip().endswith("exit 1")


def test_progress_tells_where_the_run_is(monkeypatch):
    monkeypatch.setattr("sim.clock.EVENTS_PER_HOUSEKEEPING", 500)
    seen = []
    run("timeline: [{at: 4s, for: 8s, slow: db, factor: 2}]", progress=seen.append)
    moments = [progress.now_s for progress in seen]
    assert moments == sorted(moments)
    assert seen[-1].duration_s == 20.0
    assert seen[-1].journeys > 0
    assert {progress.active for progress in seen if 5 < progress.now_s < 11} == {("slow db",)}


def test_same_seed_gives_the_same_events_in_another_process_and_hash_seed(tmp_path):
    file = tmp_path / "small.yaml"
    # The control plane loses what its disk had not synced, in mid-run, and goes on from the rest.
    down = "{at: 5500ms, for: 1s, control-plane: down}"
    file.write_text(HEAD + f"timeline: [{{at: 5s, for: 2s, loss: [a, b], share: 5%}}, {down}]" + MTLS)
    program = (
        "import sys; from sim.scenario.loader import load_scenario; from sim.runner import run_scenario;"
        "print(run_scenario(load_scenario(sys.argv[1], seed=int(sys.argv[2])), until_s=9.0).event_hash)"
    )

    def event_hash(seed, hash_seed):
        root = Path(__file__).parents[2]
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root), "PATH": "/usr/bin"}
        command = [sys.executable, "-c", program, str(file), str(seed)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    first = event_hash(3, "1")
    assert event_hash(3, "2") == first
    assert event_hash(4, "1") != first
