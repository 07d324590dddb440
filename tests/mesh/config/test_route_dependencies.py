"""A change of a route, of what it leads to, or of a policy about either reaches whoever is routed there, and nobody else."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mesh.config import dependencies
from mesh.config.builder import build_snapshot
from mesh.config.dependencies import affected
from mesh.config.index import MeshIndex
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.resource import Resource
from tests.mesh.config.small_meshes import MESH, called, dataplane, resource

Parts = dict[str, Resource | None]


def proxy(name: str, calls: str = "") -> Resource:
    outbound = [{"port": 1, "backendRef": {"kind": "MeshService", "name": calls, "port": 80}}] if calls else []
    return dataplane(name, name[0], outbound=outbound)


def route(
    *, to: str = "a", refs: tuple[dict[str, str], ...] = (), mirror: bool = False, top: str = "", **more: Any
) -> Resource:
    """Make the MeshHTTPRoute `r`, or with `kind` another, whose backends carry `refs`; with `mirror` the last gets copies."""
    backends = [{"kind": "MeshService", "labels": labels, "port": 80} for labels in refs]
    default: dict[str, Any] = {}
    if mirror and backends:
        default["filters"] = [{"type": "RequestMirror", "requestMirror": {"backendRef": backends.pop()}}]
    rule: dict[str, Any] = {"default": {**default, "backendRefs": backends}}
    kind = more.pop("kind", "MeshHTTPRoute")
    if kind == "MeshHTTPRoute":
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/x"}}]
    else:
        rule["default"].pop("filters", None)
    target = {"kind": "Dataplane", "labels": {"kuma.io/workload": top}} if top else {"kind": "Mesh"}
    to_items = [{"targetRef": {"kind": "MeshService", "labels": dict(called(to))}, "rules": [rule]}]
    return resource(kind, "r", {"targetRef": target, "to": to_items}, **more)


def timeout(target: dict[str, Any], span: str = "1s", top: str = "") -> Resource:
    selected = {"kind": "Dataplane", "labels": {"kuma.io/workload": top}} if top else {"kind": "Mesh"}
    default = {"connectionTimeout": span, "http": {"requestTimeout": span}}
    return resource("MeshTimeout", "t", {"targetRef": selected, "to": [{"targetRef": target, "default": default}]})


def service(name: str, labels: dict[str, str]) -> Resource:
    selector = {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": name}}}
    spec = {"selector": selector, "ports": [{"port": 80, "appProtocol": "http"}]}
    return resource("MeshService", name, spec, labels=labels)


TIER = {"tier": "x"}
REFS = st.sampled_from([dict(called("b")), dict(called("c")), TIER])
ROUTES = st.builds(
    route,
    to=st.sampled_from(["a", "b"]),
    refs=st.lists(REFS, max_size=2).map(tuple),
    mirror=st.booleans(),
    top=st.sampled_from(["", "", "w"]),
    kind=st.sampled_from(["MeshHTTPRoute", "MeshHTTPRoute", "MeshTCPRoute"]),
    labels=st.sampled_from([{}, TIER]),
)
TARGETS = st.sampled_from(
    [
        {"kind": "MeshService", "labels": dict(called("b"))},
        {"kind": "MeshService", "labels": TIER},
        {"kind": "MeshHTTPRoute", "labels": dict(called("r"))},
        {"kind": "MeshHTTPRoute", "labels": TIER},
    ]
)
OPTIONS: dict[str, st.SearchStrategy[Resource | None]] = {
    "w1": st.sampled_from([proxy("w1", "a"), proxy("w1", "b")]),
    "v1": st.sampled_from([proxy("v1", "a"), proxy("v1", "c"), proxy("v1")]),
    "a1": st.just(proxy("a1")),
    "b1": st.sampled_from([proxy("b1"), None]),
    "b2": st.sampled_from([proxy("b2"), None]),
    "c1": st.sampled_from([proxy("c1"), None]),
    "b": st.sampled_from([None, service("b", {}), service("b", TIER)]),
    "c": st.sampled_from([None, service("c", {}), service("c", TIER)]),
    "r": st.one_of(ROUTES, ROUTES, st.none()),
    "t": st.one_of(st.builds(timeout, TARGETS, st.sampled_from(["1s", "2s"]), st.sampled_from(["", "w"])), st.none()),
}
MESHES = st.fixed_dictionaries(OPTIONS)
CHANGES = st.sampled_from(sorted(OPTIONS)).flatmap(lambda name: st.tuples(st.just(name), OPTIONS[name]))


def view_of(parts: Parts) -> MeshView:
    there = [each for each in parts.values() if each is not None]
    return MeshView(
        mesh=MESH,
        dataplanes={each.name: DataplaneState(resource=each) for each in there if each.kind == "Dataplane"},
        resources=tuple(each for each in there if each.kind != "Dataplane"),
    )


def unaffected_are_unchanged(parts: Parts, changes: list[tuple[str, Resource | None]]) -> None:
    index = MeshIndex.of(view_of(parts))
    for name, part in changes:
        before, parts = index, {**parts, name: part}
        index = MeshIndex.of(view_of(parts), previous=before)
        anew = MeshIndex.of(view_of(parts))
        reached = affected(before, index)
        for proxy_name in index.view.dataplanes:
            snapshot = build_snapshot(index, proxy_name)
            # What was kept from the index before makes no difference.
            assert snapshot == build_snapshot(anew, proxy_name)
            if proxy_name not in reached:
                assert snapshot == build_snapshot(before, proxy_name)


@given(MESHES, st.lists(CHANGES, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_who_is_not_reached_keeps_its_configuration(parts: Parts, changes: list[tuple[str, Resource | None]]) -> None:
    unaffected_are_unchanged(parts, changes)


PLANTED: dict[str, tuple[str, Callable[..., Any]]] = {
    # A changed service reaches those who call it by their own word only: what a route leads to is forgotten.
    "routes are not followed": (
        "_callers",
        lambda called, index, services: index.callers.of_services(called, services),
    ),
    # A policy about a MeshHTTPRoute reaches nobody.
    "policies about routes reach nobody": ("_routed", lambda target, index: {}),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_comparison_sees_a_forgotten_way(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in `mesh.config.dependencies`; each was seen to leave a proxy with an old configuration."""
    monkeypatch.setattr(dependencies, *PLANTED[bug])
    search = given(MESHES, st.lists(CHANGES, min_size=1, max_size=3))(unaffected_are_unchanged)
    search = settings(max_examples=1000, deadline=None, derandomize=True, database=None, phases=[Phase.generate])(
        search
    )
    with pytest.raises(AssertionError):
        search()


