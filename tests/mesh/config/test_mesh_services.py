"""Services of all kinds: what stands behind them, how they are called, and how they are shown."""

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.addressing import reachable, unresolved
from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.service_status import dataplanes_behind, service_status
from mesh.config.services import Service, ServiceKey
from mesh.config.snapshot import (
    Cluster,
    ClusterEndpoints,
    Endpoint,
    Origination,
    OutboundListener,
    PassthroughPart,
    PemSource,
    UpstreamTls,
    Verification,
    decode_part,
    encode_part,
    redacted,
)
from mesh.config.view import DataplaneState, MeshView
from mesh.config.vips import assign_vips
from mesh.model.departure import Departure
from mesh.model.names import Address
from mesh.model.security import NamePattern, TlsVersion
from mesh.model.traffic import Protocol
from mesh.policy.passthrough import DestinationKind, Passthrough, PassthroughMatch, PassthroughMode
from mesh.resources.resource import Resource
from tests.mesh.config.small_meshes import MESH, called, dataplane, identity, resource

S, E, Z = "MeshService", "MeshExternalService", "MeshMultiZoneService"


def proxy(name: str, **networking: Any) -> DataplaneState:
    return DataplaneState(resource=dataplane(name, name[0], **networking))


def caller(*refs: dict[str, Any]) -> DataplaneState:
    outbound = [{"port": 10001 + n, "backendRef": {"port": 80, **ref}} for n, ref in enumerate(refs)]
    return DataplaneState(resource=dataplane("web", "", outbound=outbound))


def index_of(*resources: Resource, **states: DataplaneState) -> MeshIndex:
    dataplanes = {name.replace("_", "-"): state for name, state in states.items()}
    return MeshIndex.of(MeshView(mesh=MESH, dataplanes=dataplanes, resources=resources))


def service(index: MeshIndex, kind: str, name: str) -> Service:
    return index.services.by_key[kind, name]


def external(name: str = "api", *, tls: dict[str, Any] | None = None, created: float = 0.0, **spec: Any) -> Resource:
    spec = {
        "match": {"port": 443, "protocol": "http"},
        "endpoints": [{"address": "api.example.com", "port": 443}],
        **spec,
    }
    if tls is not None:
        spec["tls"] = {"enabled": True, **tls}
    return attrs.evolve(resource(E, name, spec, labels={"app": "x"}), created=created)


def generator(name: str, template: str, selector: str = "meshService", **labels: str) -> Resource:
    match = {"matchLabels": labels} if labels else {}
    return resource("HostnameGenerator", name, {"template": template, "selector": {selector: match}})


# Services whose instances leave.


def members(states: str) -> dict[str, DataplaneState]:
    """Return a1, a2, ...: `s` stays, `d` drains, `c` closes; in capitals those that are ready."""
    departures = {"s": Departure.STAYING, "d": Departure.DRAINING, "c": Departure.CLOSING}
    return {
        f"a{number}": attrs.evolve(
            proxy(f"a{number}"), departure=departures[state.lower()], inbound_ready={"80": state.isupper()}
        )
        for number, state in enumerate(states, 1)
    }


@pytest.mark.parametrize(
    ("states", "listed"),
    [
        ("SDD", "a1"),  # Who drains does not count for panic either.
        ("SsDC", "a1 a2!"),
        ("sDC", "a2"),  # Better somebody who would rather not than somebody who cannot.
        ("DDD", "a1 a2 a3"),
        ("DdC", "a1 a2!"),
        ("CCD", "a3"),
        ("CC", "a1 a2"),
        ("sd", "a1!"),
        ("dc", "a1!"),
        ("", ""),
    ],
)
def test_callers_are_told_of_those_who_leave_only_where_nobody_else_is_ready(states: str, listed: str) -> None:
    index = index_of(written("one", "a"), joining(), **members(states))
    for found in (service(index, S, "one"), service(index, Z, "all")):
        endpoints = found.endpoints_by_port[80]
        assert " ".join(endpoint.name + "!" * (not endpoint.healthy) for endpoint in endpoints) == listed


def test_who_drains_is_left_out_where_another_service_that_is_joined_has_somebody() -> None:
    services = (written("one", "a"), written("two", "b"), joining())
    index = index_of(*services, **members("DD"), b1=proxy("b1"))
    assert [endpoint.name for endpoint in service(index, S, "one").endpoints_by_port[80]] == ["a1", "a2"]
    assert [endpoint.name for endpoint in service(index, Z, "all").endpoints_by_port[80]] == ["b1"]


