"""Reading scenario files: what is understood, and how wrong files are refused."""

from pathlib import Path

import pytest

from mesh.model.errors import ConfigError
from sim.faults.changes.apply import Apply
from sim.faults.changes.scale import Scale
from sim.faults.control_plane.down import ControlPlaneDown
from sim.faults.hosts.kill import Kill
from sim.faults.network.latency import Latency
from sim.faults.network.loss import Loss
from sim.faults.network.partition import Partition
from sim.faults.services.fail import Fail
from sim.faults.services.slow import Slow
from sim.scenario.distributions import Constant, Exponential, Histogram, LogNormal
from sim.scenario.expression import Metric
from sim.scenario.headers import Header
from sim.scenario.loader import load_scenario
from sim.scenario.promises import NoDoubleDelivery, Span
from sim.scenario.topology import Call, Failure, Operation, Parallel, Work
from sim.scenario.users import ClosedModel, OpenModel, RateStage, Think, Visit

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples"


def test_retailer_is_read_whole():
    scenario = load_scenario(EXAMPLES / "retailer.yaml")
    assert (scenario.name, scenario.seed, scenario.duration_s, scenario.warmup_s) == (
        "retailer-zone-split",
        42,
        600,
        30,
    )
    assert scenario.network.default.latency == LogNormal(0.00025, 0.001)
    (link,) = scenario.network.links
    assert (link.between, link.model.bandwidth, link.model.loss) == (("eu-1", "eu-2"), 125e6, pytest.approx(0.0001))
    assert scenario.control_plane.push_delay == LogNormal(0.2, 2.0)
    checkout = scenario.service("web").endpoint("POST", "/checkout")
    accounts, cart = (
        Call(operation=Operation(service=s, verb="GET", target=t)) for s, t in (("accounts", "/me"), ("cart", "/items"))
    )
    assert checkout.steps[0] == Parallel(steps=(accounts, cart))
    assert checkout.steps[3].optional
    assert checkout.counts == "ordered"
    charge = scenario.service("payment").endpoint("POST", "/charge")
    assert charge.failures == (Failure(status=503, share=0.002), Failure(status=0, share=0.0005))
    assert scenario.service("cart-cache").work == Exponential(0.00015)
    (shoppers,) = scenario.workloads
    assert isinstance(shoppers.model, OpenModel)
    assert shoppers.model.stages[2] == RateStage(to=25.0, span_s=60.0, name="peak")
    assert shoppers.mix == (("browse", 80.0), ("add", 15.0), ("buy", 5.0))
    assert shoppers.journeys[1].steps[1] == Think(time=Exponential(2.0))
    assert isinstance(shoppers.journeys[0].steps[0], Visit)
    kinds = [type(entry.verb) for entry in scenario.timeline]
    assert kinds == [Apply, Partition, Slow, Kill, Scale]
    assert [resource.kind for resource in scenario.timeline[0].verb.resources] == ["MeshRetry"]
    assert len(scenario.resources) == 6
    assert scenario.fuzz["faults"]["max"] == 3
    assert any("fuzz" in note for note in scenario.notes)
    when = {check.name: getattr(check.promise, "when", None) for check in scenario.checks}
    assert (when["buy-ok"].span, when["browse-survives"].during) == (Span.OUTSIDE_FAULTS, "partition")


def test_first_example_is_read():
    assert load_scenario(EXAMPLES / "first.yaml", seed=9).seed == 9


def test_every_verb_is_read_in_order_of_time(loader):
    scenario = loader.read("""
timeline:
  - {at: 50s, control-plane: down, for: 5s}
  - {at: 10s, for: 5s, partition: [a, [b, stock]], oneway: true, name: split}
  - {at: 20s, kill: web-2}
  - {at: 30s, for: 1s, slow: db, zone: a, factor: 4}
  - {at: 35s, scale: web, to: {a: 3, b: 0}}
  - {at: 36s, for: 1s, latency: [a, b], add: {mean: 50ms}}
  - {at: 38s, for: 1s, latency: [a, b], set: 50ms}
  - {at: 40s, for: 1s, loss: [web, db], share: 5%}
checks:
  - {name: c, expect: success(look) > 1%, when: during split}
""")
    verbs = [entry.verb for entry in scenario.timeline]
    assert verbs == [
        Partition(sides=(("a",), ("b", "stock")), oneway=True),
        Kill(target="web-2"),
        Slow(target="db", zone="a", factor=4.0),
        Scale(service="web", to=(("a", 3), ("b", 0))),
        Latency(sides=(("a",), ("b",)), add=Exponential(0.05)),
        Latency(sides=(("a",), ("b",)), replace=Constant(0.05)),
        Loss(sides=(("web",), ("db",)), share=0.05),
        ControlPlaneDown(),
    ]
    assert scenario.timeline[0].title() == "partition a|b+stock"


