"""What the policies come to at one inbound: limits, faults and timeouts by caller, and the TLS of a mesh."""

from collections.abc import Mapping
from typing import Any

import pytest

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.snapshot import Cluster, InboundListener, Snapshot, decode_part, encode_part
from mesh.config.translation.callers import bytes_per_s
from mesh.config.view import DataplaneState, MeshView
from mesh.model.security import TlsParameters, TlsVersion
from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.routing import HeaderChanges
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

WEB, MESH_ID = "spiffe://m/web", "spiffe://m/"
OF_WEB = PeerMatch(spiffe_id=WEB)
OF_MESH = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id=MESH_ID)
EVERYBODY = PeerMatch()
IDENTITY_SPEC = {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}}


def resource(kind: str, name: str, **fields: Any) -> Resource:
    return load_resource({"type": kind, "name": name, "mesh": "m", **fields}, file="test")


IDENTITY = resource("MeshIdentity", "id", spec=IDENTITY_SPEC)


def proxy(name: str, protocol: str = "http") -> DataplaneState:
    workload = name.rpartition("-")[0]
    networking: dict[str, Any] = {
        "address": "10.0.0.1" if workload == "a" else "10.0.0.2",
        "inbound": [{"port": 80, "servicePort": 8080, "protocol": protocol}],
    }
    if workload == "a":
        networking["outbound"] = [{"port": 1000, "backendRef": {"kind": "MeshService", "name": "b", "port": 80}}]
    return DataplaneState(
        resource=resource("Dataplane", name, labels={"kuma.io/workload": workload}, networking=networking)
    )


def snapshot(*policies: Resource, of: str = "b-1", protocol: str = "http", identities: bool = True) -> Snapshot:
    dataplanes = {"a-1": proxy("a-1"), "b-1": proxy("b-1", protocol)}
    resources = (IDENTITY, *policies) if identities else policies
    return build_snapshot(MeshIndex.of(MeshView(mesh="m", resources=resources, dataplanes=dataplanes)), of)


def inbound(built: Snapshot) -> InboundListener:
    part = built.parts["inbound/80"]
    assert isinstance(part, InboundListener)
    assert decode_part("inbound/80", encode_part(part)) == part
    return part


def match(value: str, kind: str = "Exact") -> dict[str, Any]:
    return {"spiffeID": {"type": kind, "value": value}}


def policy(kind: str, *rules: Mapping[str, Any], name: str = "p") -> Resource:
    return resource(kind, name, spec={"targetRef": {"kind": "Dataplane"}, "rules": list(rules)})


def http_limit(num: int, **more: Any) -> dict[str, Any]:
    return {"local": {"http": {"requestRate": {"num": num, "interval": "2s"}, **more}}}


def test_rate_limits_are_merged_by_caller_most_specific_first() -> None:
    answer = {
        "status": 503,
        "headers": {"set": [{"name": "x-a", "value": "1"}], "add": [{"name": "x-b", "value": "2"}]},
    }
    found = inbound(
        snapshot(
            policy(
                "MeshRateLimit",
                {"default": http_limit(5, onRateLimit=answer)},
                {"matches": [match(WEB)], "default": http_limit(1)},
                {"matches": [match(MESH_ID, "Prefix")], "default": {"local": {"http": {"disabled": True}}}},
            )
        )
    )
    headers = HeaderChanges(set=(("x-a", "1"),), add=(("x-b", "2"),))
    # What says `disabled` for all of the mesh also says it for web, until web's own rule says otherwise.
    assert found.rate_limits == (
        CallerRateLimit(match=OF_WEB, limit=None),
        CallerRateLimit(match=OF_MESH, limit=None),
        CallerRateLimit(
            limit=RateLimit(rate=Rate(count=5, interval_s=2.0), status=503, headers=headers),
        ),
    )


def test_rate_limit_of_one_caller_alone() -> None:
    rule = {"matches": [match(WEB)], "default": http_limit(1, disabled=False)}
    limit = RateLimit(rate=Rate(count=1, interval_s=2.0))
    assert inbound(snapshot(policy("MeshRateLimit", rule))).rate_limits == (CallerRateLimit(match=OF_WEB, limit=limit),)


def test_connection_rate_is_for_everybody_and_of_every_protocol() -> None:
    conf = {"local": {"tcp": {"connectionRate": {"num": 3, "interval": "1s"}}}}
    for protocol in ("http", "tcp"):
        found = inbound(snapshot(policy("MeshRateLimit", {"default": conf}), protocol=protocol))
        assert found.connection_rate == Rate(count=3, interval_s=1.0)
        assert found.rate_limits == ()
    off = {"local": {"tcp": {"disabled": True}}}
    assert inbound(snapshot(policy("MeshRateLimit", {"default": conf}, {"default": off}))).connection_rate is None


def test_opaque_inbounds_have_no_requests_to_act_on() -> None:
    fault = {"http": [{"abort": {"httpStatus": 500, "percentage": 10}}]}
    timeout = {"matches": [match(WEB)], "default": {"http": {"requestTimeout": "1s"}}}
    found = inbound(
        snapshot(
            policy("MeshRateLimit", {"default": http_limit(1)}),
            policy("MeshFaultInjection", {"default": fault}),
            policy("MeshTimeout", timeout),
            protocol="tcp",
        )
    )
    assert (found.rate_limits, found.faults, found.caller_timeouts) == ((), (), ())