# Multi-zone services.


def written(name: str, workload: str, port_name: str = "") -> Resource:
    selector = {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": workload}}}
    port = {"port": 80, **({"name": port_name} if port_name else {})}
    return resource(S, name, {"selector": selector, "ports": [port]}, labels={"tier": "x"})


def joining(*ports: dict[str, Any]) -> Resource:
    spec = {"selector": {"meshService": {"matchLabels": {"tier": "x"}}}, "ports": list(ports) or [{"port": 80}]}
    return resource(Z, "all", spec)


def test_a_multi_zone_service_joins_the_endpoints_of_its_services() -> None:
    services = (written("one", "a"), written("two", "b"), joining())
    index = index_of(*services, a1=proxy("a1", address="10.0.0.1"), b1=proxy("b1", address="10.0.0.2"), c1=proxy("c1"))
    endpoints = service(index, Z, "all").endpoints_by_port[80]
    assert [(endpoint.name, endpoint.address.host) for endpoint in endpoints] == [
        ("a1", "10.0.0.1"),
        ("b1", "10.0.0.2"),
    ]


def test_its_ports_are_met_by_number_or_by_name() -> None:
    services = (written("one", "a", "http"), joining({"port": 8080, "name": "http"}, {"port": 9090}))
    index = index_of(*services, a1=proxy("a1"))
    by_port = service(index, Z, "all").endpoints_by_port
    assert [endpoint.name for endpoint in by_port[8080]] == ["a1"] and by_port[9090] == ()


def test_it_is_secured_when_all_that_it_joins_is() -> None:
    services = (written("one", "a"), written("two", "b"), joining())
    states = {"a1": proxy("a1"), "b1": proxy("b1"), "web": caller({"kind": Z, "name": "all"})}
    everybody = index_of(*services, identity("i", {}), **{**states, "web": proxy("w1", outbound=outbound_to(Z, "all"))})
    assert service(everybody, Z, "all").secured
    cluster = build_snapshot(everybody, "web").parts["cluster/all.mzsvc_80"]
    assert isinstance(cluster, Cluster) and cluster.tls is not None and len(cluster.tls.expected_peers) == 2
    assert cluster.tls.sni == "80.all.mzsvc.m.mesh.local"
    some = index_of(*services, identity("i", {"kuma.io/workload": "a"}), **states)
    assert not service(some, Z, "all").secured


def outbound_to(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"port": 10001, "backendRef": {"kind": kind, "name": name, "port": 80}}]


# References.


def test_a_name_means_the_service_of_its_kind() -> None:
    services = (external("a", match={"port": 80}),)
    refs = ({"kind": S, "name": "a"}, {"kind": E, "name": "a"}, {"kind": Z, "name": "a"})
    index = index_of(*services, a1=proxy("a1"), web=caller(*refs))
    parts = build_snapshot(index, "web").parts
    assert {"cluster/a_80", "cluster/a.extsvc_80"} <= parts.keys()
    assert unresolved(index, "web") == ("127.0.0.1:10003: there is no MeshMultiZoneService a",)


def test_labels_mean_the_oldest_then_the_first_by_name() -> None:
    ref = {"kind": E, "labels": {"app": "x"}, "port": 443}
    older = [external("z", created=1.0), external("y", created=2.0)]
    equal = [external("z", created=1.0), external("y", created=1.0)]
    for resources, meant in ((older, "z"), (equal, "y")):
        assert f"cluster/{meant}.extsvc_443" in build_snapshot(index_of(*resources, web=caller(ref)), "web").parts


def test_a_written_service_is_older_than_one_that_nobody_wrote() -> None:
    mine = attrs.evolve(
        resource(S, "zz", {"ports": [{"port": 80}]}, labels={"kuma.io/display-name": "a"}), created=1e12
    )
    index = index_of(mine, a1=proxy("a1"), web=caller({"kind": S, "labels": dict(called("a"))}))
    assert [outbound.service.name for outbound in reachable(index, "web")] == ["zz"]


# Hostnames.


def names(index: MeshIndex, kind: str, name: str) -> list[str]:
    return [hostname.name for hostname in service(index, kind, name).hostnames]


