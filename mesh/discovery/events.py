"""The names of the structlog events of this package, so that each stands in one place."""

EVENT_NAMES = (
    "control_plane.connected",
    "control_plane.disconnected",
    "control_plane.refused_us",
    "configuration.restored",
    "configuration.not_restored",
    "configuration.accepted",
    "configuration.nacked",
    "configuration.resync_requested",
    "configuration.not_kept",
    "dataplane.received",
    "dataplane.not_received",
    "dataplane.not_asked",
    "dataplane.not_kept",
    "certificate.received",
    "certificate.not_received",
)
