"""Every kind of Kuma 3.0, with every field: it is read, written again and read the same, and fits its JSON Schema."""

import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mesh.model.traffic import Protocol
from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.resources.data_source import DataSource, DataSourceKind
from mesh.resources.dataplane import BackendRef, Dataplane, ReachableBackend
from mesh.resources.documents import Document, load_documents
from mesh.resources.hostname_generator import HostnameGenerator, hostname
from mesh.resources.loading import load_resource, read_resources
from mesh.resources.mesh_external_service import MeshExternalService
from mesh.resources.mesh_multi_zone_service import MeshMultiZoneService
from mesh.resources.mesh_open_telemetry_backend import MeshOpenTelemetryBackend
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Policy
from mesh.resources.registry import KIND_BY_NAME, KIND_BY_PATH, KIND_BY_SHORT, KINDS, find_kind, kind_json_schema
from mesh.resources.resource import Resource
from mesh.resources.secret import Secret
from mesh.resources.target_ref import TargetRef
from mesh.resources.writing import canonical_spec, kubernetes, universal
from mesh.resources.zone import MeshZoneAddress, Zone

FILE = Path(__file__).parent / "data" / "every_kind.yaml"


def documents() -> list[Document]:
    return load_documents(FILE.read_text(encoding="utf-8"), file=FILE.name)


def resources() -> list[Resource]:
    found, violations = read_resources(documents())
    assert [str(violation) for violation in violations] == []
    return found


def named(kind: str, name: str) -> Resource:
    return next(resource for resource in resources() if (resource.kind, resource.name) == (kind, name))


def label(value: Document | Resource) -> str:
    data: Any = value.data if isinstance(value, Document) else {"type": value.kind, "name": value.name}
    return f"{data['type']}-{data['name']}"


def test_no_kind_is_missing() -> None:
    assert {resource.kind for resource in resources()} == set(KIND_BY_NAME)


@pytest.mark.parametrize("resource", resources(), ids=label)
def test_what_is_written_again_reads_the_same(resource: Resource) -> None:
    document = universal(resource)
    again = load_resource(document, file="again")
    assert again == resource
    assert universal(again) == document
    assert next(iter(document)) == "type"


@pytest.mark.parametrize("resource", resources(), ids=label)
def test_the_kubernetes_form_reads_the_same(resource: Resource) -> None:
    assert load_resource(kubernetes(resource), file="k8s") == resource


@functools.cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(kind_json_schema(KIND_BY_NAME[kind]))


