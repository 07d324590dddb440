"""Kinds of resources: what is taken as Kuma has it, and what is refused, with the place and what to write instead."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.resources.dataplane import BackendRef, Dataplane, InboundState, ServiceProbe
from mesh.resources.loading import load_resource, load_resources
from mesh.resources.mesh import Mesh
from mesh.resources.mesh_identity import MeshIdentity
from mesh.resources.mesh_service import MeshService, ServicePort
from mesh.resources.mesh_trust import MeshTrust
from mesh.resources.policy import Policy, Rule, TargetRef, ToItem
from mesh.resources.registry import KINDS, kind_json_schema
from mesh.resources.resource import Resource

RETAILER = """
{type: MeshIdentity, name: retail, mesh: retail, spec: {selector: {dataplane: {matchLabels: {}}}, provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}, certificateParameters: {expiry: 1h}}}}}
---
{type: MeshTLS, name: strict, mesh: retail, spec: {rules: [{default: {mode: Strict}}]}}
---
{type: MeshTrafficPermission, name: allow, mesh: retail, spec: {targetRef: {kind: Mesh}, rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://retail.}}]}}]}}
---
type: MeshRetry
name: all
mesh: retail
spec:
  targetRef: {kind: Mesh}
  to:
    - targetRef: {kind: Mesh}
      default: {http: {numRetries: 2, perTryTimeout: 400ms, retryOn: [5xx, Reset], backOff: {baseInterval: 25ms, maxInterval: 250ms}}}
    - targetRef: {kind: MeshService, labels: {kuma.io/display-name: payment}}
      default: {http: {numRetries: 0}}
---
type: MeshCircuitBreaker
name: all
mesh: retail
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        connectionLimits: {maxPendingRequests: 64, maxRequests: 128, maxRetries: 3}
        outlierDetection: {interval: 5s, baseEjectionTime: 10s, detectors: {totalFailures: {consecutive: 5}}}
"""  # noqa: E501  # As in the example of the format.


TRIED = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"numRetries": 1}}}]}


def one(text: str) -> Resource:
    (resource,) = load_resources({"f.yaml": text})
    return resource


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_resources({"f.yaml": text})
    return [str(violation) for violation in caught.value.violations]


def policy(kind: str, spec: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, "name": "p", "spec": spec})


def test_to_and_rules_in_one_policy_are_refused_but_can_be_looked_at() -> None:
    both = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {}}], "rules": [{"default": {}}]}
    assert (
        "spec.rules: 'to' and 'rules' exclude each other (write two policies)"
        in refused(policy("MeshTimeout", both))[0]
    )
    (resource,) = load_resources({"f.yaml": policy("MeshTimeout", both)}, lenient=True)
    assert [len(resource.spec_as(Policy).to), len(resource.spec_as(Policy).rules)] == [1, 1]
    (warning,) = map(str, resource.warnings)
    assert "spec.rules: 'to' and 'rules' exclude each other (write two policies)" in warning
    assert one(policy("MeshCircuitBreaker", both)).warnings == ()


def test_policies_may_share_a_name_where_they_are_only_looked_at() -> None:
    twice = f"{policy('MeshRetry', TRIED)}\n---\n{policy('MeshRetry', TRIED)}"
    assert len(refused(twice)) == 1
    first, second = load_resources({"f.yaml": twice}, lenient=True)
    assert first.warnings == ()
    assert [str(warning) for warning in second.warnings] == [
        "f.yaml:3:1: name: MeshRetry 'p' is there twice: both count here, but a control plane refuses the second"
        " (first in f.yaml:1)"
    ]
    service = json.dumps({"type": "MeshService", "name": "s", "spec": {"ports": [{"port": 80}]}})
    with pytest.raises(ConfigError, match="MeshService 's' is there twice"):
        load_resources({"f.yaml": f"{service}\n---\n{service}"}, lenient=True)


def test_the_retailers_resources_load_untouched() -> None:
    resources = load_resources({"retailer.yaml": RETAILER})
    assert [(r.kind, r.name, r.mesh, r.source.line) for r in resources] == [
        ("MeshIdentity", "retail", "retail", 2),
        ("MeshTLS", "strict", "retail", 4),
        ("MeshTrafficPermission", "allow", "retail", 6),
        ("MeshRetry", "all", "retail", 8),
        ("MeshCircuitBreaker", "all", "retail", 19),
    ]
    identity, tls, permission, retry, _ = (resource.spec for resource in resources)
    assert identity == MeshIdentity(match_labels={}, certificate_lifetime_s=3600.0)
    assert tls == Policy(rules=(Rule(default={"mode": "Strict"}),))
    peer = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://retail.")
    assert permission == Policy(rules=(Rule(default={"allow": (peer,)}),))
    assert retry.to[1] == ToItem(
        target=TargetRef(kind="MeshService", labels={"kuma.io/display-name": "payment"}),
        default={"http": {"numRetries": 0}},
    )
    assert retry.to[0].default["http"]["perTryTimeout"] == 0.4


def test_a_dataplane_is_read_with_its_defaults() -> None:
    resource = one("""
type: Dataplane
name: web-1
labels: {kuma.io/workload: web}
networking:
  address: 10.0.0.5
  inbound:
    - {port: 8080, servicePort: 8081, protocol: http, name: main}
    - {port: 9090, serviceAddress: 127.0.0.1, address: 10.0.0.6, state: Ignored, serviceProbe: {interval: 1s, tcp: {}}}
    - {port: 7070, servicePort: 7071, health: {ready: false}}
  outbound:
    - {port: 10001, backendRef: {kind: MeshService, name: redis, port: 6379}}
    - {address: 127.0.0.2, port: 10001, backendRef: {kind: MeshService, labels: {a: b}, port: 80}}
  admin: {port: 9901}
""")
    assert (resource.mesh, resource.display_name) == ("default", "web-1")
    dataplane = resource.spec_as(Dataplane)
    main, second, third = dataplane.inbounds
    assert (main.address, main.application) == (Address("10.0.0.5", 8080), Address("10.0.0.5", 8081))
    assert (main.name, main.protocol, main.state, main.probe) == ("main", Protocol.HTTP, InboundState.READY, None)
    assert (second.address, second.application) == (Address("10.0.0.6", 9090), Address("127.0.0.1", 9090))
    assert (second.name, second.protocol, second.state) == ("9090", Protocol.TCP, InboundState.IGNORED)
    assert second.probe == ServiceProbe(interval_s=1.0, timeout_s=2.0)
    assert third.state is InboundState.NOT_READY
    assert dataplane.outbounds[0].address == Address("127.0.0.1", 10001)
    assert dataplane.outbounds[0].backend == BackendRef(name="redis", port=6379)
    assert dataplane.outbounds[1].backend == BackendRef(labels={"a": "b"}, port=80)
    assert dataplane.admin_port == 9901


def test_a_dataplane_may_only_call() -> None:
    assert one("{type: Dataplane, name: d, networking: {address: 10.0.0.5}}").spec == Dataplane(address="10.0.0.5")


def test_ports_that_collide_are_refused() -> None:
    found = refused("""
type: Dataplane
name: d
networking:
  address: 10.0.0.5
  inbound:
    - {port: 8080}
    - {port: 8080, servicePort: 1}
  outbound:
    - {address: 10.0.0.5, port: 8080, backendRef: {kind: MeshService, name: x, port: 80}}
""")
    assert found == [
        "f.yaml:8:7: networking.inbound[1]: inbound '8080' is there twice (names of inbounds are distinct)",
        "f.yaml:8:7: networking.inbound[1]: 10.0.0.5:8080 is taken by inbound[0] (choose another port)",
        "f.yaml:10:7: networking.outbound[0]: 10.0.0.5:8080 is taken by inbound[0] (choose another port)",
    ]


def test_an_inbound_on_its_application_s_own_port_is_warned_of() -> None:
    resource = one("{type: Dataplane, name: d, networking: {address: 10.0.0.5, inbound: [{port: 8080}]}}")
    assert [str(warning) for warning in resource.warnings] == [
        "f.yaml:1:70: networking.inbound[0]: the proxy and its application would both listen on 10.0.0.5:8080"
        " (set servicePort, or serviceAddress: 127.0.0.1)"
    ]
    assert len(resource.spec.colliding_with_applications()) == 1


def test_a_workload_that_cannot_be_a_name_is_refused() -> None:
    (found,) = refused("{type: Dataplane, name: d, labels: {kuma.io/workload: We b}, networking: {address: a}}")
    assert found.startswith("f.yaml:1:37: labels[kuma.io/workload]: expects a name of lower case letters")


def test_mesh_service_and_trust_are_read() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    service = one("""
type: MeshService
name: backend
spec:
  selector: {dataplaneLabels: {matchLabels: {app: backend}}}
  ports: [{port: 80, targetPort: 8080, name: http, appProtocol: http}, {port: 81, targetPort: main}, {port: 82}]
  identities: [{type: SpiffeID, value: "spiffe://d/workload/backend"}]
""")
    assert service.spec == MeshService(
        match_labels={"app": "backend"},
        ports=(
            ServicePort(port=80, name="http", target=8080, protocol=Protocol.HTTP),
            ServicePort(port=81, target="main"),
            ServicePort(port=82, target=82),
        ),
        spiffe_ids=("spiffe://d/workload/backend",),
    )
    bundles = [{"type": "Pem", "pem": {"value": pem}}]
    trust = one(json.dumps({"type": "MeshTrust", "name": "t", "spec": {"trustDomain": "d", "caBundles": bundles}}))
    assert trust.spec == MeshTrust(trust_domain="d", roots_pem=(pem,))
    mesh = one("{type: Mesh, name: m, skipCreatingInitialPolicies: ['*']}")
    assert mesh.spec == Mesh(skip_initial_policies=("*",)) and mesh.mesh == ""


def test_what_a_server_added_is_taken_and_what_was_written_is_kept() -> None:
    written: dict[str, Any] = {
        "type": "MeshTLS",
        "name": "t",
        "mesh": "m",
        "creationTime": "2026-01-01T00:00:00Z",
        "kri": "kri_mtls_m___t_",
        "status": {"x": 1},
        "spec": {"rules": [{"default": {"mode": "Permissive"}}]},
    }
    resource = load_resource(written, file="store")
    assert resource.written == written
    assert load_resource(json.loads(json.dumps(resource.written)), file="store") == resource


def test_stored_values_that_are_wrong_name_paths() -> None:
    with pytest.raises(ConfigError) as caught:
        load_resource({"type": "MeshTLS", "name": "t", "spec": {"rules": [{"default": {"mode": "x"}}]}}, file="api")
    assert str(caught.value).startswith("api: spec.rules[0].default.mode: expects one of Strict, Permissive")


def test_all_violations_of_all_files_come_at_once() -> None:
    texts = {
        "a.yaml": "type: MeshRetry\nname: A\nspec:\n  to:\n    - targetRef: {kind: Mesh}\n"
        "      default: {http: {numRetrys: 1}}\n---\nb: [\n",
        "b.yaml": "type: MeshTLS\nname: t\nspec: {rules: [{default: {mode: off}}]}\n",
        "c.yaml": "{type: Mesh, name: m}\n---\n{type: Mesh, name: m}\n",
    }
    with pytest.raises(ConfigError) as caught:
        load_resources(texts)
    assert [(v.file, v.line, v.path) for v in caught.value.violations] == [
        ("a.yaml", 2, "name"),
        ("a.yaml", 6, "spec.to[0].default.http.numRetrys"),
        ("a.yaml", 9, ""),
        # One violation for one place: the trap, not what the schema would say of the text after it.
        ("b.yaml", 3, "spec.rules[0].default.mode"),
        ("c.yaml", 3, "name"),
    ]
    assert caught.value.violations[-1].hint == "first in c.yaml:1"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "MeshRetries",
            "unknown kind 'MeshRetries' (did you mean 'MeshRetry'? supported: Mesh, Dataplane, MeshService,",
        ),
        ("ZoneIngress", "kind ZoneIngress is gone since Kuma 3.0 (its place took a Dataplane with listeners"),
        ("TrafficPermission", "kind TrafficPermission is gone since Kuma 3.0 (its place took MeshTrafficPermission)"),
        ("Zebra", "unknown kind 'Zebra' (supported:"),
    ],
)
def test_kinds_that_are_not_there_are_named(kind: str, message: str) -> None:
    (found,) = refused(f"name: x\ntype: {kind}\n")
    assert found.startswith(f"f.yaml:2:1: type: {message}")


def test_what_is_no_resource_is_refused() -> None:
    assert refused("[1]")[0].startswith("f.yaml:1:1: expects a resource, got a list")
    assert refused("a: 1")[0].startswith("f.yaml:1:1: type: 'type' is missing (one of Mesh, Dataplane,")


MESH = {"kind": "Mesh"}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("MeshTimeout", {}, "spec: a MeshTimeout needs at least one item in to or rules"),
        ("MeshTLS", {"to": []}, "spec.to: unknown key 'to'"),
        (
            "MeshTimeout",
            {"to": [{"targetRef": {"kind": "MeshService"}, "default": {}}]},
            "spec.to[0].targetRef: a MeshService is chosen by 'labels'",
        ),
        (
            "MeshTimeout",
            {"targetRef": {"kind": "Mesh", "labels": {"a": "b"}}, "rules": [{"default": {}}]},
            "spec.targetRef.labels: 'labels' cannot stand with kind: Mesh",
        ),
        (
            "MeshRetry",
            {
                "targetRef": {"kind": "Dataplane", "sectionName": "x"},
                "to": [{"targetRef": MESH, "default": {"tcp": {}}}],
            },
            "spec.targetRef.sectionName: 'sectionName' cannot stand here",
        ),
        (
            "MeshTimeout",
            {"to": [{"targetRef": MESH, "default": {"connectionTimeout": "0s"}}]},
            "spec.to[0].default.connectionTimeout: expects a duration such as 250ms, 2s or 1m30s, above 0s, got '0s'",
        ),
        (
            "MeshRetry",
            {"to": [{"targetRef": MESH, "default": {"http": {"retryOn": ["5x"]}}}]},
            "spec.to[0].default.http.retryOn[0]: unknown condition '5x' (did you mean '5xx'? expects one of 5xx,",
        ),
        (
            "MeshRetry",
            {
                "to": [
                    {"targetRef": MESH, "default": {"http": {"backOff": {"baseInterval": "2s", "maxInterval": "1s"}}}}
                ]
            },
            "spec.to[0].default.http.backOff.maxInterval: 'maxInterval' is shorter than 'baseInterval'",
        ),
        (
            "MeshCircuitBreaker",
            {"to": [{"targetRef": MESH, "default": {"outlierDetection": {"interval": "1s"}}}]},
            "spec.to[0].default.outlierDetection: 'outlierDetection' needs at least one detector",
        ),
        (
            "MeshLoadBalancingStrategy",
            {"to": [{"targetRef": MESH, "default": {"loadBalancer": {"type": "Random", "leastRequest": {}}}}]},
            "spec.to[0].default.loadBalancer.leastRequest: 'leastRequest' cannot stand with type: Random",
        ),
        (
            "MeshTLS",
            {"rules": [{"default": {"tlsVersion": {"max": "TLS11"}}}]},
            "spec.rules[0].default.tlsVersion.max: 'TLS11' is insecure: sidecars speak TLS 1.2 and 1.3",
        ),
        (
            "MeshTLS",
            {"targetRef": {"kind": "Dataplane"}, "rules": [{"default": {"tlsVersion": {"min": "TLS12"}}}]},
            "spec.rules[0].default.tlsVersion: 'tlsVersion' needs targetRef: {kind: Mesh}",
        ),
        (
            "MeshTrafficPermission",
            {"rules": [{"default": {"allow": [{}]}}]},
            "spec.rules[0].default.allow[0]: a match needs 'spiffeID' or 'sni'",
        ),
        (
            "MeshTrafficPermission",
            {"rules": [{"default": {"allow": [{"spiffeID": {"type": "Exact", "value": "web"}}]}}]},
            "spec.rules[0].default.allow[0].spiffeID.value: expects a SPIFFE ID, or how one begins, got 'web'",
        ),
        (
            "MeshIdentity",
            {"spiffeID": {"path": "/{{ .Wrkload }}"}, "provider": {"type": "Bundled"}},
            "spec.spiffeID.path: unknown {{ .Wrkload }} in a template; allowed: .Mesh, .Zone, .Workload, label",
        ),
        (
            "MeshIdentity",
            {"provider": {"type": "Spire"}},
            "spec.provider.type: this control plane cannot issue identities by 'Spire' (write type: Bundled with",
        ),
        (
            "MeshService",
            {"ports": [{"port": 80}, {"port": 80}]},
            "spec.ports[1]: port '80' is there twice (first as ports[0])",
        ),
        (
            "MeshTrust",
            {"trustDomain": "d", "caBundles": [{"type": "Pem", "pem": {"value": "x"}}]},
            "spec.caBundles[0].pem.value: expects a certificate in PEM",
        ),
    ],
)
def test_what_a_kind_refuses(kind: str, spec: Mapping[str, Any], expected: str) -> None:
    (found,) = refused(policy(kind, spec))
    place, _, rest = found.partition(": ")
    assert place.startswith("f.yaml:1:")
    assert rest.startswith(expected)


def test_mesh_fields_of_kuma_2_name_what_replaces_them() -> None:
    (found,) = refused("{type: Mesh, name: m, tracing: {backends: []}}")
    assert found == "f.yaml:1:23: tracing: 'tracing' is not supported (write a MeshTrace)"


def test_both_sides_of_a_circuit_breaker_may_stand_in_one_policy() -> None:
    limits = {"connectionLimits": {"maxRequests": 1}}
    spec = {"to": [{"targetRef": MESH, "default": limits}], "rules": [{"default": limits}]}
    assert one(policy("MeshCircuitBreaker", spec)).spec == Policy(
        to=(ToItem(target=TargetRef(), default=limits),), rules=(Rule(default=limits),)
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_a_json_schema(kind: Any) -> None:
    described = json.loads(json.dumps(kind_json_schema(kind)))
    assert described["title"] == kind.name
    assert {"type", "name"} <= set(described["required"])


def test_lists_of_an_api_are_their_items() -> None:
    listed = """
total: 2
items:
  - {type: Mesh, name: shop}
  - {type: MeshTLS, name: t, mesh: shop, labels: 1, spec: {rules: [{default: {mode: Strict}}]}}
---
apiVersion: v1
kind: List
items: [{apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: bank}}]
"""
    assert [text.split(" (")[0] for text in refused(listed)] == [
        "f.yaml:5:42: labels: expects a mapping of labels, got the number 1"
    ]
    loaded = load_resources({"f.yaml": listed.replace("labels: 1", "labels: {}")})
    assert [(one.kind, one.name) for one in loaded] == [("Mesh", "shop"), ("MeshTLS", "t"), ("Mesh", "bank")]
    assert loaded[1].source.line == 5