def test_each_matching_fault_is_there() -> None:
    own = {"http": [{"abort": {"httpStatus": 500, "percentage": "2.5"}}, {"delay": {"value": "5s", "percentage": 5}}]}
    slow = {"http": [{"responseBandwidth": {"limit": "50Mbps", "percentage": 100}}]}
    found = inbound(
        snapshot(policy("MeshFaultInjection", {"default": slow}, {"matches": [match(WEB)], "default": own}))
    )
    assert found.faults == (
        Fault(match=OF_WEB, abort=Abort(status=500, percent=2.5)),
        Fault(match=OF_WEB, delay=Delay(delay_s=5.0, percent=5)),
        Fault(response_bandwidth=ResponseBandwidth(bytes_per_s=6_250_000.0, percent=100)),
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("1kbps", 125.0), ("8 kbps", 1000.0), ("1.5Mbps", 187_500.0), ("2Gbps", 250_000_000.0)]
)
def test_bandwidth_is_bits_in_a_second(text: str, expected: float) -> None:
    assert bytes_per_s(text) == expected


def test_timeouts_by_caller_build_on_those_of_everybody() -> None:
    base = {"idleTimeout": "9s", "http": {"requestTimeout": "3s", "streamIdleTimeout": "4s"}}
    own = {"matches": [match(WEB)], "default": {"http": {"requestTimeout": "1s"}}}
    found = inbound(snapshot(policy("MeshTimeout", own, {"default": base})))
    assert (found.timeouts.request_s, found.timeouts.idle_s) == (3.0, 9.0)
    (caller,) = found.caller_timeouts
    assert caller.match == OF_WEB
    assert (caller.timeouts.request_s, caller.timeouts.stream_idle_s) == (1.0, 4.0)


def mesh_tls(**conf: Any) -> Resource:
    return resource("MeshTLS", "t", spec={"targetRef": {"kind": "Mesh"}, "rules": [{"default": conf}]})


BOTH = TlsParameters(version_min=TlsVersion.TLS12)
ONLY_12 = TlsParameters(version_min=TlsVersion.TLS12, version_max=TlsVersion.TLS12)
CIPHERS = ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256")


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"mode": "Strict"}, TlsParameters()),
        ({"tlsVersion": {"min": "TLSAuto", "max": "TLSAuto"}}, TlsParameters()),
        ({"tlsVersion": {"min": "TLS12"}}, BOTH),
        ({"tlsVersion": {"min": "TLS10", "max": "TLS13"}}, BOTH),
        ({"tlsVersion": {"max": "TLS12"}}, ONLY_12),
        ({"tlsVersion": {"min": "TLSAuto", "max": "TLS12"}}, ONLY_12),
        ({"tlsVersion": {"min": "TLS13"}}, TlsParameters()),
        ({"tlsCiphers": list(CIPHERS)}, TlsParameters()),
        (
            {"tlsVersion": {"min": "TLS12"}, "tlsCiphers": list(CIPHERS)},
            TlsParameters(version_min=TlsVersion.TLS12, ciphers=CIPHERS),
        ),
    ],
)
def test_both_sides_of_a_mesh_speak_the_same_tls(conf: dict[str, Any], expected: TlsParameters) -> None:
    assert inbound(snapshot(mesh_tls(**conf))).tls_parameters == expected
    cluster = snapshot(mesh_tls(**conf), of="a-1").parts["cluster/b_80"]
    assert isinstance(cluster, Cluster) and cluster.tls is not None
    assert cluster.tls.parameters == expected


def test_versions_that_exclude_each_other_end_in_the_safer_one() -> None:
    lower = resource("MeshTLS", "a", spec={"rules": [{"default": {"tlsVersion": {"max": "TLS12"}}}]})
    higher = resource("MeshTLS", "b", spec={"rules": [{"default": {"tlsVersion": {"min": "TLS13"}}}]})
    assert inbound(snapshot(lower, higher)).tls_parameters == TlsParameters()


def test_without_identities_there_is_no_tls_to_speak_of() -> None:
    assert inbound(snapshot(mesh_tls(tlsVersion={"min": "TLS12"}), identities=False)).tls_parameters == TlsParameters()


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (policy("MeshRateLimit", {"default": http_limit(1)}), ()),
        (policy("MeshFaultInjection", {"default": {"http": []}}), ()),
        (policy("MeshTimeout", {"matches": [match(WEB)], "default": {"http": {"requestTimeout": "1s"}}}), ()),
        (
            resource("MeshRateLimit", "g", spec={"to": [{"targetRef": {"kind": "Mesh"}, "default": http_limit(1)}]}),
            ("'to' is kept, but it is for delegated gateways",),
        ),
        (
            resource(
                "MeshFaultInjection", "g", spec={"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": []}}]}
            ),
            ("'to' is kept, but it is for delegated gateways",),
        ),
        (mesh_tls(tlsVersion={"min": "TLS11"}), ("'TLS11' is kept, but sidecars speak nothing older than TLS 1.2",)),
        (mesh_tls(tlsCiphers=["ECDHE-ECDSA-AES128-GCM-SHA256"]), ("TLS 1.3 has no ciphers to choose among",)),
        (
            mesh_tls(tlsVersion={"min": "TLS12"}, tlsCiphers=["ECDHE-RSA-AES128-GCM-SHA256"]),
            ("sidecars can agree on none of them",),
        ),
    ],
)
def test_what_has_no_effect_is_said(resources: Resource, said: tuple[str, ...]) -> None:
    warnings = [str(warning) for warning in resources.warnings]
    assert len(warnings) == len(said)
    assert all(text in warning for text, warning in zip(said, warnings, strict=True)), warnings
