"""MeshOpenTelemetryBackend: where logs, traces and metrics are sent, for policies that refer to it."""

from collections.abc import Iterable
from typing import Any

import attrs

from mesh.resources.dataplane import HOST, PORT
from mesh.resources.resource import Kind
from mesh.resources.scalars import Boolean, OneOf, Text
from mesh.resources.schema import LATER, Problem, Record


@attrs.frozen(kw_only=True)
class MeshOpenTelemetryBackend:
    """The spec. `env_*`: whether and how the OTEL_* variables of the proxy's process count."""

    address: str = ""
    port: int | None = None
    path: str = ""
    protocol: str = "grpc"
    env_mode: str = "Optional"
    env_precedence: str = "ExplicitFirst"
    allow_signal_overrides: bool = False


def _path_of_http(spec: dict[str, Any]) -> Iterable[Problem]:
    if "path" in spec.get("endpoint", {}) and spec.get("protocol", "grpc") == "grpc":
        yield Problem(("endpoint", "path"), "'path' cannot stand with protocol: grpc")


def _build(spec: dict[str, Any]) -> MeshOpenTelemetryBackend:
    endpoint, env = spec.get("endpoint", {}), spec.get("env", {})
    return MeshOpenTelemetryBackend(
        address=endpoint.get("address", ""),
        port=endpoint.get("port"),
        path=endpoint.get("path", ""),
        protocol=spec.get("protocol", "grpc"),
        env_mode=env.get("mode", "Optional"),
        env_precedence=env.get("precedence", "ExplicitFirst"),
        allow_signal_overrides=env.get("allowSignalOverrides", False),
    )


_PATH = Text(what="an absolute path without query", pattern=r"/[^?#\s]*")

MESH_OPEN_TELEMETRY_BACKEND = Kind(
    name="MeshOpenTelemetryBackend",
    path="meshopentelemetrybackends",
    short="motb",
    dormant=LATER,
    spec=Record(
        {
            "endpoint": Record({"address": HOST, "port": PORT, "path": _PATH}),
            "protocol": OneOf(("grpc", "http")),
            "env": Record(
                {
                    "mode": OneOf(("Disabled", "Optional", "Required")),
                    "precedence": OneOf(("EnvFirst", "ExplicitFirst")),
                    "allowSignalOverrides": Boolean(),
                }
            ),
        },
        check=_path_of_http,
        build=_build,
    ),
)
