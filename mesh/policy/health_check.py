"""Active health checks: whether an endpoint is asked how it is, how and how often, and what follows from its answers. Pure.

Source: Envoy `config.core.v3.HealthCheck`, source/common/upstream/health_checker_base_impl.cc; Kuma MeshHealthCheck.
"""

import enum

import attrs


class HealthCheckKind(enum.Enum):
    """What is asked."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"


@attrs.frozen(kw_only=True)
class HealthCheck:
    """One check of every endpoint of a cluster. Spans in seconds; defaults are Kuma's."""

    kind: HealthCheckKind = HealthCheckKind.TCP
    interval_s: float = 60.0
    timeout_s: float = 15.0
    unhealthy_threshold: int = 5
    healthy_threshold: int = 1
    initial_jitter_s: float = 0.0
    interval_jitter_s: float = 0.0
    interval_jitter_percent: int = 0
    no_traffic_interval_s: float = 60.0
    reuse_connection: bool = True
    log_failures_always: bool = False  # else only the first of a row
    path: str = "/"  # HTTP
    headers_set: tuple[tuple[str, str], ...] = ()  # HTTP
    headers_add: tuple[tuple[str, str], ...] = ()  # HTTP
    expected_statuses: tuple[int, ...] = (200,)  # HTTP
    send: bytes = b""  # TCP; empty: connecting is all
    receive: tuple[bytes, ...] = ()  # TCP: each must come, in this order, among other bytes
    service_name: str = ""  # gRPC
    authority: str = ""  # gRPC; empty: the cluster's name