BASE: Parts = {
    "w1": proxy("w1", "a"),
    "v1": proxy("v1", "c"),
    "a1": proxy("a1"),
    "b1": proxy("b1"),
    "c1": proxy("c1"),
    "d1": proxy("d1"),
    "r": route(refs=(dict(called("b")),)),
}


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        ({"b2": proxy("b2")}, ("b2", "w1")),
        ({"d2": proxy("d2")}, ("d2",)),
        ({"r": route(refs=(dict(called("d")),))}, ("w1",)),
        ({"r": None}, ("w1",)),
        ({"r": route(to="c", refs=(dict(called("b")),))}, ("v1", "w1")),
        ({"r": route(refs=(dict(called("b")),), top="v")}, ("w1",)),
        ({"t": timeout({"kind": "MeshService", "labels": dict(called("b"))})}, ("w1",)),
        ({"t": timeout({"kind": "MeshService", "labels": dict(called("b"))}, top="v")}, ()),
        ({"t": timeout({"kind": "MeshService", "labels": dict(called("d"))})}, ()),
        ({"t": timeout({"kind": "MeshHTTPRoute", "labels": dict(called("r"))})}, ("w1",)),
        ({"t": timeout({"kind": "MeshHTTPRoute", "labels": dict(called("r"))}, top="v")}, ()),
        ({"t": timeout({"kind": "MeshHTTPRoute", "labels": dict(called("other"))})}, ()),
    ],
)
def test_a_change_reaches_exactly_those_who_are_routed_there(change: Parts, reached: tuple[str, ...]) -> None:
    before = MeshIndex.of(view_of(BASE))
    assert affected(before, MeshIndex.of(view_of({**BASE, **change}), previous=before)) == reached


def test_mirrors_are_called_too() -> None:
    parts = {**BASE, "r": route(refs=(dict(called("b")),), mirror=True)}
    before = MeshIndex.of(view_of(parts))
    assert affected(before, MeshIndex.of(view_of({**parts, "b2": proxy("b2")}), previous=before)) == ("b2", "w1")


def test_a_change_of_health_behind_a_route_reaches_whom_it_leads_there() -> None:
    view = view_of(BASE)
    before = MeshIndex.of(view)
    unready = attrs.evolve(view.dataplanes["b1"], inbound_ready={"80": False})
    after = MeshIndex.of(
        attrs.evolve(view, dataplanes={**view.dataplanes, "b1": unready}), previous=before, moved=["b1"]
    )
    assert affected(before, after) == ("w1",)


@pytest.mark.parametrize("count", [10, 300])
def test_a_change_does_not_look_at_every_route(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many routes there are, those that lead to what changed are the only ones compared with it."""
    routes = [
        attrs.evolve(route(to="a", refs=(dict(called(f"s{number}")),)), name=f"r{number}") for number in range(count)
    ]
    view = view_of({**BASE, **{each.name: each for each in routes}})
    before = MeshIndex.of(view)
    looked: list[Resource] = []
    original = dependencies._selects

    def selects(policy: Resource, *more: Any) -> bool:
        looked.append(policy)
        return original(policy, *more)

    monkeypatch.setattr(dependencies, "_selects", selects)
    more = DataplaneState(resource=proxy("b2"))
    after = MeshIndex.of(attrs.evolve(view, dataplanes={**view.dataplanes, "b2": more}), previous=before, moved=["b2"])
    assert affected(before, after) == ("b2", "w1")
    assert {each.name for each in looked} == {"r"}
    assert after.route_reach is before.route_reach
