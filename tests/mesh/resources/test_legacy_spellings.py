"""2.14's spellings are read as what they mean in 3.0, with warnings that name the replacement and the place."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mesh.model.errors import ConfigError
from mesh.resources.loading import load_resource, load_resources, load_values
from mesh.resources.resource import Resource
from mesh.resources.writing import canonical_spec, universal

Documents = Mapping[str, Any]


def read(*documents: Documents) -> list[Resource]:
    return load_values(documents, file="f")


def refused(*documents: Documents) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*documents)
    return [str(violation) for violation in caught.value.violations]


def policy(kind: str, spec: Mapping[str, Any], **envelope: Any) -> dict[str, Any]:
    return {"type": kind, "name": "p", "mesh": "m", **envelope, "spec": spec}


def warnings(resource: Resource) -> list[str]:
    return [str(warning) for warning in resource.warnings]


EVERYBODY = {"kind": "Mesh"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"kind": "MeshSubset", "tags": {"kuma.io/service": "web", "version": "v1"}},
            {"kind": "Dataplane", "labels": {"kuma.io/workload": "web", "version": "v1"}},
        ),
        ({"kind": "MeshSubset"}, {"kind": "Dataplane"}),
        ({"kind": "MeshService", "name": "web"}, {"kind": "Dataplane", "labels": {"kuma.io/workload": "web"}}),
        (
            {"kind": "MeshServiceSubset", "name": "web", "tags": {"kuma.io/zone": "east"}},
            {"kind": "Dataplane", "labels": {"kuma.io/workload": "web", "kuma.io/zone": "east"}},
        ),
        (
            {"kind": "Dataplane", "name": "dp", "namespace": "ns"},
            {"kind": "Dataplane", "labels": {"kuma.io/display-name": "dp", "k8s.kuma.io/namespace": "ns"}},
        ),
        ({"kind": "Mesh", "proxyTypes": ["Sidecar", "Gateway"]}, {"kind": "Mesh"}),
        ({"kind": "Mesh", "mesh": "m"}, {"kind": "Mesh"}),
    ],
)
def test_policies_select_by_labels(before: Any, after: Any) -> None:
    (resource,) = read(
        policy("MeshRetry", {"targetRef": before, "to": [{"targetRef": EVERYBODY, "default": {"tcp": {}}}]})
    )
    spec: Any = canonical_spec(resource)
    assert spec["targetRef"] == after
    assert resource.written["spec"]["targetRef"] == after  # type: ignore[index,call-overload]
    assert any("since Kuma 3.0 (rewritten:" in warning for warning in warnings(resource))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"kind": "MeshService", "name": "db"}, {"kind": "MeshService", "labels": {"kuma.io/display-name": "db"}}),
        (
            {"kind": "MeshService", "name": "db_demo_svc_5432"},
            {
                "kind": "MeshService",
                "labels": {"kuma.io/display-name": "db", "k8s.kuma.io/namespace": "demo"},
                "sectionName": "5432",
            },
        ),
        (
            {"kind": "MeshService", "name": "db", "namespace": "demo", "sectionName": "main"},
            {
                "kind": "MeshService",
                "labels": {"kuma.io/display-name": "db", "k8s.kuma.io/namespace": "demo"},
                "sectionName": "main",
            },
        ),
        (
            {"kind": "MeshExternalService", "name": "api"},
            {"kind": "MeshExternalService", "labels": {"kuma.io/display-name": "api"}},
        ),
        ({"kind": "MeshHTTPRoute", "name": "r"}, {"kind": "MeshHTTPRoute", "labels": {"kuma.io/display-name": "r"}}),
    ],
)
def test_destinations_are_chosen_by_labels(before: Any, after: Any) -> None:
    (resource,) = read(policy("MeshTimeout", {"to": [{"targetRef": before, "default": {"idleTimeout": "1s"}}]}))
    spec: Any = canonical_spec(resource)
    assert spec["to"][0]["targetRef"] == after


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"kind": "MeshGateway", "name": "g"}, "'MeshGateway' is gone: write kind: Dataplane with labels"),
        (
            {"kind": "MeshService", "labels": {"a": "b"}},
            "'MeshService' is gone at the top: select the proxies with kind",
        ),
        ({"kind": "MeshHTTPRoute", "name": "r"}, "'MeshHTTPRoute' is gone at the top"),
        ({"kind": "MeshService", "name": "db_demo_svc_5432"}, "'MeshService' is gone at the top"),
        ({"kind": "Mesh", "proxyTypes": ["Gateway"]}, "'proxyTypes' is not supported (select by labels)"),
        ({"kind": "Mesh", "mesh": "other"}, "'mesh' is not supported (a policy is about its own mesh)"),
        ({"kind": "MeshSubset", "tags": {"kuma.io/protocol": "http"}}, "'MeshSubset' is gone: write kind: Dataplane"),
    ],
)
def test_what_would_mean_something_else_is_refused(target: Any, expected: str) -> None:
    spec = {"targetRef": target, "to": [{"targetRef": EVERYBODY, "default": {"tcp": {}}}]}
    assert any(expected in violation for violation in refused(policy("MeshRetry", spec)))


def test_from_becomes_rules() -> None:
    spec = {
        "targetRef": {"kind": "MeshSubset", "tags": {"app": "x"}},
        "from": [{"targetRef": EVERYBODY, "default": {"connectionLimits": {"maxRequests": 3}}}],
        "to": [{"targetRef": EVERYBODY, "default": {"connectionLimits": {"maxRequests": 4}}}],
    }
    (resource,) = read(policy("MeshCircuitBreaker", spec))
    assert canonical_spec(resource) == {
        "targetRef": {"kind": "Dataplane", "labels": {"app": "x"}},
        "to": spec["to"],
        "rules": [{"default": {"connectionLimits": {"maxRequests": 3}}}],
    }
    assert "f[0]: spec.from: 'from' is gone since Kuma 3.0 (rewritten: rules)" in warnings(resource)


def test_a_timeout_for_both_sides_becomes_two_of_the_same_rank() -> None:
    spec = {
        "from": [{"targetRef": EVERYBODY, "default": {"idleTimeout": "1s"}}],
        "to": [{"targetRef": EVERYBODY, "default": {"idleTimeout": "2s"}}],
    }
    outbound, inbound = read(policy("MeshTimeout", spec, labels={"a": "b"}))
    assert (outbound.name, canonical_spec(outbound)) == ("p", {"to": spec["to"]})
    assert (inbound.name, inbound.display_name, inbound.labels["a"]) == ("p-rules", "p", "b")
    assert canonical_spec(inbound) == {"rules": [{"default": {"idleTimeout": "1s"}}]}
    assert any("a second policy 'p-rules'" in warning for warning in warnings(outbound))
    with pytest.raises(
        ConfigError, match=r"this is several resources since Kuma 3\.0: MeshTimeout p, MeshTimeout p-rules"
    ):
        load_resource(policy("MeshTimeout", spec), file="f")


def test_rules_of_rate_limits_select_dataplanes() -> None:
    limit = {"local": {"http": {"requestRate": {"num": 1, "interval": "1s"}}}}
    spec = {
        "targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]},
        "from": [{"targetRef": EVERYBODY, "default": limit}],
    }
    (resource,) = read(policy("MeshRateLimit", spec))
    rules: Any = canonical_spec(resource)
    assert rules["targetRef"] == {"kind": "Dataplane"} and len(rules["rules"]) == 1


def permission(*items: tuple[Any, str]) -> dict[str, Any]:
    return policy("MeshTrafficPermission", {"from": [{"targetRef": r, "default": {"action": a}} for r, a in items]})


WEB = {"kind": "MeshSubset", "tags": {"kuma.io/service": "web"}}
ANYBODY = {"spiffeID": {"type": "Prefix", "value": "spiffe://"}}


@pytest.mark.parametrize(
    ("action", "name"), [("Allow", "allow"), ("AllowWithShadowDeny", "allowWithShadowDeny"), ("Deny", "deny")]
)
def test_actions_become_lists(action: str, name: str) -> None:
    (resource,) = read(permission((EVERYBODY, action)))
    assert canonical_spec(resource) == {"rules": [{"default": {name: [ANYBODY]}}]}
    assert any(f"rewritten: the list '{name}'" in warning for warning in warnings(resource))


def test_callers_by_service_are_refused_where_their_spiffe_id_is_not_known() -> None:
    (found,) = refused(permission((WEB, "Allow"), (EVERYBODY, "Allow")))
    assert found == (
        "f[0]: spec.from[0].targetRef: callers are matched by SPIFFE ID, which cannot be told from this (write rules:"
        " [{default: {allow: [{spiffeID: {type: Exact, value: spiffe://TRUST-DOMAIN/workload/web}}]}}])"
    )
    fault = {"from": [{"targetRef": WEB, "default": {"http": [{"abort": {"httpStatus": 500, "percentage": 1}}]}}]}
    (found,) = refused(policy("MeshFaultInjection", fault))
    assert (
        "write rules: [{matches: [{spiffeID: {type: Exact, value: spiffe://TRUST-DOMAIN/workload/web}}], default"
        in found
    )


MTLS = {
    "type": "Mesh",
    "name": "m",
    "mtls": {
        "enabledBackend": "ca-1",
        "backends": [
            {"name": "ca-0", "type": "vault"},
            {"name": "ca-1", "type": "builtin", "dpCert": {"rotation": {"expiration": "2d"}}, "mode": "PERMISSIVE"},
        ],
    },
}


def test_mtls_becomes_resources_that_keep_the_spiffe_ids() -> None:
    mesh, identity, tls = read(MTLS)
    assert universal(mesh) == {"type": "Mesh", "name": "m"}
    assert (identity.kind, identity.mesh, identity.name) == ("MeshIdentity", "m", "mtls")
    spec: Any = canonical_spec(identity)
    assert spec["spiffeID"] == {"trustDomain": "{{ .Mesh }}", "path": "/{{ .Workload }}"}
    assert spec["provider"]["bundled"]["certificateParameters"] == {"expiry": "48h0m0s"}
    assert canonical_spec(tls) == {"targetRef": EVERYBODY, "rules": [{"default": {"mode": "Permissive"}}]}
    assert "rewritten: a MeshIdentity 'mtls'" in warnings(mesh)[0]


def test_callers_by_service_are_known_beside_the_mtls_of_their_mesh() -> None:
    *_, resource = read(MTLS, permission((WEB, "Allow"), ({"kind": "MeshService", "name": "db"}, "Deny")))
    assert canonical_spec(resource) == {
        "rules": [
            {"default": {"allow": [{"spiffeID": {"type": "Exact", "value": "spiffe://m/web"}}]}},
            {"default": {"deny": [{"spiffeID": {"type": "Exact", "value": "spiffe://m/db"}}]}},
        ]
    }
    texts = {"policy.yaml": json.dumps(permission((WEB, "Allow"))), "zz-mesh.yaml": json.dumps(MTLS)}
    assert [one.kind for one in load_resources(texts)] == ["MeshTrafficPermission", "Mesh", "MeshIdentity", "MeshTLS"]


def test_a_deny_for_everybody_beside_an_allow_is_refused() -> None:
    (found,) = refused(MTLS, permission((WEB, "Allow"), (EVERYBODY, "Deny")))
    assert found == (
        "f[1]: spec.from[1].default.action: since Kuma 3.0 a deny for everybody wins over every allow"
        " (leave this item out: who is not allowed is denied)"
    )


def test_an_authority_of_ones_own_is_refused_where_it_was_written() -> None:
    conf = {"cert": {"secret": "c"}, "key": {"inlineString": "hunter2"}}
    backends = [{"name": "own", "type": "provided", "conf": conf}]
    (found,) = refused({"type": "Mesh", "name": "m", "mtls": {"enabledBackend": "own", "backends": backends}})
    assert found.startswith(
        "f[0]: mtls.backends[0].conf: this control plane issues by an authority that it makes itself"
    )
    vault = {"enabledBackend": "v", "backends": [{"name": "v", "type": "vault"}]}
    (found,) = refused({"type": "Mesh", "name": "m", "mtls": vault})
    assert found.startswith("f[0]: mtls.backends[0].type: certificates cannot be issued by this backend")
    (found,) = refused({"type": "Mesh", "name": "m", "mtls": {"enabledBackend": "x", "backends": []}})
    assert found.startswith("f[0]: mtls.enabledBackend: there is no backend 'x'")


def test_the_rest_of_the_mesh_is_rewritten_or_refused() -> None:
    fields = {
        "mtls": {"backends": []},
        "networking": {"outbound": {"passthrough": False}},
        "meshServices": {"mode": "Exclusive"},
        "routing": {},
    }
    mesh, passthrough = read({"type": "Mesh", "name": "m", **fields})
    assert len(mesh.warnings) == 4
    assert universal(passthrough) == {
        "type": "MeshPassthrough",
        "mesh": "m",
        "name": "passthrough",
        "spec": {"default": {"passthroughMode": "None"}},
    }
    (mesh,) = read({"type": "Mesh", "name": "m", "networking": {"outbound": {"passthrough": True}}})
    assert universal(mesh) == {"type": "Mesh", "name": "m"}
    (found,) = refused({"type": "Mesh", "name": "m", "metrics": {"enabledBackend": "p"}})
    assert found == "f[0]: metrics: 'metrics' is not supported (write a MeshMetric)"


def test_a_dataplanes_tags_become_labels() -> None:
    inbound = {"port": 80, "servicePort": 81, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http", "v": "1"}}
    other = {"port": 82, "servicePort": 83, "protocol": "kafka", "tags": {"kuma.io/service": "web"}}
    networking = {
        "address": "10.0.0.1",
        "inbound": [inbound, other],
        "transparentProxying": {"reachableServices": ["db", "cache"]},
    }
    (resource,) = read({"type": "Dataplane", "name": "d", "networking": networking})
    assert resource.labels == {"kuma.io/workload": "web", "v": "1"}
    spec: Any = canonical_spec(resource)
    assert [one["protocol"] for one in spec["networking"]["inbound"]] == ["http", "tcp"]
    assert spec["networking"]["transparentProxying"]["reachableBackends"]["refs"][1] == {
        "kind": "MeshService",
        "labels": {"kuma.io/display-name": "cache"},
    }
    gateway = {"address": "10.0.0.1", "gateway": {"type": "DELEGATED", "tags": {"kuma.io/service": "edge"}}}
    (resource,) = read({"type": "Dataplane", "name": "d", "networking": gateway})
    assert resource.labels == {"kuma.io/workload": "edge"}


def test_tags_that_are_not_the_whole_proxys_make_no_label() -> None:
    inbounds = [
        {"port": 80, "servicePort": 81, "tags": {"kuma.io/service": "web", "tier": "gold", "team": "a"}},
        {"port": 82, "servicePort": 83, "tags": {"kuma.io/display-name": "api", "tier": "tin"}},
    ]
    written = {"type": "Dataplane", "name": "d", "networking": {"address": "10.0.0.1", "inbound": inbounds}}
    message = "'tier' differs between inbounds, and labels are the whole proxy's (leave it out"
    with pytest.raises(ConfigError) as caught:
        read(written)
    assert str(caught.value).count(message) == 2
    (resource,) = load_resources({"f": json.dumps(written)}, lenient=True)
    assert resource.labels == {"kuma.io/workload": "web", "team": "a"}
    assert resource.display_name == "d"
    told = " ".join(warnings(resource))
    assert told.count(message) == 2
    assert "'kuma.io/display-name' of an inbound is not the proxy's (rewritten: left out)" in told


def test_a_label_of_the_proxy_stands_against_tags_that_differ() -> None:
    inbounds = [{"port": port, "servicePort": 1, "tags": {"tier": f"t{port}"}} for port in (80, 82)]
    written = {"type": "Dataplane", "name": "d", "labels": {"tier": "gold"}}
    (resource,) = read({**written, "networking": {"address": "10.0.0.1", "inbound": inbounds}})
    assert resource.labels == {"tier": "gold"}


def test_a_dataplane_that_says_too_little_or_two_things_is_refused() -> None:
    inbounds = [
        {"port": 80, "servicePort": 81, "tags": {"kuma.io/service": "web"}},
        {"port": 82, "servicePort": 83, "tags": {"kuma.io/service": "admin"}},
    ]
    networking = {
        "address": "10.0.0.1",
        "advertisedAddress": "192.0.2.1",
        "inbound": inbounds,
        "outbound": [{"port": 1, "tags": {"kuma.io/service": "db"}}],
    }
    assert [
        found.partition(" (")[0] for found in refused({"type": "Dataplane", "name": "d", "networking": networking})
    ] == [
        "f[0]: networking.inbound[1].tags[kuma.io/service]: 'kuma.io/service' differs from the Dataplane's"
        " kuma.io/workload: web",
        "f[0]: networking.outbound[0].tags: 'tags' are gone since Kuma 3.0, and do not say which port of the service is meant",
        "f[0]: networking.advertisedAddress: 'advertisedAddress' is not supported",
    ]


def test_places_are_those_of_what_was_written() -> None:
    text = """
