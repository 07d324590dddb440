"""What one proxy is told: a small shop with and without identities, with policies, health and missing services."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from mesh.config import defaults
from mesh.config.addressing import unresolved
from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    IdentityPart,
    InboundListener,
    OutboundListener,
    ProxyPart,
    Route,
    Snapshot,
    TrustPart,
    UpstreamTls,
    decode_part,
    encode_part,
)
from mesh.config.view import DataplaneState, MeshView
from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import MatchKind, PeerMatch, Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.resources.loading import load_resource
from mesh.resources.mesh_service import ServicePort
from mesh.resources.resource import Resource


def resource(kind: str, name: str, mesh: str = "shop", **fields: Any) -> Resource:
    return load_resource({"type": kind, "name": name, "mesh": mesh, **fields}, file="test")


def proxy(
    name: str,
    host: str,
    *,
    calls: Mapping[int, Any] | None = None,
    ready: Mapping[str, bool] | None = None,
    **more: Any,
) -> DataplaneState:
    """Make `payment-1` and the like: an HTTP inbound on 8080 and one outbound for each `{port: backendRef}`."""
    workload = name.rpartition("-")[0]
    outbound = [{"port": port, "backendRef": {"kind": "MeshService", **ref}} for port, ref in (calls or {}).items()]
    inbound = [{"port": 8080, "servicePort": 18080, "protocol": "http", **more.pop("inbound", {})}]
    labels = {"kuma.io/workload": workload, "kuma.io/zone": "eu-1", **more.pop("labels", {})}
    networking = {"address": host, "inbound": inbound, "outbound": outbound}
    return DataplaneState(
        resource=resource("Dataplane", name, labels=labels, networking=networking), inbound_ready=ready or {}
    )


PAYMENT = {"name": "payment", "port": 8080}
WEB = proxy("web-1", "10.0.0.1", calls={10001: PAYMENT})
PAYMENTS = {
    # Not in the order of their names: snapshots are.
    "payment-2": proxy("payment-2", "10.0.0.3", labels={"kuma.io/zone": "eu-2"}),
    "payment-1": proxy("payment-1", "10.0.0.2"),
}
IDENTITY = resource(
    "MeshIdentity",
    "id",
    spec={"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}},
)
TRUST = {"shop.eu-1.mesh.local": ("root 1",), "shop.eu-2.mesh.local": ("root 2", "old root 2")}


def view(*resources: Resource, **states: DataplaneState) -> MeshView:
    dataplanes = {"web-1": WEB, **PAYMENTS, **{name.replace("_", "-"): state for name, state in states.items()}}
    return MeshView(mesh="shop", resources=resources, dataplanes=dataplanes, trust=TRUST)


def snapshot(*resources: Resource, of: str = "web-1", **states: DataplaneState) -> Snapshot:
    return build_snapshot(MeshIndex.of(view(*resources, **states)), of)


def cluster(built: Snapshot, name: str = "payment_8080") -> Cluster:
    part = built.parts[f"cluster/{name}"]
    assert isinstance(part, Cluster)
    return part


def endpoints(built: Snapshot, name: str = "payment_8080") -> dict[str, bool]:
    part = built.parts[f"endpoints/{name}"]
    assert isinstance(part, ClusterEndpoints)
    return {endpoint.name: endpoint.healthy for endpoint in part.endpoints}


def inbound(built: Snapshot, name: str = "8080") -> InboundListener:
    part = built.parts[f"inbound/{name}"]
    assert isinstance(part, InboundListener)
    return part


def route(built: Snapshot, name: str = "127.0.0.1:10001") -> Route:
    part = built.parts[f"outbound/{name}"]
    assert isinstance(part, OutboundListener)
    return part.routes[0]


DEFAULT_RETRY = RetryPolicy(
    retries_max=2,
    conditions=(RetryOn.GATEWAY_ERROR, RetryOn.RESET, RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM),
    methods=("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"),
    unsent_any_method=True,
    per_try_timeout_s=7.5,
    per_try_timeout_derived=True,
    host_selection=defaults.HOST_SELECTION,
)


def test_without_identities_everything_is_plaintext_and_open() -> None:
    assert snapshot() == Snapshot.of(
        ProxyPart(
            mesh="shop",
            name="web-1",
            zone="eu-1",
            workload="web",
            labels=(("kuma.io/workload", "web"), ("kuma.io/zone", "eu-1")),
        ),
        InboundListener(
            name="8080",
            address=Address("10.0.0.1", 8080),
            application=Address("10.0.0.1", 18080),
            protocol=Protocol.HTTP,
            service="web",
            tls_mode=TlsMode.OFF,
            permissions=None,
            timeouts=defaults.INBOUND_TIMEOUTS,
        ),
        Cluster(name="payment_8080", protocol=Protocol.HTTP, timeouts=defaults.OUTBOUND_TIMEOUTS),
        ClusterEndpoints(
            cluster="payment_8080",
            endpoints=(
                Endpoint(name="payment-1", address=Address("10.0.0.2", 8080), zone="eu-1"),
                Endpoint(name="payment-2", address=Address("10.0.0.3", 8080), zone="eu-2"),
            ),
        ),
        OutboundListener(
            name="127.0.0.1:10001",
            address=Address("127.0.0.1", 10001),
            protocol=Protocol.HTTP,
            routes=(
                Route(
                    name="payment_8080",
                    backends=(Backend(cluster="payment_8080"),),
                    retry=DEFAULT_RETRY,
                    timeouts=defaults.OUTBOUND_TIMEOUTS,
                ),
            ),
            retry_connects_max=2,
        ),
    )


def test_an_identity_brings_certificates_trust_and_mutual_tls() -> None:
    built = snapshot(IDENTITY)
    assert built.parts["identity"] == IdentityPart(
        spiffe_id="spiffe://shop.eu-1.mesh.local/workload/web", certificate_lifetime_s=86400.0
    )
    assert built.of_kind("trust") == tuple(
        TrustPart(trust_domain=domain, roots_pem=roots) for domain, roots in TRUST.items()
    )
    assert cluster(built).tls == UpstreamTls(
        expected_peers=(
            "spiffe://shop.eu-1.mesh.local/workload/payment",
            "spiffe://shop.eu-2.mesh.local/workload/payment",
        ),
        sni="8080.payment.shop.mesh.local",
    )
    assert inbound(built).tls_mode is TlsMode.STRICT


def test_with_an_identity_everybody_is_denied_until_allowed() -> None:
    assert inbound(snapshot(IDENTITY)).permissions == Permissions()
    prefix = {"type": "Prefix", "value": "spiffe://shop."}
    allow = resource("MeshTrafficPermission", "p", spec={"rules": [{"default": {"allow": [{"spiffeID": prefix}]}}]})
    allowed = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://shop.", origin="p")
    assert inbound(snapshot(IDENTITY, allow)).permissions == Permissions(allow=(allowed,))
    assert inbound(snapshot(allow)).permissions is None


def test_permissive_mode_is_told_to_inbounds_with_an_identity() -> None:
    tls = resource("MeshTLS", "t", spec={"rules": [{"default": {"mode": "Permissive"}}]})
    assert inbound(snapshot(IDENTITY, tls)).tls_mode is TlsMode.PERMISSIVE
    assert inbound(snapshot(tls)).tls_mode is TlsMode.OFF


def identity(name: str, labels: Mapping[str, str] | None, **spec: Any) -> Resource:
    selector = {} if labels is None else {"selector": {"dataplane": {"matchLabels": labels}}}
    return resource("MeshIdentity", name, spec={**selector, "provider": {"type": "Bundled"}, **spec})


def spiffe_id(built: Snapshot) -> str | None:
    part = built.parts.get("identity")
    assert part is None or isinstance(part, IdentityPart)
    return part.spiffe_id if part else None


def test_the_identity_with_most_labels_counts_then_the_smallest_name() -> None:
    everybody = identity("z", {}, spiffeID={"trustDomain": "everybody"})
    web = identity("y", {"kuma.io/workload": "web"}, spiffeID={"trustDomain": "web"})
    twin = identity("x", {"kuma.io/zone": "eu-1"}, spiffeID={"trustDomain": "twin"})
    nobody = identity("a", None, spiffeID={"trustDomain": "nobody"})
    assert spiffe_id(snapshot(nobody)) is None
    assert spiffe_id(snapshot(everybody, nobody)) == "spiffe://everybody/workload/web"
    assert spiffe_id(snapshot(everybody, web)) == "spiffe://web/workload/web"
    assert spiffe_id(snapshot(everybody, web, twin)) == "spiffe://twin/workload/web"


def test_templates_name_the_proxys_mesh_zone_workload_and_labels() -> None:
    naming = {"trustDomain": "{{.Mesh}}.{{ .Zone }}", "path": '/{{ label "kuma.io/zone" }}/{{ .Workload }}'}
    assert spiffe_id(snapshot(identity("i", {}, spiffeID=naming))) == "spiffe://shop.eu-1/eu-1/web"
    zoneless = DataplaneState(
        resource=resource(
            "Dataplane", "d", labels={"kuma.io/workload": "d"}, networking={"address": "10.0.0.9", "inbound": []}
        )
    )
    assert spiffe_id(snapshot(IDENTITY, of="d", d=zoneless)) == "spiffe://shop.default.mesh.local/workload/d"


def test_a_proxy_that_cannot_hold_its_identity_is_named_and_not_called() -> None:
    unnamed = DataplaneState(
        resource=attrs.evolve(PAYMENTS["payment-1"].resource, name="payment-3", labels={"app": "payment"})
    )
    service = resource(
        "MeshService",
        "payment",
        spec={"selector": {"dataplaneLabels": {}}, "ports": [{"port": 8080, "appProtocol": "http"}]},
    )
    with pytest.raises(
        ConfigError, match=r"Dataplane 'payment-3' cannot hold an identity: .* no label kuma.io/workload"
    ):
        snapshot(IDENTITY, of="payment-3", payment_3=unnamed)
    built = snapshot(IDENTITY, service, payment_3=unnamed)
    # It does not lower the service to plaintext for the others either.
    assert "payment-3" not in endpoints(built) and cluster(built).tls is not None


def test_a_service_is_called_in_plaintext_while_some_of_it_has_no_identity() -> None:
    half = identity("i", {"kuma.io/zone": "eu-1"})
    built = snapshot(half)
    assert spiffe_id(built) is not None and cluster(built).tls is None


def test_a_caller_without_an_identity_calls_in_plaintext() -> None:
    built = snapshot(identity("i", {"kuma.io/workload": "payment"}))
    assert spiffe_id(built) is None and cluster(built).tls is None
    assert built.of_kind("trust") == ()


def test_endpoints_that_are_not_ready_are_told_as_unhealthy() -> None:
    built = snapshot(
        payment_1=proxy("payment-1", "10.0.0.2", ready={"8080": False}),
        payment_3=proxy("payment-3", "10.0.0.4", ready={"8080": True}),
        payment_4=proxy("payment-4", "10.0.0.5", inbound={"state": "NotReady"}, ready={"8080": True}),
        payment_5=proxy("payment-5", "10.0.0.6", inbound={"state": "Ignored"}),
        payment_6=proxy("payment-6", "10.0.0.7", inbound={"name": "main"}, ready={"main": False}),
    )
    assert endpoints(built) == {
        "payment-1": False,
        "payment-2": True,
        "payment-3": True,
        "payment-4": False,
        "payment-6": False,
    }


def test_an_ignored_inbound_is_not_listened_on() -> None:
    ignored = proxy("payment-5", "10.0.0.6", inbound={"state": "Ignored"})
    assert snapshot(of="payment-5", payment_5=ignored).of_kind("inbound") == ()


def test_policies_reach_clusters_and_routes() -> None:
    def to(conf: Any, *services: str) -> list[Any]:
        refs = [{"kind": "MeshService", "labels": {"kuma.io/display-name": name}} for name in services]
        return [{"targetRef": ref, "default": conf} for ref in refs or [{"kind": "Mesh"}]]

    limits = {"connectionLimits": {"maxRequests": 7}}
    built = snapshot(
        resource("MeshRetry", "r", spec={"to": [*to({"http": {"numRetries": 1, "retryOn": ["5xx"]}})]}),
        resource("MeshRetry", "other", spec={"to": to({"http": {"numRetries": 0}}, "accounts")}),
        resource("MeshTimeout", "t", spec={"to": to({"http": {"requestTimeout": "2s"}}, "payment")}),
        resource("MeshTimeout", "i", spec={"rules": [{"default": {"http": {"requestTimeout": "9s"}}}]}),
        resource("MeshCircuitBreaker", "c", spec={"to": to(limits), "rules": [{"default": limits}]}),
        resource("MeshTimeout", "elsewhere", mesh="other", spec={"to": to({"idleTimeout": "1s"})}),
    )
    assert route(built).retry == RetryPolicy(
        retries_max=1,
        conditions=(RetryOn.SERVER_ERROR,),
        per_try_timeout_s=1.0,
        per_try_timeout_derived=True,
        backoff_s_max=0.25,
        host_selection=defaults.HOST_SELECTION,
    )
    expected = Timeouts(connect_s=5.0, request_s=2.0, idle_s=3600.0, stream_idle_s=1800.0, request_headers_s=10.0)
    assert cluster(built).timeouts == route(built).timeouts == expected
    assert cluster(built).circuit_breaking == CircuitBreakingLimits(requests_max=7)
    assert inbound(built).circuit_breaking == CircuitBreakingLimits(requests_max=7)
    assert inbound(built).timeouts == attrs.evolve(defaults.INBOUND_TIMEOUTS, request_s=9.0)


def test_two_services_have_their_own_settings() -> None:
    def to(idle: str, service: str) -> dict[str, Any]:
        ref = {"kind": "MeshService", "labels": {"kuma.io/display-name": service}}
        return {"targetRef": ref, "default": {"idleTimeout": idle}}

    timeout = resource("MeshTimeout", "t", spec={"to": [to("1s", "payment"), to("2s", "web")]})
    caller = proxy("web-2", "10.0.0.8", calls={1: PAYMENT, 2: {"name": "web", "port": 8080}})
    built = snapshot(timeout, of="web-2", web_2=caller)
    assert cluster(built, "payment_8080").timeouts.idle_s == 1.0
    assert cluster(built, "web_8080").timeouts.idle_s == 2.0


def test_policies_for_some_proxies_leave_others_alone() -> None:
    spec = {
        "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": "payment"}},
        "rules": [{"default": {"idleTimeout": "1s"}}],
    }
    timeout = resource("MeshTimeout", "t", spec=spec)
    assert inbound(snapshot(timeout, of="payment-1")).timeouts.idle_s == 1.0
    assert inbound(snapshot(timeout, of="web-1")).timeouts.idle_s == defaults.INBOUND_TIMEOUTS.idle_s


def test_a_written_service_takes_the_place_of_a_made_one() -> None:
    service = resource(
        "MeshService",
        "payment",
        spec={
            "selector": {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": "payment", "kuma.io/zone": "eu-2"}}},
            "ports": [{"port": 80, "targetPort": 8080, "appProtocol": "http"}, {"port": 81, "targetPort": "admin"}],
        },
    )
    caller = proxy("web-2", "10.0.0.8", calls={1: {"name": "payment", "port": 80}, 2: {"name": "payment", "port": 81}})
    built = snapshot(service, of="web-2", web_2=caller)
    assert endpoints(built, "payment_80") == {"payment-2": True}
    assert endpoints(built, "payment_81") == {}
    assert cluster(built, "payment_81").protocol is Protocol.TCP


def test_a_written_service_may_name_one_dataplane() -> None:
    service = resource(
        "MeshService",
        "first",
        spec={"selector": {"dataplaneRef": {"name": "payment-1"}}, "ports": [{"port": 8080}]},
    )
    caller = proxy("web-2", "10.0.0.8", calls={1: {"name": "first", "port": 8080}})
    assert endpoints(snapshot(service, of="web-2", web_2=caller), "first_8080") == {"payment-1": True}


def test_an_outbound_may_name_labels() -> None:
    caller = proxy("web-2", "10.0.0.8", calls={1: {"labels": {"kuma.io/workload": "payment"}, "port": 8080}})
    assert "payment-1" in endpoints(snapshot(of="web-2", web_2=caller))


def test_two_outbounds_to_one_service_share_its_cluster() -> None:
    caller = proxy("web-2", "10.0.0.8", calls={1: PAYMENT, 2: PAYMENT})
    built = snapshot(of="web-2", web_2=caller)
    assert len(built.of_kind("cluster")) == 1 and len(built.of_kind("outbound")) == 2


def test_an_outbound_that_leads_nowhere_has_no_listener_and_is_named() -> None:
    calls = {1: {"name": "nobody", "port": 80}, 2: {"name": "payment", "port": 9}, 3: {"labels": {"a": "b"}, "port": 1}}
    index = MeshIndex.of(view(web_2=proxy("web-2", "10.0.0.8", calls=calls)))
    assert build_snapshot(index, "web-2").of_kind("outbound") == ()
    assert unresolved(index, "web-2") == (
        "127.0.0.1:1: there is no MeshService nobody",
        "127.0.0.1:2: MeshService payment has no port 9",
        "127.0.0.1:3: there is no MeshService a=b",
    )


def test_a_known_service_keeps_its_listener_while_none_of_it_is_left() -> None:
    port = ServicePort(port=8080, target=8080, protocol=Protocol.HTTP)
    alone = MeshView(mesh="shop", dataplanes={"web-1": WEB}, known_ports={"payment": (port,)})
    built = build_snapshot(MeshIndex.of(alone), "web-1")
    assert endpoints(built) == {} and cluster(built).protocol is Protocol.HTTP
    # Once somebody is back, what they say counts.
    back = attrs.evolve(alone, dataplanes={"web-1": WEB, **PAYMENTS})
    assert build_snapshot(MeshIndex.of(back), "web-1") == snapshot()


def test_trust_that_was_written_is_joined_with_what_was_given() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"
    bundles = [{"type": "Pem", "pem": {"value": pem}}]
    trusts = [
        resource("MeshTrust", name, spec={"trustDomain": domain, "caBundles": bundles})
        for name, domain in (("a", "shop.eu-1.mesh.local"), ("b", "partner"), ("c", "partner"))
    ]
    parts = snapshot(IDENTITY, *trusts).of_kind("trust")
    assert parts[:2] == (
        TrustPart(trust_domain="partner", roots_pem=(pem,)),
        TrustPart(trust_domain="shop.eu-1.mesh.local", roots_pem=("root 1", pem)),
    )


def test_every_part_survives_its_encoding() -> None:
    outliers = {"outlierDetection": {"detectors": {"totalFailures": {"consecutive": 5}}}}
    breaker = resource("MeshCircuitBreaker", "c", spec={"to": [{"targetRef": {"kind": "Mesh"}, "default": outliers}]})
    exact = {"spiffeID": {"type": "Exact", "value": "spiffe://a/b"}, "sni": {"type": "Exact", "value": "x"}}
    allow = resource("MeshTrafficPermission", "p", spec={"rules": [{"default": {"deny": [exact]}}]})
    for built in (snapshot(), snapshot(IDENTITY, breaker, allow)):
        for key, part in built.parts.items():
            data = encode_part(part)
            assert decode_part(key, data) == part
            assert encode_part(decode_part(key, data)) == data


def test_versions_depend_on_nothing_but_content() -> None:
    shuffled = MeshView(
        mesh="shop",
        resources=(IDENTITY,),
        dataplanes=dict(sorted(view().dataplanes.items(), reverse=True)),
        trust=dict(sorted(TRUST.items(), reverse=True)),
    )
    again = build_snapshot(MeshIndex.of(shuffled), "web-1")
    assert again.version() == snapshot(IDENTITY).version() != snapshot().version()
    assert json.loads(encode_part(again.parts["identity"]))["certificate_lifetime_s"] == 86400.0


def test_a_proxy_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        snapshot(of="nobody-1")
