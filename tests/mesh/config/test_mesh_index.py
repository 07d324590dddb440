"""A change recomputes the proxies that it can reach, and only those."""

import importlib
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.builder import build_snapshot
from mesh.config.dependencies import affected
from mesh.config.index import MeshIndex
from mesh.config.outbound_routes import ROUTE_KINDS
from mesh.config.reach import Target, targets_of
from mesh.config.services import Service
from mesh.config.snapshot import Snapshot
from mesh.config.view import DataplaneState, MeshView
from mesh.model.errors import ConfigError
from mesh.resources.resource import Resource
from tests.mesh.config.small_meshes import (
    MESH,
    WORKLOADS,
    called,
    dataplane,
    identity,
    proxies,
    resource,
    resource_named,
)

PROXIES = ("p1", "p2", "p3", "p4")
RESOURCES = (*WORKLOADS, "ca", "i", "q", "r", "s")


@st.composite
def views(draw: st.DrawFn) -> MeshView:
    live = draw(st.lists(st.sampled_from(PROXIES), unique=True, min_size=2))
    written = draw(st.lists(st.sampled_from(RESOURCES), unique=True, min_size=3))
    return MeshView(
        mesh=MESH,
        dataplanes={name: draw(proxies(name)) for name in live},
        resources=tuple(draw(resource_named(name)) for name in written),
    )


@st.composite
def changed_views(draw: st.DrawFn) -> tuple[MeshView, MeshView]:
    """Draw a mesh before and after one to three changes."""
    before = after = draw(views())
    for change in draw(
        st.lists(st.sampled_from(["resource", "resource", "proxy", "trust", "ports"]), min_size=1, max_size=3)
    ):
        after = draw(changed(after, change))
    return before, after


@st.composite
def changed(draw: st.DrawFn, view: MeshView, change: str) -> MeshView:
    match change:
        case "resource":
            name = draw(st.sampled_from(RESOURCES))
            rest = tuple(item for item in view.resources if item.name != name)
            added = draw(st.one_of(st.just(()), resource_named(name).map(lambda item: (item,))))
            return attrs.evolve(view, resources=rest + added)
        case "proxy":
            name = draw(st.sampled_from(PROXIES))
            left = {other: state for other, state in view.dataplanes.items() if other != name}
            joined = draw(st.one_of(st.just({}), proxies(name).map(lambda state: {name: state})))
            return attrs.evolve(view, dataplanes={**left, **joined})
        case "trust":
            return attrs.evolve(view, trust={"d": ("root",)})
        case _:
            services = MeshIndex.of(view).service_by_name
            ports = {name: tuple(service.port_by_number.values()) for name, service in services.items()}
            return attrs.evolve(view, known_ports=ports)


def built(index: MeshIndex, name: str) -> Snapshot | str:
    try:
        return build_snapshot(index, name)
    except ConfigError as error:
        return str(error)


@given(changed_views())
@settings(max_examples=200, deadline=None)
def test_what_is_not_affected_keeps_its_configuration(change: tuple[MeshView, MeshView]) -> None:
    old, new = change
    before = MeshIndex.of(old)
    after = MeshIndex.of(new, previous=before)
    touched = affected(before, after)
    anew = MeshIndex.of(new)
    for name in new.dataplanes:
        snapshot = built(after, name)
        # What was kept from the index before makes no difference.
        assert snapshot == built(anew, name)
        if name not in touched:
            assert snapshot == built(before, name)
    assert set(touched) <= set(new.dataplanes)


@given(changed_views(), st.lists(changed_views(), max_size=2))
@settings(max_examples=40, deadline=None)
def test_an_index_that_lived_through_many_changes_is_as_good_as_a_new_one(
    first: tuple[MeshView, MeshView], more: list[tuple[MeshView, MeshView]]
) -> None:
    index = None
    for view in (*first, *(view for change in more for view in change)):
        index = MeshIndex.of(view, previous=index)
        anew = MeshIndex.of(attrs.evolve(view, vips=index.services.vips))
        assert index.services.by_key == anew.services.by_key
        assert list(index.services.by_key) == list(anew.services.by_key)
        assert index.services.conflicts == anew.services.conflicts
        assert index.identity_by_name == anew.identity_by_name
        assert index.trust == anew.trust


