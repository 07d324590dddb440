"""What the control plane writes by itself: the first policies and keys of a mesh, and what an installation begins with.

Names and kinds are Kuma's, values are ours (`mesh.config.defaults`). What depends on other settings (a try's timeout on the
request's, a budget on a breaker's limit, conditions on methods) stands in no policy: sidecars derive it, whatever an
operator changes later. Default policies carry `kuma.io/origin: global`, which comes before all that an operator
writes: in Kuma a policy named `z` loses to the default `mesh-retry-all-...` by the alphabet.
"""

import base64
from collections.abc import Mapping
from typing import Any

from mesh.config import defaults
from mesh.identity.token_authority import SecretKey, TokenKind
from mesh.model.durations import format_duration
from mesh.policy.timeout import Timeouts
from mesh.resources.loading import load_resource
from mesh.resources.mesh import Mesh
from mesh.resources.resource import ORIGIN, Resource

BY = "control-plane"
ADMIN_TOKEN = "admin-user-token"
CONTROL_PLANE_CA = "control-plane-ca"
MESH_CA = "ca-"  # and the trust domain

_HOSTNAMES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "local-universal-mesh-service": ("meshService", "{{ .DisplayName }}.svc.mesh.local", {}),
    "local-mesh-external-service": ("meshExternalService", "{{ .DisplayName }}.extsvc.mesh.local", {}),
    "local-mesh-multi-zone-service": ("meshMultiZoneService", "{{ .DisplayName }}.mzsvc.mesh.local", {}),
    "synced-universal-mesh-service": (
        "meshService",
        "{{ .DisplayName }}.svc.{{ .Zone }}.mesh.local",
        {ORIGIN: "global"},
    ),
}


def initial_policies(mesh: Resource) -> tuple[Resource, ...]:
    """Return the default policies of a new mesh, without the kinds that it asks to leave out."""
    skipped = mesh.spec_as(Mesh).skip_initial_policies
    if "*" in skipped:
        return ()
    documents = [(kind, f"{prefix}-{mesh.name}", spec) for kind, prefix, spec in _policies()]
    return tuple(_resource(kind, name, spec, mesh=mesh.name) for kind, name, spec in documents if kind not in skipped)


def initial_hostnames() -> tuple[Resource, ...]:
    """Return the HostnameGenerators of a new installation."""
    return tuple(
        _resource("HostnameGenerator", name, {"template": template, "selector": {selector: {"matchLabels": labels}}})
        for name, (selector, template, labels) in _HOSTNAMES.items()
    )


def mesh_of_name(name: str) -> Resource:
    """Return a mesh with nothing written about it."""
    return load_resource({"type": "Mesh", "name": name}, file=BY)


def secret(key: SecretKey, data: bytes) -> Resource:
    """Return the Secret or GlobalSecret of this key."""
    kind, mesh, name = key
    document = {"type": kind, "name": name, "data": base64.b64encode(data).decode()}
    return load_resource(document | ({"mesh": mesh} if mesh else {}), file=BY)


def global_secret(name: str) -> SecretKey:
    """Return the key of a GlobalSecret."""
    return ("GlobalSecret", "", name)


def mesh_ca(mesh: str, trust_domain: str) -> SecretKey:
    """Return the key of the Secret with the roots of one of a mesh's trust domains."""
    return ("Secret", mesh, f"{MESH_CA}{trust_domain}")


def is_internal_secret(name: str) -> bool:
    """Is this secret of a mesh one of the control plane's own, which no proxy is configured by?"""
    return name.startswith((f"{TokenKind.DATAPLANE.value}-", MESH_CA))


def _policies() -> tuple[tuple[str, str, dict[str, Any]], ...]:
    limits = defaults.CIRCUIT_BREAKING
    connection_limits = {
        "maxConnections": limits.connections_max,
        "maxPendingRequests": limits.pending_requests_max,
        "maxRequests": limits.requests_max,
    }
    retry = {
        "tcp": {"maxConnectAttempt": defaults.CONNECT_RETRIES_MAX + 1},
        "http": {"numRetries": defaults.RETRIES_MAX},
    }
    return (
        ("MeshTimeout", "mesh-timeout-all", {"rules": [{"default": _timeouts(defaults.INBOUND_TIMEOUTS)}]}),
        ("MeshTimeout", "mesh-timeout-to-all", _to_all(_timeouts(defaults.OUTBOUND_TIMEOUTS))),
        (
            "MeshCircuitBreaker",
            "mesh-circuit-breaker-all",
            {
                **_to_all({"connectionLimits": connection_limits}),
                "rules": [{"default": {"connectionLimits": connection_limits}}],
            },
        ),
        ("MeshRetry", "mesh-retry-all", _to_all(retry)),
    )


def _to_all(conf: dict[str, Any]) -> dict[str, Any]:
    return {"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]}


def _timeouts(timeouts: Timeouts) -> dict[str, Any]:
    return {
        "connectionTimeout": format_duration(timeouts.connect_s),
        "idleTimeout": format_duration(timeouts.idle_s),
        "http": {
            "requestTimeout": format_duration(timeouts.request_s),
            "streamIdleTimeout": format_duration(timeouts.stream_idle_s),
            "maxStreamDuration": format_duration(timeouts.stream_s_max),
            "maxConnectionDuration": format_duration(timeouts.connection_s_max),
            "requestHeadersTimeout": format_duration(timeouts.request_headers_s),
        },
    }


def _resource(kind: str, name: str, spec: dict[str, Any], *, mesh: str = "") -> Resource:
    document: dict[str, Any] = {"type": kind, "name": name}
    if mesh:
        document |= {"mesh": mesh, "labels": {ORIGIN: "global"}}
        spec = {"targetRef": {"kind": "Mesh"}, **spec}
    return load_resource({**document, "spec": spec}, file=BY)