def test_generators_name_the_services_that_they_select() -> None:
    generators = (
        generator("g1", "{{ .DisplayName }}.svc.mesh.local"),
        generator("g2", '{{ label "tier" }}-{{ .DisplayName }}.mesh', tier="x"),
        generator("g3", "{{ .DisplayName }}.extsvc.mesh.local", "meshExternalService"),
        generator("g4", "{{ .DisplayName }}.mzsvc.mesh.local", "meshMultiZoneService"),
        generator("g5", "{{ .DisplayName }}.local", **{"kuma.io/origin": "zone", "kuma.io/env": "universal"}),
    )
    index = index_of(*generators, written("one", "a"), external(), joining(), b1=proxy("b1"))
    assert names(index, S, "one") == ["one.svc.mesh.local", "x-one.mesh", "one.local"]
    assert names(index, S, "b") == ["b.svc.mesh.local", "b.local"]
    assert names(index, E, "api") == ["api.extsvc.mesh.local"]
    assert names(index, Z, "all") == ["all.mzsvc.mesh.local"]
    assert index.services.conflicts == ()


def test_of_two_services_with_one_name_the_first_has_it() -> None:
    index = index_of(generator("g", "same.mesh"), b1=proxy("b1"), a1=proxy("a1"))
    assert (names(index, S, "a"), names(index, S, "b")) == (["same.mesh"], [])
    assert [str(conflict) for conflict in index.services.conflicts] == [
        "MeshService b does not get the name 'same.mesh' from HostnameGenerator g: MeshService a has it"
    ]


def test_a_name_that_cannot_be_made_is_reported() -> None:
    index = index_of(
        generator("zone", "{{ .DisplayName }}.{{ .Zone }}.mesh"),
        generator("odd", "{{ .DisplayName }}_.mesh"),
        a1=proxy("a1"),
    )
    assert names(index, S, "a") == []
    reasons = [conflict.reason for conflict in index.services.conflicts]
    assert reasons[0] == "it is no host name" and "kuma.io/zone" in reasons[1]


def test_listeners_know_the_names_of_their_service() -> None:
    generators = (generator("g1", "{{ .DisplayName }}.one"), generator("g2", "{{ .DisplayName }}.two"))
    index = index_of(*generators, a1=proxy("a1"), web=caller({"kind": S, "name": "a"}))
    listener = build_snapshot(index, "web").parts["outbound/127.0.0.1:10001"]
    assert isinstance(listener, OutboundListener) and listener.hostnames == ("a.one", "a.two")


# Virtual addresses.

keys = st.tuples(st.sampled_from([S, E, Z]), st.sampled_from([f"s{n}" for n in range(40)]))


@given(st.lists(keys, unique=True), st.lists(keys, unique=True))
@settings(max_examples=60, deadline=None)
def test_vips_are_distinct_and_for_good(first: list[ServiceKey], second: list[ServiceKey]) -> None:
    early = assign_vips(first, {}, mesh="m")
    late = assign_vips(second, early, mesh="m")
    assert {key: late[key] for key in early} == dict(early)
    assert len(set(late.values())) == len(late) == len({*first, *second})
    # Without a collision, which so few cannot have, order and history make no difference.
    assert late == assign_vips([*second, *first], {}, mesh="m")


def test_vips_stand_in_the_network_of_their_kind() -> None:
    vips = assign_vips([(S, "a"), (E, "a"), (Z, "a")], {}, mesh="m")
    assert [vips[kind, "a"].partition(".")[0] for kind in (S, E, Z)] == ["241", "242", "243"]
    assert vips != assign_vips(vips, {}, mesh="other")


def test_of_two_names_with_one_address_the_second_is_moved_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.config.vips._HOSTS", 3)
    both = assign_vips([(S, "a"), (S, "b"), (S, "c")], {}, mesh="m")
    assert len(set(both.values())) == 3
    assert assign_vips([(S, "c")], both, mesh="m") == both


def test_an_index_remembers_the_vips_of_services_that_left() -> None:
    view = MeshView(mesh=MESH, dataplanes={"a1": proxy("a1")}, vips={(S, "a"): "241.0.0.9"})
    index = MeshIndex.of(MeshView(mesh=MESH), previous=MeshIndex.of(view))
    assert index.services.vips == {(S, "a"): "241.0.0.9"}
    assert service(MeshIndex.of(attrs.evolve(view, vips={}), previous=index), S, "a").vip == "241.0.0.9"


