"""From MeshHealthCheck's merged settings to the checks of a cluster's endpoints."""

import base64
from typing import Any

from mesh.model.traffic import Protocol
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.resources.policy import Conf

# As Kuma chooses among the checks that were written: by the protocol of the port, else the one that any port understands.
_PREFERENCES = {
    Protocol.HTTP: (HealthCheckKind.HTTP, HealthCheckKind.TCP),
    Protocol.HTTP2: (HealthCheckKind.HTTP, HealthCheckKind.TCP),
    Protocol.GRPC: (HealthCheckKind.GRPC, HealthCheckKind.TCP),
    Protocol.TCP: (HealthCheckKind.TCP,),
}
_NAME_BY_KEY = {
    "interval": "interval_s",
    "timeout": "timeout_s",
    "unhealthyThreshold": "unhealthy_threshold",
    "healthyThreshold": "healthy_threshold",
    "initialJitter": "initial_jitter_s",
    "intervalJitter": "interval_jitter_s",
    "intervalJitterPercent": "interval_jitter_percent",
    "noTrafficInterval": "no_traffic_interval_s",
    "reuseConnection": "reuse_connection",
    "alwaysLogHealthCheckFailures": "log_failures_always",
}


def health_checks(conf: Conf, protocol: Protocol) -> tuple[HealthCheck, ...]:
    """Translate MeshHealthCheck's settings for a port of this protocol: one check, or none where all that fit are disabled."""
    for kind in _PREFERENCES[protocol]:
        settings = conf.get(kind.value)
        if settings is not None and not settings.get("disabled", False):
            common = {name: conf[key] for key, name in _NAME_BY_KEY.items() if key in conf}
            return (HealthCheck(kind=kind, **common, **_own(kind, settings)),)
    return ()


def _own(kind: HealthCheckKind, settings: Conf) -> dict[str, Any]:
    match kind:
        case HealthCheckKind.HTTP:
            headers = settings.get("requestHeadersToAdd", {})
            return {
                "path": settings.get("path", "/"),
                "headers_set": tuple((entry["name"], entry["value"]) for entry in headers.get("set", ())),
                "headers_add": tuple((entry["name"], entry["value"]) for entry in headers.get("add", ())),
                "expected_statuses": tuple(settings.get("expectedStatuses", (200,))),
            }
        case HealthCheckKind.TCP:
            return {
                "send": base64.b64decode(settings.get("send", "")),
                "receive": tuple(base64.b64decode(part) for part in settings.get("receive", ())),
            }
        case HealthCheckKind.GRPC:
            return {"service_name": settings.get("serviceName", ""), "authority": settings.get("authority", "")}
