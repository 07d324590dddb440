"""While what the control plane sends takes long to arrive, nobody is called in a way that it is not ready for yet."""

from pathlib import Path
from textwrap import dedent

import pytest

from sim.report.result import RunResult
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

SYSTEM = """
type: Scenario
format: 1
name: slow
seed: SEED
duration: 40s
warmup: 5s
zones: [here]
tls: none # to begin with
services:
  shop: {instances: {here: 2}, endpoints: {GET /: {steps: [{call: stock GET /}]}}}
  stock: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: 1ms}]}}}
workload: {visitors: {rate: 30/s, journeys: {look: [GET shop/]}, timeout: 2s}}
timeline: TIMELINE
checks: [{name: looking-works, expect: success(look) == 100%}]
---
{type: MeshRetry, name: none, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 0}}}]}}
"""
PERMISSIVE = """
{type: MeshTLS, name: both, spec: {rules: [{default: {mode: Permissive}}]}}
---
{type: MeshTrafficPermission, name: all, spec: {rules: [{default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://default."}}]}}]}}
---
type: MeshIdentity
name: all
spec:
  selector: {dataplane: {matchLabels: {}}}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
"""


def run(timeline: str, *, seed: int, folder: Path) -> RunResult:
    text = SYSTEM.replace("TIMELINE", timeline).replace("SEED", str(seed))
    return run_scenario(parse_scenario(dedent(text), file="slow.yaml", folder=folder))


@pytest.mark.parametrize("seed", range(3))
def test_newcomer_is_called_only_once_it_listens(seed: int, tmp_path: Path) -> None:
    # As it was: callers heard of it before its own first configuration came, and connected to closed ports.
    slow = "{at: 8s, for: 25s, push-delay: {p50: 2s, p99: 8s}}"
    result = run(f"[{slow}, {{at: 10s, scale: stock, to: {{here: 6}}}}]", seed=seed, folder=tmp_path)
    assert result.ok, result.to_text()


@pytest.mark.parametrize("seed", range(3))
def test_identities_for_all_at_once_interrupt_nobody_while_plaintext_is_permitted(seed: int, tmp_path: Path) -> None:
    # As it was: callers began with TLS as soon as ports were to have it, not when they had it.
    (tmp_path / "identities.yaml").write_text(PERMISSIVE)
    slow = "{at: 8s, for: 25s, push-delay: {p50: 2s, p99: 5s}}"
    timeline = f"[{slow}, {{at: 10s, apply: identities.yaml}}]"
    result = run(timeline, seed=seed, folder=tmp_path)
    assert result.ok, result.to_text()