def test_closed_model_and_traces_are_read(loader, tmp_path):
    (tmp_path / "starts.txt").write_text("# arrivals\n2s\n500ms\n")
    (tmp_path / "work.csv").write_text("1ms,3\n10ms,1\n")
    scenario = loader.read(
        """\
  clerks: {model: closed, users: 5, think: {mean: 2s}, journeys: {look: [GET web/, {think: 1s}]}, zones: {a: 1}}
  crowd: {arrivals: {trace: starts.txt}, journeys: {look: [GET web/]}}
""",
        replace=[("{work: 1ms}, {call: stock", "{work: {histogram: work.csv}}, {call: stock")],
    )
    clerks, crowd = scenario.workloads[1:]
    assert clerks.model == ClosedModel(users=5, think=Exponential(2.0))
    assert crowd.model.trace_s == (0.5, 2.0)
    work = scenario.service("web").endpoints[0].steps[0]
    assert work == Work(time=Histogram(((0.001, 3.0), (0.01, 1.0))))


def test_requests_have_headers_and_queries_and_expect_some_back(loader):
    scenario = loader.read(
        """\
  crowd:
    rate: 1/s
    headers: {X-User: {prefix: u, count: 3}}
    labels: {example/node: n1}
    journeys: {look: [{request: GET web/?colour=red, headers: {x-a: [b, c]}, expects: {x-d: e}}, GET web/]}
""",
        replace=[("{call: stock POST /take}", "{call: stock POST /take?n=1, headers: {x-from: web}}")],
    )
    crowd = scenario.workloads[1]
    assert crowd.headers == (Header(name="x-user", values=("u1", "u2", "u3")),)
    assert crowd.labels == (("example/node", ("n1",)),)
    visit = crowd.journeys[0].steps[0]
    assert (visit.operation.target, visit.operation.path) == ("/?colour=red", "/")
    assert visit.headers == (Header(name="x-a", values=("b", "c")),)
    assert visit.expected == (Header(name="x-d", values=("e",)),)
    call = scenario.service("web").endpoints[0].steps[1]
    assert (call.operation.path, call.headers) == ("/take", (Header(name="x-from", values=("web",)),))


def test_endpoints_require_and_send_headers_and_instances_have_labels(loader):
    scenario = loader.read(
        replace=[
            ("POST /take: {counts: taken}", 'POST /take: {headers: {retry-after: "1"}, requires: {x-tenant: gold}}'),
            (
                "    instances: {a: 1}\n    endpoints",
                "    instances: {a: 1}\n    labels: {rack: [r1, r2]}\n    endpoints",
            ),
        ]
    )
    stock = scenario.service("stock")
    assert stock.labels == (("rack", ("r1", "r2")),)
    assert stock.endpoints[0].headers == (Header(name="retry-after", values=("1",)),)
    assert stock.endpoints[0].required == (Header(name="x-tenant", values=("gold",)),)


def test_instances_may_fail_and_checks_name_places_moments_statuses_and_flags(loader):
    scenario = loader.read("""
timeline:
  - {at: 5s, for: 1s, fail: stock, zone: a, errors: {503: 50%, reset: 10%}}
  - {at: 6s, scale: stock, to: {a: 2, b: 1}}
checks:
  - {name: a, expect: served(stock POST /take in a) > 1, when: between 5s and 1m}
  - {name: b, expect: opened(db) + served(stock-3) == 0}
  - {name: c, expect: answers(5xx) + answers(404) + flagged(UO) + shadow-denied(web) == 0}
""")
    failures = (Failure(status=503, share=0.5), Failure(status=0, share=0.1))
    assert scenario.timeline[0].verb == Fail(target="stock", zone="a", failures=failures)
    assert scenario.timeline[0].title() == "fail stock"
    when = scenario.checks[0].promise.when
    assert (when.span, when.between_s) == (Span.BETWEEN, (5.0, 60.0))


