"""The names of the structlog events of this package, so that each stands in one place. Requests are `RequestRecord`s."""

EVENT_NAMES = (
    "sidecar.started",
    "sidecar.draining",
    "sidecar.drained",
    "configuration.applied",
    "configuration.refused",
    "identity.replaced",
    "listener.opened",
    "listener.closed",
    "connection.refused",
    "endpoint.ejected",
    "endpoint.returned",
    "endpoint.check_failed",
    "endpoint.check_passed",
    "health_check.failed",
    "endpoint.tls_failed",
    "probe.verdict_changed",
    "cluster.not_secured",
    "cluster.not_renewed",
    "name.not_resolved",
)
