"""A sidecar, an application and users of other processes, as verbs and checks look at them in simulation: by the same names.

Values as of the last report; nothing here reaches the process.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import attrs

from mesh.config.snapshot import Cluster, Snapshot, decode_part
from mesh.discovery.client import ClientStatus
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from sim.checks.views import CertificateView, ClusterView, ProxyView
from sim.local.standing import ClusterStanding, EndpointStanding, Standing


class MirroredHealth(NamedTuple):
    """What outlier detection knows of an endpoint. `ejected_at`: on the runner's clock."""

    ejected: bool
    ejected_at: float = 0.0
    backoff: int = 0
    jitter_s: float = 0.0


class MirroredEndpoint(NamedTuple):
    """One endpoint of a cluster."""

    name: str
    address: Address
    label: str
    health: MirroredHealth | None


class MirroredBreaker(NamedTuple):
    """What a cluster holds."""

    connections: int
    pending_requests: int
    requests: int
    retries: int
    limits: CircuitBreakingLimits


class MirroredCluster(NamedTuple):
    """One cluster."""

    config: Cluster
    panicking: bool
    breaker: MirroredBreaker
    endpoints: Mapping[str, MirroredEndpoint]


class MirroredIdentity(NamedTuple):
    """The certificate in use."""

    svid: CertificateView | None


@attrs.define(eq=False)
class MirroredClient:
    """The sidecar's side of its control plane."""

    connected: bool = False
    version: str = ""
    last_error: str = ""
    identity: MirroredIdentity = MirroredIdentity(None)

    def status(self) -> ClientStatus:
        """Return how things stand, as the sidecar's own client does."""
        svid = self.identity.svid
        return ClientStatus(
            connected=self.connected,
            session="",
            version=self.version,
            last_nack=None,
            last_error=self.last_error,
            certificate_expires=svid.not_after if svid else None,
        )


@attrs.define(eq=False)
class MirroredSidecar:
    """A sidecar. `end`: sends it the signal at which it drains, and waits until it has ended."""

    end: Callable[[], Awaitable[None]]
    client: MirroredClient = attrs.field(factory=MirroredClient)
    snapshot: Snapshot = Snapshot({})
    clusters: Mapping[str, MirroredCluster] = attrs.field(factory=dict)
    standing: Standing | None = None  # None: it has not told yet

    async def drain(self, settle_s: float | None = None) -> None:
        """Let it finish what is under way, and end."""
        assert settle_s is None, "refused before the start"
        await self.end()

    def take(self, standing: Standing, *, shift_s: float) -> None:
        """Learn how it stands; `shift_s` is added to its moments."""
        if standing.parts is not None:
            self.snapshot = Snapshot({key: decode_part(key, data) for key, data in standing.parts.items()})
        self.standing = standing
        client = self.client
        client.connected, client.version, client.last_error = standing.connected, standing.version, standing.last_error
        client.identity = MirroredIdentity(standing.certificate)
        configured = {part.name: part for part in self.snapshot.parts.values() if isinstance(part, Cluster)}
        self.clusters = {
            each.view.name: _cluster(each, configured.get(each.view.name), shift_s) for each in standing.clusters
        }

    def view(self, *, member: str, workload: str, life: int, busy: int, shift_s: float) -> ProxyView | None:
        """Return it as watchers look at it; None where it has not told yet."""
        standing = self.standing
        if standing is None:
            return None
        return ProxyView(
            member=member,
            workload=workload,
            life=life,
            version=standing.version,
            snapshot=self.snapshot,
            connected=standing.connected,
            draining=standing.draining,
            in_flight=standing.in_flight,
            clusters=[each.view for each in standing.clusters],
            listeners=standing.listeners,
            certificate=standing.certificate,
            wall_clock_s=standing.wall_clock_s,
            pumps=0,
            sockets=0,
            busy=busy,
            at=standing.at + shift_s,
        )


def _cluster(standing: ClusterStanding, config: Cluster | None, shift_s: float) -> MirroredCluster:
    view = standing.view
    return MirroredCluster(
        # Of the application behind an inbound there is no part of its own.
        config=config or Cluster(name=view.name, circuit_breaking=view.limits),
        panicking=standing.panicking,
        breaker=_breaker(view),
        endpoints={each.name: _endpoint(each, shift_s) for each in standing.endpoints},
    )


def _breaker(view: ClusterView) -> MirroredBreaker:
    return MirroredBreaker(view.connections, view.pending, view.requests, view.retries, view.limits)


def _endpoint(standing: EndpointStanding, shift_s: float) -> MirroredEndpoint:
    address, ejection = Address(standing.host, standing.port), standing.ejection
    health = MirroredHealth(ejected=False) if standing.watched else None
    if ejection is not None:
        health = MirroredHealth(True, ejection.ejected_at + shift_s, ejection.backoff, ejection.jitter_s)
    return MirroredEndpoint(standing.name, address, str(address), health)


@attrs.define(eq=False)
class MirroredPlaces:
    """How busy an application is."""

    busy: int = 0
    working: int = 0
    waiting: int = 0


@attrs.define(eq=False)
class MirroredService:
    """An application."""

    places: MirroredPlaces = attrs.field(factory=MirroredPlaces)


class UsersGoingRound(NamedTuple):
    """How many users of a closed workload are at a place."""

    users: int


@attrs.define(eq=False)
class MirroredUsers:
    """The users of one place."""

    settings: UsersGoingRound
    active: int = 0
    begun: int = 0