def moved(before: MeshView, after: MeshView) -> list[str]:
    old, new = before.dataplanes, after.dataplanes
    return [name for name in PROXIES if old.get(name) is not new.get(name)]


@given(views(), st.lists(st.tuples(changed_views(), st.lists(st.sampled_from(PROXIES))), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_index_that_was_told_what_moved_is_as_good_as_one_that_looked_everywhere(
    first: MeshView, changes: list[tuple[tuple[MeshView, MeshView], list[str]]]
) -> None:
    told = looked = MeshIndex.of(first)
    for views_after, unmoved in changes:
        for view in views_after:
            before, told = told, MeshIndex.of(view, previous=told, moved=[*moved(told.view, view), *unmoved])
            looked = MeshIndex.of(view, previous=looked)
            assert told.services.by_key == looked.services.by_key
            assert list(told.services.by_key) == list(looked.services.by_key)
            assert told.services.vips == looked.services.vips
            assert told.identity_by_name == looked.identity_by_name
            # What was noted on the way is what a comparison finds, and no less; so the same proxies are concerned.
            noted, found = told.since(before), attrs.evolve(told, origin=None).since(before)
            assert {*noted.proxies} >= {*found.proxies}
            assert {*noted.services} >= {*found.services}
            assert affected(before, told) == affected(before, attrs.evolve(told, origin=None))
            for name in view.dataplanes:
                assert built(told, name) == built(looked, name)


def test_trust_can_be_replaced_between_a_look_and_its_use() -> None:
    before = index_of(identity("i", {"kuma.io/workload": "b"}))
    after = index_of(identity("i", {"kuma.io/workload": "b"}), previous=before, c2=proxy("c2"))
    assert affected(before, after.with_trust({"d": ("root",)})) == ("b1", "c2")
    assert affected(after, after.with_trust({"d": ("root",)})) == ("b1",)


def is_met_by(target: Target, service: Service) -> bool:
    if target.kind != service.kind:
        return False
    return service.name == target.name if target.name else service.matches_labels(target.labels)


def callers_of(index: MeshIndex, kind: str, name: str) -> set[str]:
    """Ask every proxy, the slow way."""
    found = set()
    for proxy, state in index.view.dataplanes.items():
        for target in targets_of(state.dataplane):
            service = index.services.by_key.get((kind, name))
            if target.name or target.several:
                meets = target == Target(kind=kind, name=name) or (service is not None and is_met_by(target, service))
            else:
                meant = index.services.resolve(target)
                meets = meant is not None and meant.key == (kind, name)
            if meets:
                found.add(proxy)
    return found


@given(views(), st.sampled_from(WORKLOADS), st.sampled_from(["MeshService", "MeshExternalService"]))
@settings(max_examples=60, deadline=None)
def test_a_policy_about_one_service_concerns_its_callers_alone(view: MeshView, name: str, kind: str) -> None:
    to = [{"targetRef": {"kind": kind, "labels": dict(called(name))}, "default": {"idleTimeout": "9s"}}]
    policy = resource("MeshTimeout", "new", {"targetRef": {"kind": "Mesh"}, "to": to})
    # Whom routes make callers is in test_route_dependencies.
    view = attrs.evolve(view, resources=tuple(each for each in view.resources if each.kind not in ROUTE_KINDS))
    before = MeshIndex.of(view)
    after = MeshIndex.of(attrs.evolve(view, resources=(*view.resources, policy)), previous=before)
    assert set(affected(before, after)) <= callers_of(after, kind, name)


@given(views(), st.sampled_from(["MeshAccessLog", "MeshZoneAddress", "Dataplane", "shadow"]))
@settings(max_examples=40, deadline=None)
def test_what_no_configuration_reads_concerns_nobody(view: MeshView, kind: str) -> None:
    backends = {"backends": [{"type": "File", "file": {"path": "/tmp/x"}}]}
    new = {
        "MeshAccessLog": lambda: resource("MeshAccessLog", "n", {"rules": [{"default": backends}]}),
        "MeshZoneAddress": lambda: resource("MeshZoneAddress", "n", {"address": "z.test", "port": 1}),
        "Dataplane": lambda: dataplane("not-live", "a"),
        "shadow": lambda: resource(
            "MeshTimeout", "n", {"rules": [{"default": {"idleTimeout": "1s"}}]}, labels={"kuma.io/effect": "shadow"}
        ),
    }[kind]()
    before = MeshIndex.of(view)
    after = MeshIndex.of(attrs.evolve(view, resources=(*view.resources, new)), previous=before)
    assert affected(before, after) == ()


def proxy(name: str, calls: str = "", **networking: Any) -> DataplaneState:
    outbound = [{"port": 1, "backendRef": {"kind": "MeshService", "name": calls, "port": 80}}] if calls else []
    return DataplaneState(resource=dataplane(name, name[0], outbound=outbound, **networking))


CHAIN = {"a1": proxy("a1", "b"), "b1": proxy("b1", "c"), "c1": proxy("c1")}


def index_of(*resources: Resource, previous: MeshIndex | None = None, **states: DataplaneState) -> MeshIndex:
    return MeshIndex.of(MeshView(mesh=MESH, dataplanes={**CHAIN, **states}, resources=resources), previous=previous)


def test_a_proxy_refers_to_the_services_it_calls() -> None:
    assert [targets_of(state.dataplane) for state in CHAIN.values()] == [
        (Target(kind="MeshService", name="b"),),
        (Target(kind="MeshService", name="c"),),
        (),
    ]


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({}, ()),
        ({"c2": proxy("c2")}, ("b1", "c2")),
        ({"c1": attrs.evolve(CHAIN["c1"], inbound_ready={"80": False})}, ("b1",)),
        ({"d1": proxy("d1")}, ("d1",)),
        ({"a1": proxy("a1", "c")}, ("a1",)),
    ],
)
def test_a_change_touches_only_its_callers(change: dict[str, DataplaneState], touched: tuple[str, ...]) -> None:
    before = index_of()
    assert affected(before, index_of(previous=before, **change)) == touched


