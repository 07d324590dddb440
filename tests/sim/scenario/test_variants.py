"""`variants` of a scenario file: what one changes, and what is refused, with its line."""

import pytest

from mesh.model.errors import ConfigError
from sim.scenario.loader import parse_scenario

FILE = """\
type: Scenario
format: 1
name: small
duration: 60s
zones: [a]
services:
  web: {instances: {a: 1}, endpoints: {GET /: {steps: [{work: 1ms}]}}}
workload: {users: {rate: 10/s, journeys: {look: [GET web/]}}}
timeline: [{at: 10s, kill: web}]
checks:
  - {name: fast, expect: p99(look) < 1s}
variants:
  as-it-happened: {about: what we had, breaks: [fast]}
  fixed:
    set: {services.web.concurrency: 50, services.web.queue: 7, "checks.fast.expect": p99(look) < 2s}
    without: [MeshRetry/all]
    policies: [budget.yaml, {type: MeshTimeout, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 9s}}]}}]
    timeline: [{at: 20s, slow: web, factor: 2}]
---
{type: MeshRetry, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 2}}}]}}
---
{type: MeshTimeout, name: all, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 5s}}]}}
"""
BUDGET = "{type: MeshRetry, name: budget, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 1}}}]}}\n"


@pytest.fixture
def read(tmp_path):
    (tmp_path / "budget.yaml").write_text(BUDGET)

    def read(variant=None, *, settings=(), replace=()):
        text = FILE
        for old, new in replace:
            assert old in text, old
            text = text.replace(old, new)
        return parse_scenario(text, file="small.yaml", folder=tmp_path, variant=variant, settings=settings)

    return read


def names_of(scenario):
    return [f"{r.kind}/{r.name}" for r in scenario.resources if r.kind in ("MeshRetry", "MeshTimeout")]


def complaints(read, *arguments, **how):
    with pytest.raises(ConfigError) as refused:
        read(*arguments, **how)
    return [str(violation) for violation in refused.value.violations]


def test_first_variant_is_the_default(read):
    scenario = read()
    assert (scenario.variant, scenario.breaks) == ("as-it-happened", ("fast",))
    assert scenario.variants == ("as-it-happened", "fixed")
    assert names_of(scenario) == ["MeshRetry/all", "MeshTimeout/all"]


def test_variant_sets_leaves_out_brings_and_replaces(read):
    scenario = read("fixed")
    assert scenario.breaks == ()
    assert (scenario.service("web").concurrency, scenario.service("web").queue) == (50, 7)
    assert str(scenario.checks[0].promise.comparison) == "p99(look) < 2s"
    assert [entry.word for entry in scenario.timeline] == ["slow"]
    assert names_of(scenario) == ["MeshTimeout/all", "MeshRetry/budget"]
    timeout = next(resource for resource in scenario.resources if resource.kind == "MeshTimeout")
    assert "9s" in str(timeout.written)


def test_setting_of_the_command_line_comes_after_the_variant(read):
    assert read("fixed", settings=["services.web.queue=9"]).service("web").queue == 9


@pytest.mark.parametrize(
    ("variant", "old", "new", "complaint"),
    [
        ("fixd", "", "", "there is no variant 'fixd' (did you mean 'fixed'?)"),
        (None, "breaks: [fast]", "breaks: [fest]", "no check is called 'fest' (did you mean 'fast'?)"),
        ("fixed", "[MeshRetry/all]", "[MeshRetry/al]", "there is no resource 'MeshRetry/al'"),
        ("fixed", "web.queue: 7", "webb.queue: 7", "there is no 'webb' (did you mean 'web'?)"),
        (
            "fixed",
            "web.queue: 7",
            "web.queu: 7",
            "small.yaml:15:41: variants.fixed.set[services.web.queu]: unknown key",
        ),
        ("fixed", "slow: web", "slow: wep", "small.yaml:18:26: variants.fixed.timeline[0].slow: unknown service"),
        ("fixed", "concurrency: 50", "concurrency: x", "variants.fixed.set[services.web.concurrency]: must be a whole"),
        ("fixed", "budget.yaml", "budge.yaml", "no file matches 'budge.yaml'"),
        ("fixed", "idleTimeout: 9s", "idleTimeot: 9s", "idleTimeot"),
        (None, "without:", "witout:", "unknown key 'witout' (did you mean 'without'?)"),
    ],
)
def test_wrong_variant_is_refused(read, variant, old, new, complaint):
    replace = [(old, new)] if old else []
    found = complaints(read, variant, replace=replace)
    assert any(complaint in text for text in found), found


def test_file_without_variants_has_none_to_choose(read):
    text, _, rest = FILE.partition("variants:")
    with pytest.raises(ConfigError, match="there is no variant 'fixed'"):
        parse_scenario(text + "---" + rest.partition("---")[2], file="small.yaml", folder=None, variant="fixed")
