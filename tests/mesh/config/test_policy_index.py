"""The index of a mesh's policies: it answers as looking through all of them would, keeps what stays, and tells what changed."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config import policies
from mesh.config.changes import touched
from mesh.config.destinations import Candidate
from mesh.config.matching import Destination, in_order, is_about, items_for, items_in_order, selects
from mesh.config.merging import merge
from mesh.config.policies import PolicyIndex, Selected
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.mesh_service import ServicePort
from mesh.resources.resource import Resource

MESH = {"kind": "Mesh"}
PORT = ServicePort(port=80, name="http", target=80)
ROUTE = Candidate(kind="MeshHTTPRoute", name="r", labels={"kuma.io/display-name": "r"})
SERVICES = {
    name: Candidate(name=name, labels={"kuma.io/display-name": name, "app": name}, ports={80: "http"}) for name in "ab"
}


def proxy(name: str = "web", **labels: str) -> Resource:
    inbound = [{"port": 8080, "servicePort": 1, "name": "http"}, {"port": 9090, "servicePort": 2}]
    networking = {"address": "10.0.0.1", "inbound": inbound}
    return load_resource({"type": "Dataplane", "name": name, "labels": labels, "networking": networking}, file="t")


def inbounds(dataplane: Resource) -> Any:
    return dataplane.spec_as(Dataplane).inbounds


def to(kind: str, name: str, section: str = "") -> dict[str, Any]:
    return {"kind": kind, "labels": {"kuma.io/display-name": name}, **({"sectionName": section} if section else {})}


def timeout(
    name: str, idle: str, target: Any = MESH, *, ref: Any = None, rules: bool = False, kind: str = "MeshTimeout"
) -> Resource:
    part = (
        {"rules": [{"default": {"idleTimeout": idle}}]}
        if rules
        else {"to": [{"targetRef": ref or MESH, "default": {"idleTimeout": idle}}]}
    )
    return load_resource({"type": kind, "name": name, "spec": {"targetRef": target, **part}}, file="t")


def index(*resources: Resource, previous: PolicyIndex | None = None) -> PolicyIndex:
    return PolicyIndex.of(resources, mesh="default", previous=previous)


def selected(found: PolicyIndex, dataplane: Resource, kind: str = "MeshTimeout") -> Selected:
    return found.select(kind, dataplane, inbounds(dataplane))


targets = st.sampled_from(
    [
        MESH,
        {"kind": "Dataplane"},
        {"kind": "Dataplane", "labels": {"app": "web"}},
        {"kind": "Dataplane", "labels": {"kuma.io/display-name": "web", "app": "web"}},
    ]
)
sections = st.sampled_from([{"kind": "Dataplane", "sectionName": "http"}, {"kind": "Dataplane", "sectionName": "9090"}])
refs = st.sampled_from(
    [
        MESH,
        to("MeshService", "a"),
        to("MeshService", "a", "http"),
        to("MeshService", "b", "80"),
        to("MeshHTTPRoute", "r"),
    ]
)
idles = st.sampled_from(["1s", "2s", "3s"])
names = st.sampled_from("pqrs")
timeouts = st.one_of(
    st.builds(lambda name, idle, target, ref: timeout(name, idle, target, ref=ref), names, idles, targets, refs),
    st.builds(lambda name, idle, target: timeout(name, idle, target, rules=True), names, idles, targets | sections),
)
meshes = st.lists(timeouts, max_size=4, unique_by=lambda policy: policy.name)
proxies = st.sampled_from([proxy(), proxy(app="web"), proxy("other", app="web"), proxy("other", app="x")])


def settings_of(found: PolicyIndex, dataplane: Resource) -> list[Any]:
    """Return all that the policies come to for a proxy that calls both services and nothing else."""
    chosen = selected(found, dataplane)
    return [
        *(found.towards("MeshTimeout", chosen, service, PORT) for service in SERVICES.values()),
        *(found.towards_route("MeshTimeout", chosen, ROUTE, service, PORT) for service in SERVICES.values()),
        *(found.at("MeshTimeout", chosen, inbound) for inbound in inbounds(dataplane)),
    ]


@given(meshes, proxies)
@settings(max_examples=80, deadline=None)
def test_it_answers_as_looking_through_all_policies_would(resources: Sequence[Resource], dataplane: Resource) -> None:
    found = index(*resources)
    apply = [policy for policy in in_order(resources) if selects(policy, dataplane, inbounds(dataplane))]
    chosen = selected(found, dataplane)
    assert list(found.policies("MeshTimeout", chosen)) == apply
    for service in SERVICES.values():
        items = items_for(items_in_order(apply), service.destination(80))
        assert found.towards("MeshTimeout", chosen, service, PORT) == merge(item.default for item in items)


@given(meshes, st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_resources_does_not_count(resources: list[Resource], data: st.DataObject) -> None:
    dataplane = data.draw(proxies)
    shuffled = data.draw(st.permutations(resources))
    assert settings_of(index(*resources), dataplane) == settings_of(index(*shuffled), dataplane)


@given(meshes, meshes, proxies)
@settings(max_examples=100, deadline=None)
def test_a_change_of_settings_concerns_the_proxy(
    old: Sequence[Resource], new: Sequence[Resource], dataplane: Resource
) -> None:
    before = index(*old)
    after = index(*new, previous=before)
    assert settings_of(after, dataplane) == settings_of(index(*new), dataplane)
    changes = touched(before, after)
    destinations = [service.destination(80) for service in SERVICES.values()]
    if settings_of(before, dataplane) != settings_of(after, dataplane):
        assert changes.concerns(dataplane, inbounds(dataplane), destinations)
    if set(map(repr, old)) == set(map(repr, new)):
        assert not changes


@pytest.mark.parametrize(
    ("changed", "concerned"),
    [
        (timeout("t", "1s"), True),
        (timeout("t", "1s", ref=to("MeshService", "a")), True),
        (timeout("t", "1s", ref=to("MeshService", "b")), False),
        (timeout("t", "1s", ref=to("MeshService", "a", "81")), False),
        (timeout("t", "1s", ref=to("MeshHTTPRoute", "r")), True),
        (timeout("t", "1s", {"kind": "Dataplane", "labels": {"app": "web"}}), True),
        (timeout("t", "1s", {"kind": "Dataplane", "labels": {"app": "x"}}), False),
        (timeout("t", "1s", {"kind": "Dataplane", "sectionName": "http"}, rules=True), True),
        (timeout("t", "1s", {"kind": "Dataplane", "sectionName": "admin"}, rules=True), False),
    ],
)
def test_a_change_concerns_whom_it_can_reach(changed: Resource, concerned: bool) -> None:
    dataplane = proxy(app="web")
    for before, after in [((), (changed,)), ((changed,), ())]:
        changes = touched(index(*before), index(*after))
        assert changes.concerns(dataplane, inbounds(dataplane), [SERVICES["a"].destination(80)]) is concerned


def test_a_policy_that_moves_concerns_whom_it_left_too() -> None:
    before = index(timeout("t", "1s", ref=to("MeshService", "a")))
    changes = touched(before, index(timeout("t", "1s", ref=to("MeshService", "b")), previous=before))
    for service in SERVICES.values():
        assert changes.concerns(proxy(), inbounds(proxy()), [service.destination(80)])


def test_a_kind_that_did_not_change_is_kept_with_what_it_remembers() -> None:
    retry = load_resource(
        {
            "type": "MeshRetry",
            "name": "r",
            "spec": {"to": [{"targetRef": MESH, "default": {"http": {"numRetries": 1}}}]},
        },
        file="t",
    )
    before = index(timeout("t", "1s"), retry)
    same = index(retry, timeout("t", "1s"), previous=before)
    assert same.kinds["MeshTimeout"] is before.kinds["MeshTimeout"]
    assert not touched(before, same)
    other = index(timeout("t", "2s"), retry, previous=before)
    assert other.kinds["MeshRetry"] is before.kinds["MeshRetry"]
    changes = touched(before, other)
    assert list(changes.by_kind) == ["MeshTimeout"]


def test_a_shadow_policy_changes_nothing_unless_it_is_asked_for() -> None:
    active = timeout("z", "2s")
    shadow = attrs.evolve(timeout("a", "1s"), labels={"kuma.io/effect": "shadow"})
    before = index(active)
    assert not touched(before, index(active, shadow, previous=before))
    supposed = PolicyIndex.of([active, shadow], mesh="default", shadow=True)
    assert supposed.towards("MeshTimeout", selected(supposed, proxy()), SERVICES["a"], PORT) == {"idleTimeout": 1.0}
    assert touched(before, supposed)


def test_settings_for_a_route_take_the_place_of_those_for_its_service() -> None:
    mesh, service = timeout("m", "1s"), timeout("s", "2s", ref=to("MeshService", "a"))
    own = load_resource(
        {
            "type": "MeshTimeout",
            "name": "r",
            "spec": {"to": [{"targetRef": to("MeshHTTPRoute", "r"), "default": {"connectionTimeout": "3s"}}]},
        },
        file="t",
    )
    without, having = index(mesh, service), index(mesh, service, own)
    chosen = selected(without, proxy())
    assert without.towards_route("MeshTimeout", chosen, ROUTE, SERVICES["a"], PORT) == {"idleTimeout": 2.0}
    chosen = selected(having, proxy())
    conf = having.towards_route("MeshTimeout", chosen, ROUTE, SERVICES["a"], PORT)
    assert conf == {"idleTimeout": 1.0, "connectionTimeout": 3.0}


def test_destinations_of_other_kinds_have_settings_of_their_own() -> None:
    found = index(timeout("m", "1s"), timeout("e", "2s", ref=to("MeshExternalService", "a")))
    chosen = selected(found, proxy())
    assert found.towards("MeshTimeout", chosen, SERVICES["a"], PORT) == {"idleTimeout": 1.0}
    assert found.towards("MeshTimeout", chosen, SERVICES["a"], PORT, to_kind="MeshExternalService") == {
        "idleTimeout": 2.0
    }


def test_routes_towards_a_service_are_merged() -> None:
    def route(name: str, path: str) -> Resource:
        rules = [{"matches": [{"path": {"type": "Exact", "value": path}}], "default": {}}]
        spec = {"to": [{"targetRef": to("MeshService", "a"), "rules": rules}]}
        return load_resource({"type": "MeshHTTPRoute", "name": name, "spec": spec}, file="t")

    found = index(route("a", "/a"), route("b", "/b"))
    chosen = selected(found, proxy(), "MeshHTTPRoute")
    rules = found.route_rules("MeshHTTPRoute", chosen, SERVICES["a"], PORT)
    assert [rule.matches[0]["path"]["value"] for rule in rules] == ["/a", "/b"]
    assert found.route_rules("MeshHTTPRoute", chosen, SERVICES["b"], PORT) == ()


def test_settings_of_the_whole_proxy_are_merged() -> None:
    def metric(name: str, port: int) -> Resource:
        conf = {"backends": [{"type": "Prometheus", "prometheus": {"port": port}}]}
        return load_resource({"type": "MeshMetric", "name": name, "spec": {"default": conf}}, file="t")

    found = index(metric("a", 1), metric("b", 2))
    conf = found.proxy_wide("MeshMetric", selected(found, proxy(), "MeshMetric"))
    assert conf["backends"][0]["prometheus"]["port"] == 1
    assert found.proxy_wide("MeshTrace", ()) == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "REMEMBERED_MAX", 5)
    found = index(timeout("m", "1s"), timeout("i", "2s", rules=True))
    chosen = selected(found, proxy())
    for number in range(20):
        port = ServicePort(port=number + 1, target=1)
        assert found.towards("MeshTimeout", chosen, SERVICES["a"], port) == {"idleTimeout": 1.0}
        assert found.at("MeshTimeout", chosen, inbounds(proxy())[number % 2]) == {"idleTimeout": 2.0}
    kind = found.kinds["MeshTimeout"]
    assert len(kind._confs) + len(kind._items) + len(kind._entries) + len(kind._base_confs) <= 6


def test_a_destination_without_any_policy_has_no_settings() -> None:
    found = index()
    chosen = selected(found, proxy())
    inbound = inbounds(proxy())[0]
    assert found.towards("MeshTimeout", chosen, SERVICES["a"], PORT) == found.at("MeshTimeout", chosen, inbound) == {}
    assert found.rules("MeshTimeout", chosen, inbound) == ()
    assert found.matched_rules("MeshTimeout", chosen, inbound) == ()
    assert found.towards_route("MeshTimeout", chosen, ROUTE, SERVICES["a"], PORT) == {}


def test_looking_up_does_not_look_at_policies_about_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand policies, one a service: towards each of them a bounded number of items is looked at."""
    calls = 0

    def counted(target: Any, destination: Destination) -> bool:
        nonlocal calls
        calls += 1
        return is_about(target, destination)

    monkeypatch.setattr(policies, "is_about", counted)
    own = [timeout(f"t{number}", "1s", ref=to("MeshService", f"s{number}")) for number in range(200)]
    found = index(*own, timeout("all", "2s"))
    chosen = selected(found, proxy())
    for number in range(200):
        service = Candidate(name=f"s{number}", labels={"kuma.io/display-name": f"s{number}"})
        assert found.towards("MeshTimeout", chosen, service, PORT) == {"idleTimeout": 1.0}
    assert calls == 400