def test_a_service_that_went_touches_its_callers() -> None:
    before = index_of()
    rest = {name: state for name, state in CHAIN.items() if name != "c1"}
    assert affected(before, MeshIndex.of(MeshView(mesh=MESH, dataplanes=rest), previous=before)) == ("b1",)


def test_another_mesh_touches_everybody() -> None:
    before = MeshIndex.of(MeshView(mesh="n"))
    assert affected(before, index_of(previous=before)) == ("a1", "b1", "c1")


def external(name: str, *, created: float = 0.0, **labels: str) -> Resource:
    spec = {"match": {"port": 80}, "endpoints": [{"address": "192.0.2.1", "port": 80}]}
    return attrs.evolve(resource("MeshExternalService", name, spec, labels=labels), created=created)


def by_labels(name: str, **labels: str) -> DataplaneState:
    ref = {"kind": "MeshExternalService", "labels": labels, "port": 80}
    return DataplaneState(resource=dataplane(name, "", outbound=[{"port": 1, "backendRef": ref}]))


def test_a_reference_by_labels_touches_when_it_means_another_service() -> None:
    older, newer = external("z", created=1.0, app="x"), external("y", created=2.0, app="x")
    with_caller = {"w1": by_labels("w1", app="x"), "v1": by_labels("v1", app="other")}
    before = index_of(newer, **with_caller)
    after = index_of(newer, older, previous=before, **with_caller)
    assert affected(before, after) == ("w1",)
    assert "cluster/z.extsvc_80" in build_snapshot(after, "w1").parts
    # The newer one is not meant any more: what becomes of it is nobody's business.
    assert affected(after, index_of(older, previous=after, **with_caller)) == ()


def test_whoever_may_reach_everything_depends_on_every_service() -> None:
    everything = {"w1": proxy("w1", transparentProxying={})}
    before = index_of(**everything)
    assert affected(before, index_of(external("x"), previous=before, **everything)) == ("w1",)


def test_an_identity_touches_whom_it_selects_and_their_callers() -> None:
    before = index_of()
    assert affected(before, index_of(identity("i", {"kuma.io/workload": "c"}), previous=before)) == ("b1", "c1")


def test_trust_touches_those_with_an_identity() -> None:
    before = index_of(identity("i", {"kuma.io/workload": "b"}))
    after = MeshIndex.of(attrs.evolve(before.view, trust={"d": ("root",)}), previous=before)
    assert affected(before, after) == ("b1",)


