"""What a sidecar shows of itself at one moment, as values: what watchers look at once a second.

Everything here stands on a sidecar's admin pages too, so that a run on real processes can fill the same values. They are read
once a look; whoever keeps `answers` beyond it makes a copy, all else is a value already.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mesh.config.snapshot import Snapshot
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.proxy.plan import HttpPlan

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState
    from mesh.proxy.listener import ProxyListener
    from mesh.proxy.sidecar import Sidecar
    from sim.assembly import Member, SimulatedMesh
    from sim.host import Life


class ClusterView(NamedTuple):
    """One cluster: what its breaker holds, whom it may ask, what it has counted."""

    name: str
    connections: int
    pending: int
    requests: int
    retries: int
    limits: CircuitBreakingLimits
    endpoints: int
    panic_picks: int
    tries_total: int  # that had a connection
    pending_total: int
    answers: Mapping[int, int]  # final ones, by status

    @property
    def held(self) -> int:
        """Everything that requests hold of the breaker."""
        return self.pending + self.requests + self.retries


class ListenerView(NamedTuple):
    """One listening address and what it has counted."""

    name: str
    address: Address
    inbound: bool
    http: bool
    connections: int
    requests_total: int
    answers: Mapping[int, int]  # by status; 0: the client left
    admitted: int  # connections by a limit of their rate; 0: there is none


class CertificateView(NamedTuple):
    """When the certificate in use is valid, in seconds since the epoch."""

    not_before: float
    not_after: float


class ProxyView(NamedTuple):
    """One sidecar. `life` counts the starts of its host; `wall_clock_s` is what it takes for the time."""

    member: str
    workload: str
    life: int
    version: str  # of the configuration that it holds
    snapshot: Snapshot
    connected: bool  # to a control plane
    draining: bool
    in_flight: int
    clusters: Sequence[ClusterView]
    listeners: Sequence[ListenerView]
    certificate: CertificateView | None
    wall_clock_s: float
    pumps: int  # of its host, without those of users
    sockets: int
    busy: int  # requests and journeys of the application on its host, and users who think
    at: float  # when it was read, in seconds of the reactors' clock


def views_of(mesh: "SimulatedMesh") -> tuple[ProxyView, ...]:
    """Return how the sidecars of all hosts with power stand now."""
    return tuple(_views(mesh.members.values(), mesh.world.now()))


def _views(members: Iterable["Member"], now: float) -> Iterable[ProxyView]:
    for member in members:
        sidecar, life = member.sidecar, member.host.life
        # Of a host that has just started again, the sidecar may still be that of the life before.
        if sidecar is not None and life is not None and life.alive and sidecar.context.reactor is life.reactor:
            yield _view(member, sidecar, life, now)


# Made for every cluster every second: by `tuple` itself, which takes half as long as by name.
_new = tuple.__new__


def _view(member: "Member", sidecar: "Sidecar", life: "Life", now: float) -> ProxyView:
    host, client, drain = member.host, sidecar.client, sidecar.drain_state
    held, svid, network_host = client.subscription.held, client.identity.svid, host.network_host
    values = (
        member.name,
        member.what.workload,
        network_host.incarnation,
        held.version if held is not None else "",
        sidecar.snapshot,
        client.connected,
        drain.draining,
        drain.in_flight,
        [cluster_view(name, cluster) for name, cluster in sidecar.clusters.items()],
        [listener_view(listener) for listener in sidecar.listeners.values()],
        None if svid is None else _new(CertificateView, (svid.not_before, svid.not_after)),
        host.date.look(),
        len(life.reactor.pumps),
        len(network_host.sockets),
        _busy(member),
        now,
    )
    return _new(ProxyView, values)


def cluster_view(name: str, cluster: "ClusterState") -> ClusterView:
    """Return how a cluster stands now."""
    breaker, stats, selector = cluster.breaker, cluster.stats, cluster.selector
    values = (
        name,
        breaker.connections,
        breaker.pending_requests,
        breaker.requests,
        breaker.retries,
        breaker.limits,
        len(cluster.endpoints),
        0 if selector is None else selector.panic_picks,
        stats.requests_total,
        stats.pending_total,
        stats.requests_by_status,
    )
    return _new(ClusterView, values)


def listener_view(listener: "ProxyListener") -> ListenerView:
    """Return how a listener stands now."""
    plan, stats = listener.plan, listener.stats
    limiter, handle = plan.connection_limiter, plan.handle
    values = (
        plan.name,
        plan.address,
        handle.inbound,
        type(handle) is HttpPlan,
        stats.connections_active,
        stats.requests_total,
        stats.requests_by_status,
        0 if limiter is None else limiter.counts.ok,
    )
    return _new(ListenerView, values)


def _busy(member: "Member") -> int:
    users, service = member.users, member.service
    # Of those who go round, each is there all the time, and thinks most of it.
    busy = 0 if users is None else users.active + users.settings.users
    return busy if service is None else busy + service.places.busy + service.places.waiting
