"""What `mesh check` says of settings that do nothing, and of calls that are denied, against the snapshots that proxies get."""

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.lint.engine import lint
from mesh.config.snapshot import IdentityPart, InboundListener, OutboundListener, Snapshot
from mesh.config.view import DataplaneState, MeshView
from mesh.model.names import SpiffeId
from mesh.policy.authorization import Authorizer, Verdict
from mesh.resources.loading import load_resource
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource

NAMES = ("a", "b", "c")
CODES_OF_NO_EFFECT = ("TM409", "TM410")


def dataplanes() -> list[Resource]:
    """Return three services that all call one another."""
    found = []
    for number, name in enumerate(NAMES, start=1):
        outbound = [
            {"port": 10 + index, "backendRef": {"kind": "MeshService", "name": callee, "port": 80}}
            for index, callee in enumerate(NAMES)
        ]
        document = {
            "type": "Dataplane",
            "name": f"{name}-1",
            "mesh": "m",
            "labels": {"kuma.io/workload": name},
            "networking": {
                "address": f"10.0.0.{number}",
                "inbound": [{"port": 80, "servicePort": 81, "protocol": "http"}],
                "outbound": outbound,
            },
        }
        found.append(load_resource(document, file="f"))
    return found


DATAPLANES = dataplanes()


def snapshots(resources: list[Resource]) -> dict[str, Snapshot]:
    states = {resource.name: DataplaneState(resource=resource) for resource in DATAPLANES}
    index = MeshIndex.of(MeshView(mesh="m", resources=tuple(resources), dataplanes=states))
    return {name: build_snapshot(index, name) for name in states}


def policy(kind: str, name: str, spec: dict[str, object]) -> Resource:
    return load_resource({"type": kind, "name": name, "mesh": "m", "spec": spec}, file="f")


tops = st.sampled_from(
    [{"kind": "Mesh"}, {"kind": "Dataplane"}]
    + [{"kind": "Dataplane", "labels": {"kuma.io/workload": name}} for name in NAMES]
)
destinations = st.sampled_from(
    [{"kind": "Mesh"}]
    + [{"kind": "MeshService", "labels": {"kuma.io/display-name": name}} for name in NAMES]
    + [{"kind": "MeshService", "labels": {"kuma.io/display-name": "a"}, "sectionName": "80"}]
)
confs = st.fixed_dictionaries(
    {},
    optional={
        "idleTimeout": st.sampled_from(["1m", "2m"]),
        "http": st.fixed_dictionaries(
            {}, optional={"requestTimeout": st.sampled_from(["1s", "2s"]), "maxStreamDuration": st.sampled_from(["9s"])}
        ),
    },
).filter(lambda conf: bool(conf.get("idleTimeout") or conf.get("http")))
items = st.fixed_dictionaries({"targetRef": destinations, "default": confs})


@st.composite
def timeouts(draw: st.DrawFn) -> list[Resource]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        spec = {"targetRef": draw(tops), "to": draw(st.lists(items, min_size=1, max_size=2))}
        found.append(policy("MeshTimeout", f"t{number}", spec))
    return found


@given(timeouts())
@settings(max_examples=100, deadline=None)
def test_settings_that_are_said_to_do_nothing_do_nothing(policies: list[Resource]) -> None:
    before = snapshots(policies)
    for finding in lint([*DATAPLANES, *policies]):
        if finding.code.code not in CODES_OF_NO_EFFECT:
            continue
        where = policies.index(finding.place.resource)
        assert snapshots(without_item(policies, where, finding.place.path[2])) == before


@given(timeouts())
@settings(max_examples=100, deadline=None)
def test_settings_that_do_something_are_not_said_to_do_nothing(policies: list[Resource]) -> None:
    before = snapshots(policies)
    useless = {
        (finding.place.resource.name, finding.place.path[2])
        for finding in lint([*DATAPLANES, *policies])
        if finding.code.code in CODES_OF_NO_EFFECT
    }
    for where, resource in enumerate(policies):
        for number in range(len(resource.spec_as(Policy).to)):
            if snapshots(without_item(policies, where, number)) != before:
                assert (resource.name, number) not in useless


def without_item(policies: list[Resource], where: int, number: object) -> list[Resource]:
    spec = policies[where].spec_as(Policy)
    kept = tuple(item for index, item in enumerate(spec.to) if index != number)
    return [*policies[:where], attrs.evolve(policies[where], spec=attrs.evolve(spec, to=kept)), *policies[where + 1 :]]


IDENTITY = policy(
    "MeshIdentity", "i", {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}}
)
peers = st.lists(
    st.sampled_from(
        [{"spiffeID": {"type": "Exact", "value": f"spiffe://m.default.mesh.local/workload/{name}"}} for name in NAMES]
        + [
            {"spiffeID": {"type": "Prefix", "value": "spiffe://m."}},
            {"sni": {"type": "Exact", "value": "80.a.m.mesh.local"}},
        ]
    ),
    max_size=2,
)
permissions = st.lists(
    st.tuples(tops, st.fixed_dictionaries({"allow": peers}, optional={"deny": peers, "allowWithShadowDeny": peers})),
    max_size=3,
)


@given(permissions)
@settings(max_examples=100, deadline=None)
def test_calls_that_are_said_to_be_denied_are_those_that_sidecars_deny(
    rules: list[tuple[dict[str, object], dict[str, object]]],
) -> None:
    policies = [
        policy("MeshTrafficPermission", f"p{number}", {"targetRef": top, "rules": [{"default": default}]})
        for number, (top, default) in enumerate(rules)
    ]
    said = {
        affected
        for finding in lint([*DATAPLANES, IDENTITY, *policies])
        if finding.code.code == "TM505"
        for affected in finding.affects
    }
    built = snapshots([IDENTITY, *policies])
    denied = {
        f"{caller} -> {callee}:80"
        for caller in NAMES
        for callee in NAMES
        if verdict(built[f"{caller}-1"], built[f"{callee}-1"], callee) is Verdict.DENIED
    }
    assert said == denied


def verdict(caller: Snapshot, callee: Snapshot, service: str) -> Verdict:
    """Decide a call as the callee's sidecar does."""
    (identity,) = caller.of_kind("identity")
    (inbound,) = callee.of_kind("inbound")
    assert isinstance(identity, IdentityPart)
    assert isinstance(inbound, InboundListener)
    assert any(isinstance(part, OutboundListener) for part in caller.parts.values())
    assert inbound.permissions is not None
    return (
        Authorizer(inbound.permissions).decide(SpiffeId.parse(identity.spiffe_id), f"80.{service}.m.mesh.local").verdict
    )