def test_idempotency_follows_the_method_unless_it_is_said(loader):
    scenario = loader.read()
    assert scenario.service("web").endpoints[0].idempotent
    assert not scenario.service("stock").endpoints[0].idempotent
    scenario = loader.read("checks: [{builtin: no-double-delivery}]")
    assert scenario.checks[0].promise == NoDoubleDelivery(to=(("stock", "POST /take"),))


def test_expression_is_kept_with_its_subject(loader):
    scenario = loader.read("checks: [{name: c, expect: p99(users.look) < 1s}]")
    assert scenario.checks[0].promise.comparison.metrics() == (Metric("p99", "users.look"),)


@pytest.mark.parametrize(
    ("more", "replace", "complaint"),
    [
        ("sevices: {}", [], "small.yaml:20:1: sevices: unknown key 'sevices' (did you mean 'services'?)"),
        ("", [("work: 1ms}\nworkload", "work: 1\nworkload")], "yaml"),
        ("", [("duration: 60s", "duration: 60")], "small.yaml:4:1: duration: must be a span with a unit"),
        ("", [("duration: 60s", "duration: 1:30")], "base 60 number"),
        ("", [("zones: [a, b]", "zones: [a, no]")], "no"),
        ("", [("to: 10/s", "to: 10/d")], "'10/d' is not a rate"),
        ("", [("call: stock POST /take", "call: stok POST /take")], "unknown service 'stok' (did you mean 'stock'?)"),
        (
            "",
            [("call: stock POST /take", "call: stock POST /tak")],
            "service 'stock' has no endpoint 'POST /tak' (did you mean",
        ),
        ("", [("SELECT things", "SELEKT things")], "'SELEKT things' is no statement"),
        ("", [("[GET web/]", "[GET web/x]")], "service 'web' has no endpoint 'GET /x'"),
        ("", [("[GET web/]", "[GET web]")], "is not a request"),
        ("", [("[GET web/]", "[GET db/x]")], "users speak HTTP; 'db' is a postgresql service"),
        ("", [("instances: {a: 1, b: 1}", "instances: {a: 1, c: 1}")], "unknown zone 'c'"),
        ("", [("instances: {a: 1, b: 1}", "instances: {a: 0}")], "must name at least one instance"),
        ("", [("kind: postgresql", "kind: oracle")], "unknown value 'oracle' (allowed: http, postgresql, redis, tcp)"),
        ("    mix: {lok: 1}", [], "unknown journey 'lok' (did you mean 'look'?)"),
        ("timeline: [{at: 1s, partion: [a, b]}]", [], "unknown verb 'partion' (did you mean 'partition'?)"),
        ("timeline: [{at: 1s, partition: [a, x]}]", [], "unknown zone, service or instance 'x'"),
        ("timeline: [{at: 1s, partition: [a, a]}]", [], "must be two different sides"),
        ("timeline: [{at: 1s, kill: web, slow: web, factor: 2}]", [], "one entry does one thing, not kill and slow"),
        ("timeline: [{at: 1s, kill: web-9}]", [], "service or instance 'web-9' (did you mean"),
        ("timeline: [{at: 1s, kill: stock, zone: b}]", [], "'stock' has no instances in 'b'"),
        ("timeline: [{at: 2m, kill: web}]", [], "is past the end of the run (60s)"),
        ("timeline: [{at: 1s, apply: nowhere.yaml}]", [], "cannot read 'nowhere.yaml': No such file or directory"),
        ("timeline: [{at: 1s, latency: [a, b]}]", [], "needs either add or set"),
        (
            "checks: [{name: c, expect: p99(loo) < 1s}]",
            [],
            "p99() does not know the journey 'loo' (did you mean 'look'?)",
        ),
        ("checks: [{name: c, expect: p99(look) < 1}]", [], "cannot compare p99(look) with 1"),
        ("checks: [{name: c, expect: count(stock.took) > 1}]", [], "did you mean 'stock.taken'?"),
        ("checks: [{name: c, expect: count(stock.taken) > 1}]", [], "count() is known at the end of a run"),
        (
            "checks: [{name: c, expect: p99(look) < 1s, when: during fire}]",
            [],
            "nothing in the timeline is called 'fire'",
        ),
        ("checks: [{name: c, expect: p99(look) < 1s, when: outside fault}]", [], "did you mean 'outside faults'?"),
        ("checks: [{builtin: recover, within: 3s}]", [], "unknown builtin 'recover' (did you mean 'recovers'?)"),
        ("checks: [{builtin: recovers}]", [], "'within' is missing"),
        ("checks: [{builtin: no-double-delivery, to: web GET /}]", [], "is no endpoint with idempotent: false"),
        ("timeline: [{at: 1s, fail: db, errors: {503: 1%}}]", [], "fail is for http services; 'db' is a"),
        ("timeline: [{at: 1s, fail: web-1, errors: {200: 1%}}]", [], "unknown error '200'"),
        ("timeline: [{at: 1s, fail: web}]", [], "'errors' is missing"),
        ("", [("[GET web/]", "[{request: GET wep/}]")], "unknown service 'wep' (did you mean 'web'?)"),
        ("", [("[GET web/]", "[{request: GET web/, header: {}}]")], "did you mean 'headers'?"),
        ("", [("[GET web/]", "[{request: GET web/, headers: {a b: c}}]")], "'a b' is not the name of a header"),
        ("", [("[GET web/]", '[{request: GET web/, headers: {a: "b\\n"}}]')], "is not the value of a header"),
        ("", [("[GET web/]", "[{request: GET web/, headers: {a: []}}]")], "must have at least one value"),
        ("", [("[GET web/]", "[{request: GET web/, headers: {a: {prefix: u}}}]")], "'count' is missing"),
        ("", [("[GET web/]", '[{request: GET web/, headers: {content-length: "1"}}]')], "written by the sender itself"),
        (
            "",
            [("SELECT things}", "SELECT things, headers: {a: b}}")],
            "headers are for HTTP; 'db' is a postgresql service",
        ),
        ("    labels: {kuma.io/zone: a}", [], "'kuma.io/zone' follows from where the instance stands"),
        ("checks: [{name: c, expect: served(stok) > 1}]", [], "instance 'stok' (did you mean 'stock'?)"),
        ("checks: [{name: c, expect: served(stock in c) > 1}]", [], "served() does not know the zone 'c'"),
        ("checks: [{name: c, expect: served(web GET /x) > 1}]", [], "served() does not know the endpoint 'GET /x'"),
        ("checks: [{name: c, expect: answers(999) > 1}]", [], "answers() does not know the status '999'"),
        ("checks: [{name: c, expect: flagged(UX) > 1}]", [], "flagged() does not know the flag 'UX'"),
        ("checks: [{name: c, expect: failures(*) > 1, when: between 5s}]", [], "is not a"),
        ("checks: [{name: c, expect: failures(*) > 1, when: between 5s and 5s}]", [], "must be after the first"),
        ("checks: [{name: c, expect: failures(*) > 1, when: between 5h and 6h}]", [], "begins when the run is over"),
        ("checks: [{name: c, expect: failures(look) < 5%}]", [], "failures(look) counts, and 5% is a share"),
        ("checks: [{name: c, expect: 10% >= served(stock)}]", [], "served(stock) counts, and 10% is a share"),
        ("timeline: [{at: 1s, kill: db, for: 2s}]", [], "unknown key 'for' (kill is over after `restart_after`)"),
        ("timeline: [{at: 1s, scale: web, to: {a: 2}, for: 2s}]", [], "unknown key 'for' (scale is done at once)"),
        ("output: {save: [result.jsn]}", [], "unknown value 'result.jsn' (did you mean 'result.json'?)"),
        ("fuzz: {faults: {kinds: [fire]}}", [], "unknown value 'fire'"),
        ("policies: [none/*.yaml]", [], "no file matches 'none/*.yaml'"),
        (
            "---\n{type: MeshTLS, name: x, mesh: other, spec: {rules: [{default: {mode: Strict}}]}}",
            [],
            "belongs to mesh 'other', the scenario to 'default'",
        ),
        ("---\n{type: MeshTLS, name: x, spek: 1}", [], "spek"),
        ("", [("{call: stock POST /take}", "{call: stock POST /take, retries: 0}")], "must be at least 1, not 0"),
        (
            "",
            [("{call: stock POST /take}", "{call: stock POST /take, retries: {count: 2, when: [5x]}}")],
            "'5x' is nothing to retry on (write 5xx, reset, timeout or a status from 400 to 599)",
        ),
        (
            "",
            [
                (
                    "{call: stock POST /take}",
                    "{call: stock POST /take, retries: {count: 2, backoff: {base: 2s, max: 1s}}}",
                )
            ],
            "must not be below base",
        ),
        ("", [("{call: db SELECT things}", "{call: db SELECT things, cached: {hit: 5%}}")], "'keys' is missing"),
        (
            "",
            [("{call: db SELECT things}", "{call: db SELECT things, cached: {keys: 9, in: stock}}")],
            "a cache is a redis service; 'stock' is a http service",
        ),
        ("", [("{work: 1ms},", "{work: 1ms, shared: true},")], "says how a lock is held; there is no lock"),
        ("", [("{call: db SELECT things}", "{call: db SELECT things, body: x}")], "bodies are for HTTP"),
        (
            "",
            [("stock:\n    instances: {a: 1}", "stock:\n    instances: {a: 1}\n    pools: {web: 3}")],
            "pools are for databases; 'web' is a http service (databases: db)",
        ),
        (
            "",
            [("stock:\n    instances: {a: 1}", "stock:\n    instances: {a: 1}\n    locks: true")],
            "has tables to lock",
        ),
        (
            "",
            [("stock:\n    instances: {a: 1}", "stock:\n    instances: {a: 1}\n    connections: 3")],
            "'connections' is of databases",
        ),
        (
            "",
            [
                (
                    "stock:\n    instances: {a: 1}",
                    "stock:\n    instances: {a: 1}\n    autoscale: {target: 50%, max: 3, metric: gpu}",
                )
            ],
            "unknown value 'gpu' (did you mean 'cpu'?)",
        ),
        ("---\n{type: RateLimit, name: x}", [], "RateLimit is gone since Kuma 3.0"),
    ],
)
def test_wrong_file_is_refused_with_place_and_suggestion(loader, more, replace, complaint):
    complaints = loader.complaints(more, replace=replace)
    assert any(complaint in text for text in complaints), complaints


