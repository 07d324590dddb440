"""A change recomputes the proxies that it can reach, and only those."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex, affected, dependencies
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

WORKLOADS = "abcde"


def identity(workload: str = "") -> Resource:
    selector = {"dataplane": {"matchLabels": {"kuma.io/workload": workload} if workload else {}}}
    spec = {"selector": selector, "provider": {"type": "Bundled"}}
    return load_resource({"type": "MeshIdentity", "name": "i", "mesh": "m", "spec": spec}, file="t")


def timeout(idle: str) -> Resource:
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": idle}}]}
    return load_resource({"type": "MeshTimeout", "name": "t", "mesh": "m", "spec": spec}, file="t")


@st.composite
def states(draw: st.DrawFn) -> dict[str, DataplaneState]:
    """Draw a mesh of up to eight proxies that call one another, by name or by labels."""
    dataplanes = {}
    for number in draw(st.lists(st.integers(0, 7), unique=True)):
        calls = draw(st.lists(st.sampled_from(WORKLOADS), max_size=2))
        by_labels = draw(st.sampled_from([False, False, True]))
        refs = [{"labels": {"kuma.io/workload": c}} if by_labels else {"name": c} for c in calls]
        networking = {
            "address": f"10.0.0.{number}",
            "inbound": [{"port": 80 + draw(st.integers(0, 1)), "servicePort": 1}],
            "outbound": [
                {"port": 10 + n, "backendRef": {"kind": "MeshService", "port": 80, **ref}} for n, ref in enumerate(refs)
            ],
        }
        workload = draw(st.sampled_from(WORKLOADS))
        dataplane = load_resource(
            {
                "type": "Dataplane",
                "name": f"p{number}",
                "mesh": "m",
                "labels": {"kuma.io/workload": workload},
                "networking": networking,
            },
            file="t",
        )
        ready = draw(st.sampled_from([{}, {"80": False}]))
        dataplanes[f"p{number}"] = DataplaneState(resource=dataplane, inbound_ready=ready)
    return dataplanes


resources = st.sampled_from([(), (identity(),), (identity("a"),), (timeout("1s"),), (timeout("2s"),)])
trusts = st.sampled_from([{}, {}, {"d": ("root",)}])


@given(states(), states(), resources, resources, trusts)
@settings(max_examples=100, deadline=None)
def test_what_is_not_affected_keeps_its_configuration(
    old: dict[str, DataplaneState],
    new: dict[str, DataplaneState],
    old_resources: tuple[Resource, ...],
    new_resources: tuple[Resource, ...],
    trust: dict[str, tuple[str, ...]],
) -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes={**old}, resources=old_resources))
    view = MeshView(mesh="m", dataplanes={**old, **new}, resources=new_resources, trust=trust)
    after = MeshIndex.of(view, previous=before)
    touched = affected(before, after)
    for name in view.dataplanes:
        snapshot = build_snapshot(after, name)
        # What was kept from the index before makes no difference.
        assert snapshot == build_snapshot(MeshIndex.of(view), name)
        if name not in touched:
            assert snapshot == build_snapshot(before, name)


def proxy(name: str, calls: str = "") -> DataplaneState:
    outbound = [{"port": 1, "backendRef": {"kind": "MeshService", "name": calls, "port": 80}}] if calls else []
    networking = {"address": "10.0.0.1", "inbound": [{"port": 80, "servicePort": 81}], "outbound": outbound}
    labels = {"kuma.io/workload": name[0]}
    written = {"type": "Dataplane", "name": name, "mesh": "m", "labels": labels, "networking": networking}
    return DataplaneState(resource=load_resource(written, file="t"))


CHAIN = {"a1": proxy("a1", "b"), "b1": proxy("b1", "c"), "c1": proxy("c1")}


def test_a_proxy_depends_on_the_services_it_calls() -> None:
    index = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN))
    assert [dependencies(index, name) for name in CHAIN] == [("b",), ("c",), ()]


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({}, ()),
        ({"c2": proxy("c2")}, ("b1", "c2")),
        ({"c1": attrs.evolve(CHAIN["c1"], inbound_ready={"80": False})}, ("b1", "c1")),
        ({"d1": proxy("d1")}, ("d1",)),
        ({"a1": proxy("a1", "c")}, ("a1",)),
    ],
)
def test_a_change_touches_only_its_callers(change: dict[str, DataplaneState], touched: tuple[str, ...]) -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN))
    after = MeshIndex.of(MeshView(mesh="m", dataplanes={**CHAIN, **change}), previous=before)
    assert affected(before, after) == touched


def test_a_reference_by_labels_may_come_to_mean_any_service() -> None:
    networking = {
        "address": "10.0.0.2",
        "outbound": [{"port": 1, "backendRef": {"kind": "MeshService", "labels": {"x": "y"}, "port": 80}}],
    }
    written = {"type": "Dataplane", "name": "z1", "mesh": "m", "networking": networking}
    with_caller = {**CHAIN, "z1": DataplaneState(resource=load_resource(written, file="t"))}
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=with_caller))
    after = MeshIndex.of(MeshView(mesh="m", dataplanes={**with_caller, "d1": proxy("d1")}))
    assert dependencies(after, "z1") == ("*",)
    assert affected(before, after) == ("d1", "z1")


def test_a_service_that_went_touches_its_callers() -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN))
    rest = {name: state for name, state in CHAIN.items() if name != "c1"}
    assert affected(before, MeshIndex.of(MeshView(mesh="m", dataplanes=rest))) == ("b1",)


def test_a_policy_touches_everybody() -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN))
    after = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN, resources=(timeout("1s"),)), previous=before)
    assert affected(before, after) == ("a1", "b1", "c1")


def test_trust_touches_everybody() -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN, resources=(identity(),)))
    view = attrs.evolve(before.view, trust={"d": ("root",)})
    assert affected(before, MeshIndex.of(view, previous=before)) == ("a1", "b1", "c1")


def test_policies_are_kept_while_resources_are_the_same() -> None:
    before = MeshIndex.of(MeshView(mesh="m", dataplanes=CHAIN, resources=(timeout("1s"),)))
    same = MeshIndex.of(MeshView(mesh="m", dataplanes={}, resources=(timeout("1s"),)), previous=before)
    other = MeshIndex.of(MeshView(mesh="m", dataplanes={}, resources=(timeout("2s"),)), previous=before)
    assert same.policies is before.policies
    assert other.policies is not before.policies


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
        labels = {"kuma.io/display-name": f"a{n}"}
        target = {"targetRef": {"kind": "Dataplane", "labels": labels}, "rules": [{"default": {"idleTimeout": "1s"}}]}
        service = {"selector": {"dataplaneLabels": {"matchLabels": labels}}, "ports": [{"port": 80}]}
        own.append(load_resource({"type": "MeshTimeout", "name": f"t{n}", "mesh": "m", "spec": target}, file="t"))
        own.append(load_resource({"type": "MeshService", "name": f"s{n}", "mesh": "m", "spec": service}, file="t"))
    index = MeshIndex.of(MeshView(mesh="m", dataplanes=dataplanes, resources=tuple(own)))
    for name in dataplanes:
        assert len(build_snapshot(index, name).of_kind("cluster")) == 1
    assert calls <= 5 * count