# Addressing.


def intercepting(**reachable: Any) -> DataplaneState:
    return DataplaneState(resource=dataplane("web", "", outbound=[], transparentProxying=reachable))


def test_with_interception_every_service_is_reached_at_its_vip() -> None:
    index = index_of(external(), written("one", "a"), joining(), a1=proxy("a1"), web=intercepting())
    addresses = {(r.service.kind, r.service.name, r.address.port) for r in reachable(index, "web")}
    assert addresses == {(E, "api", 443), (Z, "all", 80), (S, "a", 80), (S, "one", 80)}
    for outbound in reachable(index, "web"):
        assert outbound.address.host == outbound.service.vip
        assert f"outbound/{outbound.address}" in build_snapshot(index, "web").parts


def test_reachable_backends_limit_what_is_reached() -> None:
    refs = [
        {"kind": S, "name": "a", "port": 90},
        {"kind": S, "labels": {"tier": "x"}},
        {"kind": E, "name": "nothing"},
    ]
    web = intercepting(reachableBackends={"refs": refs})
    index = index_of(written("one", "c"), written("two", "c"), external(), a1=proxy("a1"), web=web)
    assert [(r.service.name, r.port.port) for r in reachable(index, "web")] == [("one", 80), ("two", 80)]
    assert unresolved(index, "web") == ("reachableBackends: there is no MeshExternalService nothing",)
    nothing = index_of(external(), web=intercepting(reachableBackends={}))
    assert list(reachable(nothing, "web")) == []


# External services.


def test_an_external_service_is_a_cluster_with_endpoints_outside() -> None:
    endpoints = [
        {"address": "b.example.com", "port": 8443, "priority": 1},
        {"address": "192.0.2.1", "port": 443},
    ]
    index = index_of(external(endpoints=endpoints, tls={}), web=caller({"kind": E, "name": "api", "port": 443}))
    parts = build_snapshot(index, "web").parts
    cluster = parts["cluster/api.extsvc_443"]
    assert isinstance(cluster, Cluster)
    assert (cluster.protocol, cluster.tls) == (Protocol.HTTP, UpstreamTls())
    assert parts["endpoints/api.extsvc_443"] == ClusterEndpoints(
        cluster="api.extsvc_443",
        endpoints=(
            Endpoint(name="192.0.2.1:443", address=Address("192.0.2.1", 443), hostname="192.0.2.1"),
            Endpoint(
                name="b.example.com:8443",
                address=Address("b.example.com", 8443),
                priority=1,
                hostname="b.example.com:8443",
            ),
        ),
    )
    assert parts["origination/api.extsvc_443"] == Origination(cluster="api.extsvc_443")
    plain = index_of(external(), web=caller({"kind": E, "name": "api", "port": 443}))
    assert "origination/api.extsvc_443" not in build_snapshot(plain, "web").parts


def origination(*resources: Resource) -> Origination:
    built = build_snapshot(index_of(*resources, web=caller({"kind": E, "name": "api", "port": 443})), "web")
    part = built.parts["origination/api.extsvc_443"]
    assert isinstance(part, Origination)
    return part


def from_secret(name: str) -> dict[str, Any]:
    return {"type": "Secret", "secretRef": {"kind": "Secret", "name": name}}


def test_tls_to_it_says_what_was_written() -> None:
    verification = {
        "mode": "SkipCA",
        "serverName": "api.test",
        "subjectAltNames": [{"type": "Prefix", "value": "api"}, {"value": "x.test"}],
        "caCert": from_secret("ca"),
        "clientCert": {"type": "File", "file": {"path": "/c.pem"}},
        "clientKey": {"type": "EnvVar", "envVar": {"name": "KEY"}},
    }
    tls = {"version": {"min": "TLS10"}, "allowRenegotiation": True, "verification": verification}
    assert origination(external(tls=tls), resource("Secret", "ca", data="eA==")) == Origination(
        cluster="api.extsvc_443",
        verification=Verification.SKIP_CA,
        server_name="api.test",
        subject_names=(NamePattern(value="api", prefix=True), NamePattern(value="x.test")),
        roots=PemSource(text="x"),
        certificate=PemSource(path="/c.pem"),
        private_key=PemSource(variable="KEY"),
        version_min=TlsVersion.TLS10,
        version_max=TlsVersion.TLS13,
        renegotiation=True,
    )