def test_all_errors_of_a_file_come_at_once(loader):
    complaints = loader.complaints(
        "timeline: [{at: 1s, kill: nobody}]\nchecks: [{name: c, expect: p42(x) < 1s}]",
        replace=[("to: 10/s", "to: 10"), ("call: stock POST", "call: shop POST")],
    )
    assert len(complaints) == 4
    assert [int(text.split(":")[1]) for text in complaints] == sorted(int(text.split(":")[1]) for text in complaints)


def test_file_that_is_not_there_is_named():
    with pytest.raises(Exception, match=r"nowhere.yaml: cannot read the scenario: No such file"):
        load_scenario("nowhere.yaml")


def test_what_sidecars_do_not_act_on_is_noted(loader):
    backends = "default: {backends: [{type: File, file: {path: /tmp/x}}]}"
    scenario = loader.read(f"""---
{{type: MeshAccessLog, name: r, spec: {{targetRef: {{kind: Dataplane}}, rules: [{{{backends}}}]}}}}
""")
    assert any("MeshAccessLog is kept, but" in note for note in scenario.notes)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{type: Scenaro}", "did you mean 'Scenario'?"),
        ("{type: MeshRetry, name: a, spec: {}}", "it holds MeshRetry: `mesh check` looks at resources"),
        ("{}", "add one: type: Scenario, format: 1"),
    ],
)
def test_file_without_scenario_is_refused_with_what_it_is_instead(text, hint, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_scenario(tmp_path / "x.yaml")
    assert hint in str(refused.value)


def test_file_that_is_no_yaml_is_refused_for_that_alone(tmp_path):
    (tmp_path / "x.yaml").write_text("type: Scenario\nzones: [here\nname: x\n")
    with pytest.raises(ConfigError) as refused:
        load_scenario(tmp_path / "x.yaml")
    assert "no `type: Scenario`" not in str(refused.value)