@pytest.mark.parametrize("document", documents(), ids=label)
def test_documents_fit_the_json_schema_of_their_kind(document: Document) -> None:
    data: Any = document.data
    validator(data["type"]).validate(data)
    validator(data["type"]).validate(universal(load_resource(data, file="json")))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_json_schemas_are_right_and_refuse_what_the_kind_refuses(kind: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(kind_json_schema(kind))
    assert not validator(kind.name).is_valid({"type": kind.name})
    assert not validator(kind.name).is_valid({"type": "Other", "name": "x"})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kinds_are_found_by_every_name_they_have(kind: Any) -> None:
    assert KIND_BY_PATH[kind.path] is kind and KIND_BY_SHORT[kind.short] is kind
    for word in (kind.name, kind.name.lower(), kind.path, kind.short, kind.short.upper()):
        assert find_kind(word) is kind


def test_paths_and_short_names_are_kumas() -> None:
    assert [(kind.path, kind.short) for kind in KINDS if kind.policy] == [
        ("meshhttproutes", "mhttpr"),
        ("meshtcproutes", "mtcpr"),
        ("meshtlses", "mtls"),
        ("meshloadbalancingstrategies", "mlbs"),
        ("meshpassthroughs", "mp"),
        ("meshaccesslogs", "mal"),
        ("meshtraces", "mtr"),
        ("meshfaultinjections", "mfi"),
        ("meshratelimits", "mrl"),
        ("meshtimeouts", "mt"),
        ("meshtrafficpermissions", "mtp"),
        ("meshhealthchecks", "mhc"),
        ("meshcircuitbreakers", "mcb"),
        ("meshretries", "mr"),
        ("meshmetrics", "mm"),
        ("meshproxypatches", "mpp"),
    ]
    assert find_kind("mesh-timeouts") is KIND_BY_NAME["MeshTimeout"] and find_kind("zebra") is None


def test_values_are_written_as_kuma_writes_them() -> None:
    inbound: Any = canonical_spec(named("MeshTimeout", "inbound"))
    assert inbound["rules"][0]["default"] == {"http": {"requestTimeout": "1m51s"}}
    assert inbound["rules"][1]["default"] == {"connectionTimeout": "10s", "idleTimeout": "20m0s"}
    routes: Any = canonical_spec(named("MeshHTTPRoute", "canary"))
    first, second = routes["to"][0]["rules"]
    assert [ref["weight"] for ref in first["default"]["backendRefs"]] == [90, 10]
    assert second["default"]["backendRefs"][0] == {
        "kind": "MeshMultiZoneService",
        "labels": {"app": "x"},
        "port": 80,
        "weight": 1,
    }


def test_only_the_control_plane_writes_a_status() -> None:
    assert "status" in universal(named("Workload", "backend"))
    assert "status" not in universal(named("MeshService", "backend"))


def test_times_are_those_of_the_server_that_knows_them() -> None:
    written = {"type": "Zone", "name": "east", "creationTime": "2026-01-01T00:00:00.5Z", "modificationTime": "x"}
    resource = load_resource(written, file="api")
    assert resource.created == 1767225600.5
    assert universal(resource)["creationTime"] == "2026-01-01T00:00:00.5Z"
    stored = universal(resource, created=1767225600.0, modified=1767225660.0)
    assert (stored["creationTime"], stored["modificationTime"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
    assert load_resource({**written, "creationTime": "then"}, file="api").created == 0.0


def test_dataplanes_have_all_of_kumas_networking() -> None:
    backend = named("Dataplane", "backend-1").spec_as(Dataplane)
    assert [outbound.backend for outbound in backend.outbounds] == [
        BackendRef(name="redis", port=6379),
        BackendRef(kind="MeshExternalService", labels={"app": "x"}, port=443),
        BackendRef(kind="MeshMultiZoneService", name="everywhere", port=80),
    ]
    assert backend.transparent_proxying is not None
    assert backend.transparent_proxying.reachable_backends == (
        ReachableBackend(kind="MeshService", labels={"app": "x"}, port=80),
        ReachableBackend(kind="MeshExternalService", name="api"),
    )
    assert named("Dataplane", "edge").spec_as(Dataplane).gateway
    ingress, egress = named("Dataplane", "zone-proxy").spec_as(Dataplane).listeners
    assert (ingress.kind, str(ingress.address), ingress.name) == ("ZoneIngress", "10.0.0.5:10001", "zi")
    assert (egress.kind, str(egress.address), egress.state.value) == ("ZoneEgress", "10.0.0.5:10002", "NotReady")


def test_external_services_say_how_tls_is_begun() -> None:
    api = named("MeshExternalService", "api").spec_as(MeshExternalService)
    assert (api.port, api.protocol) == (443, Protocol.HTTP)
    assert [(str(endpoint.address), endpoint.priority) for endpoint in api.endpoints] == [
        ("api.example.com:443", 0),
        ("192.0.2.7:8443", 1),
    ]
    assert api.tls is not None
    assert (api.tls.version_min, api.tls.mode, api.tls.server_name) == ("TLS12", "Secured", "api.example.com")
    assert [(name.kind, name.value) for name in api.tls.subject_alt_names][1] == (MatchKind.PREFIX, "spiffe://example/")
    assert api.tls.ca_cert == DataSource(kind=DataSourceKind.SECRET, place="ca")
    assert api.tls.client_cert == DataSource(kind=DataSourceKind.FILE, place="/c.pem")
    assert api.tls.client_key == DataSource(kind=DataSourceKind.ENV_VAR, place="KEY")
    extended = named("MeshExternalService", "extended").spec_as(MeshExternalService)
    assert extended.tls is None and extended.extension == "Lookup"  # `enabled` is false unless it is written.


def test_hostnames_come_from_templates() -> None:
    generator = named("HostnameGenerator", "by-team").spec_as(HostnameGenerator)
    assert (generator.selector_kind, generator.match_labels) == ("MeshExternalService", {})
    labels = {"team": "core", "kuma.io/zone": "east", "k8s.kuma.io/namespace": "demo"}
    written = {"type": "MeshExternalService", "name": "api", "labels": labels, "spec": {"match": {"port": 80}}}
    service = load_resource(written, file="x")
    assert hostname(generator, service) == "api.core.east.demo.local"
    with pytest.raises(ValueError, match=r"it has no label kuma\.io/zone"):
        hostname(generator, load_resource({**written, "labels": {"team": "core"}}, file="x"))


def test_the_small_kinds_are_read() -> None:
    assert named("Zone", "east").spec == Zone(enabled=True)
    assert named("MeshZoneAddress", "east").spec == MeshZoneAddress(address="ingress.east.example.com", port=10001)
    assert named("MeshMultiZoneService", "everywhere").spec == MeshMultiZoneService(
        match_labels={"kuma.io/display-name": "backend"},
        ports=(ServicePort(port=80, name="http", target=80, protocol=Protocol.HTTP),),
    )
    assert named("MeshOpenTelemetryBackend", "otel").spec == MeshOpenTelemetryBackend(
        address="otel", port=4318, path="/v1", protocol="http", env_precedence="EnvFirst", allow_signal_overrides=True
    )
    assert named("Secret", "ca").spec == Secret(data=b"secret")
    assert named("Secret", "ca").mesh == "default" and named("GlobalSecret", "admin-user-token").mesh == ""
    assert named("DataplaneInsight", "backend-1").spec["subscriptions"][0]["id"] == "1"


def test_policies_have_their_parts() -> None:
    route = named("MeshHTTPRoute", "canary").spec_as(Policy)
    (item,) = route.to
    assert (
        item.target == TargetRef(kind="MeshService", labels={"kuma.io/display-name": "backend"}, section="http")
        and item.default == {}
    )
    assert item.rules[0].matches[0]["path"] == {"type": "PathPrefix", "value": "/v1"}
    assert [ref["weight"] for ref in item.rules[0].default["backendRefs"]] == [90, 10]
    (tcp,) = named("MeshTCPRoute", "database").spec_as(Policy).to
    assert tcp.rules[0].matches == ()
    inbound = named("MeshTimeout", "inbound").spec_as(Policy)
    peer = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://default.east.mesh.local/", sni="x")
    assert inbound.rules[0].matches == (peer,) and inbound.rules[0].default == {"http": {"requestTimeout": 111.0}}
    assert named("MeshPassthrough", "outside").spec_as(Policy).default["passthroughMode"] == "Matched"


def test_what_sidecars_do_not_act_on_yet_is_said() -> None:
    said = [str(warning) for resource in resources() for warning in resource.warnings]
    assert any("MeshProxyPatch is kept, but our sidecars do not act on it: it patches Envoy's" in line for line in said)
    assert any("'maxConnectionPools' is kept, but an endpoint has one pool" in line for line in said)
    assert any(
        "retryOn[7]: 'Http3PostConnectFailure' is kept, but sidecars do not speak HTTP/3" in line for line in said
    )
    assert named("MeshTrafficPermission", "allow").warnings == ()


def test_no_secret_is_shown() -> None:
    for resource in resources():
        shown = f"{resource!r} {[str(warning) for warning in resource.warnings]}"
        assert "not-to-be-shown" not in shown and "c2VjcmV0" not in shown and "b'secret'" not in shown