def test_an_automatic_lower_bound_gives_way_to_the_upper_one() -> None:
    part = origination(external(tls={"version": {"max": "TLS11"}}))
    assert (part.version_min, part.version_max) == (TlsVersion.TLS11, TlsVersion.TLS11)


def test_a_secret_that_is_not_there_is_told() -> None:
    tls = {"verification": {"caCert": from_secret("ca")}}
    assert origination(external(tls=tls)).roots == PemSource(missing="there is no Secret 'ca'")
    elsewhere = attrs.evolve(resource("Secret", "ca", data="eA=="), mesh="other")
    assert origination(external(tls=tls), elsewhere).roots == PemSource(missing="there is no Secret 'ca'")
    binary = resource("Secret", "ca", data="/w==")
    assert origination(external(tls=tls), binary).roots == PemSource(missing="Secret 'ca' is not text in PEM")


def test_secrets_are_neither_shown_nor_lost_on_the_way() -> None:
    inline = {"type": "InsecureInline", "insecureInline": {"value": "top secret"}}
    part = origination(external(tls={"verification": {"clientCert": inline, "clientKey": inline}}))
    assert decode_part("origination/api.extsvc_443", encode_part(part)) == part
    assert "top secret" not in repr(part)
    assert b"top secret" not in encode_part(redacted(part)) and b"(hidden)" in encode_part(redacted(part))


# Passthrough.


def test_passthrough_is_told_where_a_policy_selects_the_proxy() -> None:
    conf = {
        "passthroughMode": "Matched",
        "appendMatch": [{"type": "CIDR", "value": "192.0.2.0/24", "port": 80, "protocol": "tcp"}],
    }
    one = resource("MeshPassthrough", "one", {"default": conf})
    more = {"appendMatch": [{"type": "IP", "value": "192.0.2.9"}]}
    two = resource("MeshPassthrough", "two", {"default": more})
    part = build_snapshot(index_of(one, two, web=caller()), "web").parts["passthrough"]
    matches = (
        PassthroughMatch(kind=DestinationKind.IP, value="192.0.2.9"),
        PassthroughMatch(kind=DestinationKind.CIDR, value="192.0.2.0/24", port=80),
    )
    assert part == PassthroughPart(passthrough=Passthrough(mode=PassthroughMode.MATCHED, matches=matches))
    assert "passthrough" not in build_snapshot(index_of(web=caller()), "web").parts


# Status.


def test_the_status_of_a_service_is_kumas() -> None:
    index = index_of(
        generator("g", "{{ .DisplayName }}.svc.mesh.local"), dataplane("a3", "a"), a1=proxy("a1"), a2=proxy("a2")
    )
    status = service_status(index, service(index, S, "a"))
    assert status == {
        "addresses": [
            {
                "hostname": "a.svc.mesh.local",
                "origin": "HostnameGenerator",
                "hostnameGeneratorRef": {"coreName": "g"},
            }
        ],
        "hostnameGenerators": [
            {
                "hostnameGeneratorRef": {"coreName": "g"},
                "conditions": [{"type": "Generated", "status": "True", "reason": "Generated", "message": ""}],
            }
        ],
        "vips": [{"ip": service(index, S, "a").vip}],
        "tls": {"status": "NotReady"},
    }
    assert [one.name for one in dataplanes_behind(index, service(index, S, "a"))] == ["a1", "a2", "a3"]


def test_the_status_of_other_services_names_what_they_are_made_of() -> None:
    index = index_of(
        generator("g", "same.mesh", "meshExternalService"),
        external("api"),
        external("bpi"),
        written("one", "a"),
        joining(),
        dataplane("a9", "a"),
    )
    outside = service_status(index, service(index, E, "bpi"))
    assert outside["vip"] == {"ip": service(index, E, "bpi").vip} and outside["addresses"] == []
    assert outside["hostnameGenerators"][0]["conditions"][0]["reason"] == "Conflict"
    joined = service_status(index, service(index, Z, "all"))
    assert joined["meshServices"] == [{"name": "one", "mesh": MESH}]
    assert [one.name for one in dataplanes_behind(index, service(index, S, "one"))] == ["a9"]