def timeout(name: str, idle: str, *, to: str = "") -> Resource:
    target = {"kind": "MeshService", "labels": dict(called(to))} if to else {"kind": "Mesh"}
    return resource("MeshTimeout", name, {"to": [{"targetRef": target, "default": {"idleTimeout": idle}}]})


def test_policies_touch_those_who_call_what_they_are_about() -> None:
    before = index_of(timeout("t", "1s", to="b"))
    assert affected(before, index_of(timeout("t", "2s", to="b"), previous=before)) == ("a1",)
    assert affected(before, index_of(timeout("t", "1s", to="c"), previous=before)) == ("a1", "b1")
    assert affected(before, index_of(timeout("t", "1s"), previous=before)) == ("a1", "b1")
    assert affected(before, index_of(previous=before)) == ("a1",)


def test_what_a_change_leaves_alone_is_kept() -> None:
    before = index_of(timeout("t", "1s"), external("x"))
    after = index_of(timeout("t", "1s"), external("x"), previous=before, c2=proxy("c2"))
    assert after.policies.kinds["MeshTimeout"] is before.policies.kinds["MeshTimeout"]
    kept = [key for key, service in after.services.by_key.items() if service is before.services.by_key.get(key)]
    assert kept == [("MeshExternalService", "x"), ("MeshService", "a"), ("MeshService", "b")]


@pytest.mark.parametrize("count", [50, 400])
def test_a_small_change_looks_at_what_it_concerns(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the mesh is, an endpoint more is one identity and one service made anew."""
    states = {f"a{n}": proxy(f"a{n}", f"a{(n + 1) % count}") for n in range(count)}
    states = {name: labelled(state, name) for name, state in states.items()}
    view = MeshView(mesh=MESH, dataplanes=states, resources=(identity("i", {}), timeout("t", "1s")))
    before = MeshIndex.of(view)
    made = counted(monkeypatch, "mesh.config.service_index.made_service")
    held = counted(monkeypatch, "mesh.config.index.identity_of")
    dressed = counted(monkeypatch, "mesh.config.service_index.proposals_for")
    more = labelled(proxy("more", "a0"), "a7")
    after = MeshIndex.of(attrs.evolve(view, dataplanes={**states, "more": more}), previous=before, moved=["more", "a9"])
    assert affected(before, after) == ("a6", "more")
    assert (len(made), len(held), len(dressed)) == (1, 1, 1)


def labelled(state: DataplaneState, workload: str) -> DataplaneState:
    labels = {**state.resource.labels, "kuma.io/workload": workload}
    return attrs.evolve(state, resource=attrs.evolve(state.resource, labels=labels))


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[None]:
    """Let a function note its calls."""
    module, _, function = name.rpartition(".")
    original, calls = getattr(importlib.import_module(module), function), list[None]()

    def noting(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(*args, **kwargs)

    monkeypatch.setattr(name, noting)
    return calls


def test_building_a_large_mesh_looks_at_each_proxy_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each proxy has a policy and a service of its own; none is compared with those of all the others."""
    calls = 0
    matches_labels = Resource.matches_labels

    def counted(self: Resource, labels: dict[str, str]) -> bool:
        nonlocal calls
        calls += 1
        return matches_labels(self, labels)

    monkeypatch.setattr(Resource, "matches_labels", counted)
    count = 200
    dataplanes = {f"a{n}": proxy(f"a{n}", f"s{(n + 1) % count}") for n in range(count)}
    own = []
    for n in range(count):
        labels = dict(called(f"a{n}"))
        target = {"targetRef": {"kind": "Dataplane", "labels": labels}, "rules": [{"default": {"idleTimeout": "1s"}}]}
        service = {"selector": {"dataplaneLabels": {"matchLabels": labels}}, "ports": [{"port": 80}]}
        own.append(resource("MeshTimeout", f"t{n}", target))
        own.append(resource("MeshService", f"s{n}", service))
    index = MeshIndex.of(MeshView(mesh=MESH, dataplanes=dataplanes, resources=tuple(own)))
    for name in dataplanes:
        assert len(build_snapshot(index, name).of_kind("cluster")) == 1
    assert calls <= 5 * count
