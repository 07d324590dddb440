"""How a sidecar stands at one moment, as its process tells the runner: the values of `sim.checks.views`, and a little more.

Taken together with the records of the same moment, so that counters and records compare like with like. The configuration is
told when it has changed.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mesh.config.snapshot import Snapshot, encode_part
from sim.checks.views import CertificateView, ClusterView, ListenerView, cluster_view, listener_view

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState
    from mesh.proxy.sidecar import Sidecar
    from mesh.proxy.upstream_pool import UpstreamEndpoint


class EjectionStanding(NamedTuple):
    """Of an endpoint that is ejected: since when (seconds of the machine's monotonic clock), for how long."""

    ejected_at: float
    backoff: int
    jitter_s: float


class EndpointStanding(NamedTuple):
    """One endpoint of a cluster. `watched`: outlier detection looks at it."""

    name: str
    host: str
    port: int
    watched: bool
    ejection: EjectionStanding | None


class ClusterStanding(NamedTuple):
    """One cluster: what stands on its view, and its endpoints."""

    view: ClusterView
    panicking: bool
    endpoints: list[EndpointStanding]


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """One sidecar at `at`, in seconds of the machine's monotonic clock. `parts`: its configuration, if it is another one."""

    at: float
    wall_clock_s: float
    version: str
    connected: bool
    last_error: str
    draining: bool
    in_flight: int
    clusters: list[ClusterStanding]
    listeners: list[ListenerView]
    certificate: CertificateView | None
    parts: Mapping[str, bytes] | None


class Standings:
    """Takes the standings of one sidecar. `shift_s`: from the reactor's clock to the machine's."""

    def __init__(
        self, sidecar: "Sidecar", *, now: Callable[[], float], wall_clock: Callable[[], float], shift_s: float
    ) -> None:
        self._sidecar = sidecar
        self._now = now
        self._wall_clock = wall_clock
        self._shift_s = shift_s
        self._told: Snapshot | None = None

    def take(self) -> Standing:
        """Return how it stands now."""
        sidecar = self._sidecar
        status, svid, snapshot = sidecar.client.status(), sidecar.client.identity.svid, sidecar.snapshot
        is_new, self._told = snapshot is not self._told, snapshot
        return Standing(
            at=self._now() + self._shift_s,
            wall_clock_s=self._wall_clock(),
            version=status.version,
            connected=status.connected,
            last_error=status.last_error,
            draining=sidecar.drain_state.draining,
            in_flight=sidecar.drain_state.in_flight,
            clusters=[self._cluster(name, cluster) for name, cluster in sidecar.clusters.items()],
            listeners=[listener_view(listener) for listener in sidecar.listeners.values()],
            certificate=None if svid is None else CertificateView(svid.not_before, svid.not_after),
            parts={key: encode_part(part) for key, part in snapshot.parts.items()} if is_new else None,
        )

    def _cluster(self, name: str, cluster: "ClusterState") -> ClusterStanding:
        endpoints = [self._endpoint(endpoint) for endpoint in cluster.endpoints.values()]
        return ClusterStanding(cluster_view(name, cluster), cluster.panicking, endpoints)

    def _endpoint(self, endpoint: "UpstreamEndpoint") -> EndpointStanding:
        health, ejection = endpoint.health, None
        if health is not None and health.ejected:
            ejection = EjectionStanding(health.ejected_at + self._shift_s, health.backoff, health.jitter_s)
        address = endpoint.address
        return EndpointStanding(endpoint.name, address.host, address.port, health is not None, ejection)
