"""`mesh run --on local`: a scenario with a kill and a partition on real processes, beside the same one in simulation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim.local.reach import DONE_ON_PROCESSES

ROOT = Path(__file__).parents[2]
SCENARIO = """
type: Scenario
format: 1
name: short
duration: 16s
warmup: 3s
zones: [here]
network: {default: {latency: 2ms}}
services:
  shop: {instances: {here: 1}, endpoints: {GET /: {steps: [{work: {mean: 10ms}}, {call: stock GET /}]}}}
  stock: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: {p50: 20ms, p99: 50ms}}]}}}
workload:
  visitors: {rate: 20/s, journeys: {look: [GET shop/]}, timeout: 4s}
timeline:
  - {at: 5s, kill: stock-1, restart_after: 4s}
  - {at: 12s, for: 2s, latency: [shop, stock], add: 50ms}
checks:
  - {name: looking-works, expect: success(look) >= 95%}
---
{type: MeshRetry, name: all, spec: {to: [{targetRef: {kind: MeshService, labels: {kuma.io/display-name: stock}}, default: {http: {numRetries: 2, perTryTimeout: 600ms, retryOn: [5xx, Reset, HttpMethodGet]}}}]}}
---
{type: MeshTimeout, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 500ms}}]}}
---
{type: MeshCircuitBreaker, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {outlierDetection: {maxEjectionPercent: 50, detectors: {totalFailures: {consecutive: 3}}}}}]}}
"""  # noqa: E501


EVERY_VERB = """
timeline:
  - {at: 4s, for: 2s, slow: stock, factor: 3}
  - {at: 6s, for: 2s, fail: stock-1, errors: {503: 50%}}
  - {at: 8s, for: 2s, grey: stock-1, factor: 3, share: 50%}
  - {at: 10s, for: 2s, fail-fast: stock-1, errors: {503: 100%}}
  - {at: 12s, for: 1s, stuck: stock-1}
  - {at: 14s, for: 2s, pause: stock-2}
  - {at: 16s, apply: timeout.yaml}
  - {at: 17s, scale: stock, to: {here: 3}}
  - {at: 18s, for: 2s, control-plane: down}
  - {at: 23s, cp-restart: graceful, restart_after: 1s}
  - {at: 26s, scale: stock, to: {here: 2}}
  - {at: 27s, kill: stock-1, restart_after: 2s}
checks:
  - {name: looking-works, expect: success(look) >= 70%}
"""
# What an operator does, through the API; and what hosts go through besides.
EVERY_OTHER_VERB = """
timeline:
  - {at: 4s, for: 3s, bad-config: unreadable-trust}
  - {at: 8s, for: 3s, oversized-config: 64KiB, about: stock}
  - {at: 12s, for: 3s, flapping-config: deny-all, every: 1s}
  - {at: 16s, for: 3s, token-revoked: shop-1}
  - {at: 20s, for: 3s, wrong-trust: stock}
  - {at: 24s, deploy: stock}
  - {at: 35s, for: 2s, restart: stock-1, how: crash, disk: wiped}
checks:
  - {name: looking-works, expect: success(look) >= 40%}
