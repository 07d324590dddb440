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
    "probe.verdict_changed",
    "cluster.not_secured",
    "name.not_resolved",
)
