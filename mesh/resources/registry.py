"""The kinds of resources there are. A new kind is one definition in its own file and one line here."""

from collections.abc import Mapping

from mesh.resources.dataplane_kind import DATAPLANE
from mesh.resources.documents import suggest
from mesh.resources.generated import DATAPLANE_INSIGHT, MESH_INSIGHT, SERVICE_INSIGHT, WORKLOAD, ZONE_INSIGHT
from mesh.resources.hostname_generator import HOSTNAME_GENERATOR
from mesh.resources.mesh import MESH
from mesh.resources.mesh_access_log import MESH_ACCESS_LOG
from mesh.resources.mesh_circuit_breaker import MESH_CIRCUIT_BREAKER
from mesh.resources.mesh_external_service import MESH_EXTERNAL_SERVICE
from mesh.resources.mesh_fault_injection import MESH_FAULT_INJECTION
from mesh.resources.mesh_health_check import MESH_HEALTH_CHECK
from mesh.resources.mesh_http_route import MESH_HTTP_ROUTE
from mesh.resources.mesh_identity import MESH_IDENTITY
from mesh.resources.mesh_load_balancing_strategy import MESH_LOAD_BALANCING_STRATEGY
from mesh.resources.mesh_metric import MESH_METRIC
from mesh.resources.mesh_multi_zone_service import MESH_MULTI_ZONE_SERVICE
from mesh.resources.mesh_open_telemetry_backend import MESH_OPEN_TELEMETRY_BACKEND
from mesh.resources.mesh_passthrough import MESH_PASSTHROUGH
from mesh.resources.mesh_proxy_patch import MESH_PROXY_PATCH
from mesh.resources.mesh_rate_limit import MESH_RATE_LIMIT
from mesh.resources.mesh_retry import MESH_RETRY
from mesh.resources.mesh_service import MESH_SERVICE
from mesh.resources.mesh_tcp_route import MESH_TCP_ROUTE
from mesh.resources.mesh_timeout import MESH_TIMEOUT
from mesh.resources.mesh_tls import MESH_TLS
from mesh.resources.mesh_trace import MESH_TRACE
from mesh.resources.mesh_traffic_permission import MESH_TRAFFIC_PERMISSION
from mesh.resources.mesh_trust import MESH_TRUST
from mesh.resources.resource import Kind
from mesh.resources.schema import JsonSchema, json_schema
from mesh.resources.secret import GLOBAL_SECRET, SECRET
from mesh.resources.zone import MESH_ZONE_ADDRESS, ZONE

# In Kuma's order, which for policies is the order in which they are applied.
KINDS: tuple[Kind, ...] = (
    MESH,
    DATAPLANE,
    MESH_SERVICE,
    MESH_EXTERNAL_SERVICE,
    MESH_MULTI_ZONE_SERVICE,
    HOSTNAME_GENERATOR,
    WORKLOAD,
    MESH_IDENTITY,
    MESH_TRUST,
    MESH_ZONE_ADDRESS,
    MESH_OPEN_TELEMETRY_BACKEND,
    MESH_HTTP_ROUTE,
    MESH_TCP_ROUTE,
    MESH_TLS,
    MESH_LOAD_BALANCING_STRATEGY,
    MESH_PASSTHROUGH,
    MESH_ACCESS_LOG,
    MESH_TRACE,
    MESH_FAULT_INJECTION,
    MESH_RATE_LIMIT,
    MESH_TIMEOUT,
    MESH_TRAFFIC_PERMISSION,
    MESH_HEALTH_CHECK,
    MESH_CIRCUIT_BREAKER,
    MESH_RETRY,
    MESH_METRIC,
    MESH_PROXY_PATCH,
    SECRET,
    GLOBAL_SECRET,
    ZONE,
    DATAPLANE_INSIGHT,
    MESH_INSIGHT,
    SERVICE_INSIGHT,
    ZONE_INSIGHT,
)
KIND_BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
KIND_BY_PATH: Mapping[str, Kind] = {kind.path: kind for kind in KINDS}
KIND_BY_SHORT: Mapping[str, Kind] = {kind.short: kind for kind in KINDS}

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
    "ProxyTemplate": "MeshProxyPatch",
    "ExternalService": "MeshExternalService",
    "VirtualOutbound": "HostnameGenerator",
    "MeshGateway": "a Dataplane with gateway: {type: DELEGATED} before a gateway of your own",
    "MeshGatewayRoute": "MeshHTTPRoute",
    "MeshGatewayInstance": "a Dataplane with gateway: {type: DELEGATED} before a gateway of your own",
    "MeshGatewayConfig": "a Dataplane with gateway: {type: DELEGATED} before a gateway of your own",
    "ZoneIngress": "a Dataplane with listeners: [{type: ZoneIngress}], and MeshZoneAddress",
    "ZoneEgress": "a Dataplane with listeners: [{type: ZoneEgress}]",
}


def find_kind(word: str) -> Kind | None:
    """Return the kind that an operator's word means: MeshTimeout, meshtimeout, mesh-timeouts or mt."""
    return _KIND_BY_WORD.get(word.casefold().replace("-", ""))


def explain_unknown(kind: str) -> tuple[str, str]:
    """Return why a kind cannot be used, as a message and a hint."""
    if kind in _GONE:
        return f"kind {kind} is gone since Kuma 3.0", f"its place took {_GONE[kind]}"
    supported = f"supported: {', '.join(KIND_BY_NAME)}"
    guess = suggest(kind, KIND_BY_NAME)
    return f"unknown kind '{kind}'", f"{guess} {supported}" if guess else supported


def kind_json_schema(kind: Kind) -> JsonSchema:
    """Return the JSON Schema of one kind's documents, for editors."""
    return json_schema(kind.envelope, title=kind.name)


_KIND_BY_WORD = {
    word.casefold().replace("-", ""): kind for kind in KINDS for word in (kind.short, kind.path, kind.name)
}
