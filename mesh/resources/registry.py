"""The kinds of resources there are. A new kind is one definition in its own file and one line here."""

from collections.abc import Mapping

from mesh.resources.dataplane import DATAPLANE
from mesh.resources.documents import suggest
from mesh.resources.mesh import MESH
from mesh.resources.mesh_circuit_breaker import MESH_CIRCUIT_BREAKER
from mesh.resources.mesh_identity import MESH_IDENTITY
from mesh.resources.mesh_load_balancing_strategy import MESH_LOAD_BALANCING_STRATEGY
from mesh.resources.mesh_retry import MESH_RETRY
from mesh.resources.mesh_service import MESH_SERVICE
from mesh.resources.mesh_timeout import MESH_TIMEOUT
from mesh.resources.mesh_tls import MESH_TLS
from mesh.resources.mesh_traffic_permission import MESH_TRAFFIC_PERMISSION
from mesh.resources.mesh_trust import MESH_TRUST
from mesh.resources.resource import Kind
from mesh.resources.schema import JsonSchema, json_schema

KINDS: tuple[Kind, ...] = (
    MESH,
    DATAPLANE,
    MESH_SERVICE,
    MESH_IDENTITY,
    MESH_TRUST,
    MESH_TLS,
    MESH_LOAD_BALANCING_STRATEGY,
    MESH_TIMEOUT,
    MESH_TRAFFIC_PERMISSION,
    MESH_CIRCUIT_BREAKER,
    MESH_RETRY,
)
KIND_BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}

# Kuma's other kinds of today, in its order.
_NOT_YET = (
    *("MeshExternalService", "MeshMultiZoneService", "HostnameGenerator", "Workload", "MeshZoneAddress"),
    *("MeshOpenTelemetryBackend", "MeshHTTPRoute", "MeshTCPRoute", "MeshPassthrough", "MeshAccessLog", "MeshTrace"),
    *("MeshFaultInjection", "MeshRateLimit", "MeshHealthCheck", "MeshMetric", "Secret", "GlobalSecret", "Zone"),
)
_ENVOY_ONLY = {"MeshProxyPatch": "it patches Envoy's configuration, and our sidecars are not Envoy"}
# Kuma 2's kinds that Kuma 3 no longer has, and what took their place.
_GONE = {
    "TrafficRoute": "MeshHTTPRoute",
    "TrafficPermission": "MeshTrafficPermission",
    "TrafficLog": "MeshAccessLog",
    "TrafficTrace": "MeshTrace",
    "Timeout": "MeshTimeout",
    "Retry": "MeshRetry",
    "CircuitBreaker": "MeshCircuitBreaker",
    "HealthCheck": "MeshHealthCheck",
    "FaultInjection": "MeshFaultInjection",
    "RateLimit": "MeshRateLimit",
    "ExternalService": "MeshExternalService",
    "VirtualOutbound": "HostnameGenerator",
    "ZoneIngress": "a Dataplane",
    "ZoneEgress": "a Dataplane",
}


def explain_unknown(kind: str) -> tuple[str, str]:
    """Return why a kind cannot be used, as a message and a hint."""
    supported = f"supported: {', '.join(KIND_BY_NAME)}"
    if kind in _NOT_YET:
        return f"kind {kind} is not supported yet", supported
    if kind in _ENVOY_ONLY:
        return f"kind {kind} is not supported: {_ENVOY_ONLY[kind]}", supported
    if kind in _GONE:
        return f"kind {kind} is gone since Kuma 3.0", f"its place took {_GONE[kind]}"
    guess = suggest(kind, [*KIND_BY_NAME, *_NOT_YET])
    return f"unknown kind '{kind}'", f"{guess} {supported}" if guess else supported


def kind_json_schema(kind: Kind) -> JsonSchema:
    """Return the JSON Schema of one kind's documents, for editors."""
    return json_schema(kind.envelope(), title=kind.name)