type: MeshHTTPRoute
name: r
spec:
  targetRef: {kind: MeshService, name: web}
  to:
    - targetRef: {kind: MeshService, name: backend}
      rules:
        - matches: [{path: {type: PathPrefix, value: v1}}]
          default:
            backendRefs:
              - {kind: MeshService, name: backend_demo_svc_80, weigt: 3}
"""
    with pytest.raises(ConfigError) as caught:
        load_resources({"f.yaml": text})
    assert [str(violation).partition(" (")[0] for violation in caught.value.violations] == [
        "f.yaml:9:47: spec.to[0].rules[0].matches[0].path.value: expects an absolute path, got 'v1'",
        "f.yaml:12:64: spec.to[0].rules[0].default.backendRefs[0].weigt: unknown key 'weigt'",
    ]
    fixed = text.replace("value: v1", "value: /v1").replace("weigt", "weight")
    (resource,) = load_resources({"f.yaml": fixed})
    assert [str(warning).partition(" (")[0] for warning in resource.warnings[:3]] == [
        "f.yaml:5:15: spec.targetRef.kind: kind MeshService is gone at the top since Kuma 3.0",
        "f.yaml:7:38: spec.to[0].targetRef.name: 'name' in a reference is gone since Kuma 3.0",
        "f.yaml:12:37: spec.to[0].rules[0].default.backendRefs[0].name: 'name' in a reference is gone since Kuma 3.0",
    ]
    spec: Any = canonical_spec(resource)
    assert spec["to"][0]["rules"][0]["default"]["backendRefs"] == [
        {
            "kind": "MeshService",
            "labels": {"kuma.io/display-name": "backend", "k8s.kuma.io/namespace": "demo"},
            "sectionName": "80",
            "weight": 3,
        }
    ]


def test_subsets_of_services_are_refused_with_what_to_write() -> None:
    backend = {"kind": "MeshServiceSubset", "name": "backend", "tags": {"version": "v2"}}
    rules = [{"matches": [{"method": "GET"}], "default": {"backendRefs": [backend]}}]
    target = {"kind": "MeshService", "labels": {"kuma.io/display-name": "backend"}}
    found = refused(policy("MeshHTTPRoute", {"to": [{"targetRef": target, "rules": rules}]}))
    assert any(
        "'MeshServiceSubset' is gone: write a MeshService of its own for those Dataplanes" in one for one in found
    )


def test_hash_policies_move_out_of_the_balancer() -> None:
    balancer = {"type": "RingHash", "ringHash": {"minRingSize": 8, "hashPolicies": [{"type": "SourceIP"}]}}
    (resource,) = read(
        policy("MeshLoadBalancingStrategy", {"to": [{"targetRef": EVERYBODY, "default": {"loadBalancer": balancer}}]})
    )
    spec: Any = canonical_spec(resource)
    assert spec["to"][0]["default"] == {
        "loadBalancer": {"type": "RingHash", "ringHash": {"minRingSize": 8}},
        "hashPolicies": [{"type": "Connection", "connection": {"sourceIP": True}}],
    }
    assert any("rewritten: default.hashPolicies" in warning for warning in warnings(resource))


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("otel:4317", {"endpoint": {"address": "otel", "port": 4317}, "protocol": "grpc"}),
        ("otel", {"endpoint": {"address": "otel", "port": 4317}, "protocol": "grpc"}),
        ("http://otel/v1", {"endpoint": {"address": "otel", "port": 4318, "path": "/v1"}, "protocol": "http"}),
    ],
)
def test_endpoints_become_backends(endpoint: str, expected: Any) -> None:
    backends = [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": endpoint}}]
    trace, backend = read(policy("MeshTrace", {"default": {"backends": backends}}))
    assert (backend.kind, backend.mesh, backend.name, canonical_spec(backend)) == (
        "MeshOpenTelemetryBackend",
        "m",
        "p-otel",
        expected,
    )
    spec: Any = canonical_spec(trace)
    reference = {"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "p-otel"}}
    assert spec["default"]["backends"][0]["openTelemetry"] == {"backendRef": reference}
    log, *others = read(
        policy("MeshAccessLog", {"from": [{"targetRef": EVERYBODY, "default": {"backends": backends}}]})
    )
    assert log.kind == "MeshAccessLog" and len(others) == 1


def test_endpoints_that_need_tls_are_refused() -> None:
    backends = [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": "https://otel:4317"}}]
    found = refused(policy("MeshTrace", {"default": {"backends": backends}}))
    assert any("'endpoint' is not supported (write a MeshOpenTelemetryBackend" in one for one in found)


def test_metrics_of_what_is_used_are_the_opposite_of_the_unused() -> None:
    (resource,) = read(policy("MeshMetric", {"default": {"sidecar": {"usedOnly": True}}}))
    assert canonical_spec(resource) == {"default": {"sidecar": {"includeUnused": False}}}


def test_services_and_trusts_lose_their_tags_and_origins() -> None:
    spec: Any = {
        "selector": {"dataplaneTags": {"kuma.io/service": "web", "app": "x"}},
        "ports": [{"port": 80}],
        "identities": [{"type": "ServiceTag", "value": "web"}],
    }
    (service,) = read({"type": "MeshService", "name": "web", "mesh": "m", "spec": spec})
    assert canonical_spec(service) == {
        "selector": {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": "web", "app": "x"}}},
        "ports": [{"port": 80}],
        "identities": [{"type": "SpiffeID", "value": "spiffe://m/web"}],
    }
    assert len(service.warnings) == 2
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    trust = {"trustDomain": "d", "caBundles": [{"type": "Pem", "pem": {"value": pem}}], "origin": {"kri": "x"}}
    (resource,) = read({"type": "MeshTrust", "name": "t", "spec": trust})
    assert "origin" not in canonical_spec(resource) and len(resource.warnings) == 1


def test_the_panic_threshold_says_where_it_went() -> None:
    spec = {"to": [{"targetRef": EVERYBODY, "default": {"tcp": {}, "healthyPanicThreshold": 50}}]}
    (found,) = refused(policy("MeshHealthCheck", spec))
    assert "write it into a MeshCircuitBreaker: default.outlierDetection.healthyPanicThreshold" in found


def test_what_was_rewritten_needs_no_rewriting_again() -> None:
    (resource,) = read(
        policy("MeshRetry", {"targetRef": WEB, "to": [{"targetRef": EVERYBODY, "default": {"tcp": {}}}]})
    )
    again = load_resource(universal(resource), file="store")
    assert again == resource and again.warnings == ()