"""
TIMEOUT = """
type: MeshTimeout
name: all
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 3s}}}]}
"""


def mesh(*arguments: str, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mesh", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s)


def processes_of_runs() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "sim.local.forker" in command and "/mesh-run-" in command:
                found.append(command)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    file = folder / "short.yaml"
    file.write_text(SCENARIO)
    before = processes_of_runs()
    for on in ("sim", "local"):
        ended = mesh("run", str(file), "--on", on, "--out", str(folder / on), "-o", "json")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (folder / f"{on}.json").write_text(ended.stdout)
    assert processes_of_runs() == before
    return folder


@pytest.mark.slow
def test_real_processes_come_to_the_same_verdicts(runs: Path) -> None:
    simulated, real = (json.loads((runs / f"{on}.json").read_text()) for on in ("sim", "local"))
    verdicts = {check["name"]: check["ok"] for check in simulated["checks"] if not check["always"]}
    assert verdicts == {check["name"]: check["ok"] for check in real["checks"] if not check["always"]}
    # Users come at the same moments: their chance is the scenario's, not the machine's.
    assert real["totals"]["journeys"] == simulated["totals"]["journeys"]
    assert real["hops"] > 500
    always = {check["name"]: check for check in real["checks"] if check["always"]}
    assert always["no-plaintext"]["ok"]
    assert all(check["ok"] for check in always.values()), always
    # They had something to look at.
    for name in ("no-plaintext", "whole-versions", "config-versions", "conservation", "telemetry", "breaker-limits"):
        assert not always[name]["value"].endswith(" of 0"), name
    assert not {"bounded-buffers", "no-livelock", "rate-limits"} & set(always)


@pytest.mark.slow
def test_kill_and_latency_hurt_both_runs_alike(runs: Path) -> None:
    ended = mesh("diff", str(runs / "sim"), str(runs / "local"), "-o", "json")
    assert ended.returncode == 0, ended.stderr
    edges = {(edge["caller"], edge["service"]): edge for edge in json.loads(ended.stdout)["edges"]}
    assert set(edges) == {("visitors", "shop"), ("shop", "stock")}
    first, second = edges["shop", "stock"]["first"], edges["shop", "stock"]["second"]
    # The instance that lost its power was silent until it was ejected: tries were repeated, about as often.
    assert first["tries"] > first["requests"]
    assert second["tries"] > second["requests"]
    assert abs(second["tries"] / second["requests"] - first["tries"] / first["requests"]) < 0.05
    # A detour of 50 ms for two of the 13 seconds shows in the tail of both.
    assert first["p99_s"] > 0.1
    assert second["p99_s"] > 0.1


@pytest.mark.slow
def test_the_run_leaves_its_files_and_the_logs_of_its_processes(runs: Path) -> None:
    files = {path.name for path in (runs / "local").iterdir()}
    assert {"result.json", "edges.json", "events.jsonl", "junit.xml", "logs"} <= files
    logs = {path.name for path in (runs / "local" / "logs").iterdir()}
    assert {"control-plane.log", "shop-1-sidecar.log", "stock-2-service.log", "visitors-here-users.log"} <= logs
    events = [json.loads(line) for line in (runs / "local" / "events.jsonl").read_text().splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds.index("host.killed") < len(kinds) - 1 - kinds[::-1].index("host.started")


@pytest.mark.slow
@pytest.mark.parametrize(("verbs", "duration"), [(EVERY_VERB, "31s"), (EVERY_OTHER_VERB, "40s")])
def test_every_verb_that_processes_are_said_to_carry_out_bites(verbs: str, duration: str, tmp_path: Path) -> None:
    head, _, rest = SCENARIO.replace("duration: 16s", f"duration: {duration}").partition("timeline:")
    (tmp_path / "timeout.yaml").write_text(TIMEOUT)
    file = tmp_path / "verbs.yaml"
    # Without its last policy: an instance that was ejected for one fault would not be touched by the next.
    file.write_text(head + verbs.lstrip() + rest[rest.index("---") : rest.rindex("---")])
    assert all(f" {word}: " in EVERY_VERB + EVERY_OTHER_VERB for word in DONE_ON_PROCESSES)
    ended = mesh("run", str(file), "--on", "local")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "touched nothing" not in ended.stdout


def test_what_cannot_be_done_is_told_before_the_start(tmp_path: Path) -> None:
    file = tmp_path / "skew.yaml"
    file.write_text(SCENARIO.replace("kill: stock-1, restart_after: 4s", "for: 4s, clock-skew: stock-1, by: 9s"))
    ended = mesh("run", str(file), "--on", "local")
    assert ended.returncode == 2
    assert "clock-skew stock-1 at 5s: `clock-skew` can be done in simulation only" in ended.stderr
    assert "--allow-missing" in ended.stderr
