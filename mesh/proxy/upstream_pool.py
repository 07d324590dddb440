"""Upstream connections of one cluster: kept open, handed out newest first, counted against the circuit breaker.

HTTP/1.1: one request at a time on a connection. A request takes an idle connection at once; else it counts as pending
while it opens one or waits for one. Source: Envoy conn_pool_base (pending, connections, one connection per host always).
Does not choose endpoints, does not retry and resolves no names.
"""

import math
from collections.abc import Mapping

import attrs

from mesh.model.errors import BrokenConnection, ConnectFailed, DeadlineExceeded, IdentityError, MeshError
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import PeakEwma
from mesh.policy.outlier_detection import HostRecord
from mesh.protocol.http1 import ResponseParser
from mesh.runtime.environment import Connection, Reactor, TlsContext
from mesh.runtime.pump import Signal
from mesh.telemetry.metrics import ClusterStats

TIMEOUT_REASON = "connection timeout"
TLS_REASON = "TLS error: "


def connect_failure_kind(error: ConnectFailed) -> FailureKind:
    """Return what a failed connect counts as."""
    return FailureKind.CONNECT_TIMEOUT if error.reason == TIMEOUT_REASON else FailureKind.CONNECT_FAILURE


class PoolOverflow(MeshError):
    """Ours, on purpose: the circuit breaker has no room for another pending request. Answer 503 UO, never retry here."""


@attrs.frozen(kw_only=True, eq=False)
class UpstreamSecurity:
    """How a cluster's connections are protected: by one context, or by one for each host as its endpoints call it.

    `required` without a context means that none can be made now, `refusal` says why: never plaintext instead.
    """

    required: bool = False
    context: TlsContext | None = None
    context_by_host: Mapping[str, TlsContext] = attrs.field(factory=dict)
    refusal: str = ""

    def context_for(self, host: str) -> TlsContext | None:
        """Return the context for an endpoint; None: plaintext. Raises: ConnectFailed."""
        context = self.context or self.context_by_host.get(host)
        if context is None and self.required:
            raise ConnectFailed(f"{TLS_REASON}{self.refusal or 'this proxy has no certificate yet'}")
        return context


PLAINTEXT = UpstreamSecurity()


class Resolution:
    """Where an endpoint is whose name is being resolved for the first time; requests for it wait here."""

    __slots__ = ("_address", "_known", "failed")

    def __init__(self, reactor: Reactor) -> None:
        self._address: Address | None = None
        self.failed = False
        self._known = Signal(reactor)

    async def wait(self) -> Address:
        """Return the address as soon as it is known. Raises: ConnectFailed."""
        while self._address is None:
            if self.failed:
                raise ConnectFailed("dns resolution failure")
            await self._known.wait()
        return self._address

    def succeed(self, address: Address) -> None:
        self._address = address
        self._known.wake_all()

    def fail(self) -> None:
        """There is no address, for now; who comes from here on does not wait."""
        self.failed = True
        self._known.wake_all()


class UpstreamEndpoint:
    """One endpoint as this proxy sees it: its connections, its load and what outlier detection remembers of it.

    `host` is the address as the configuration wrote it, `hostname` what requests call it (b"": as the client did).
    """

    __slots__ = (
        "active",
        "address",
        "check_failed",
        "connections",
        "excluded",
        "health",
        "healthy",
        "healthy_since",
        "host",
        "hostname",
        "idle",
        "label",
        "latency",
        "locality",
        "locality_weight",
        "name",
        "priority",
        "removed",
        "resolution",
        "tags",
        "tls_failure",
        "waiting",
        "weight",
    )

    def __init__(self, name: str, address: Address, reactor: Reactor, health: HostRecord | None) -> None:
        self.name = name
        self.address = address
        self.label = str(address)
        self.host = address.host
        self.hostname = b""
        self.resolution: Resolution | None = None
        self.priority = 0
        self.weight = 1
        self.locality = ""
        self.locality_weight = 0
        self.tags: tuple[tuple[str, str], ...] = ()
        self.healthy = True  # as the control plane says
        self.check_failed = False  # an active health check failed, or none has been passed yet
        self.excluded = False  # it said so itself in a response: it does not even take part in a panic
        self.healthy_since = -math.inf  # when it last became usable; -inf: never yet
        self.latency: PeakEwma | None = None  # the selector's, where the balancer looks at it
        self.removed = False
        self.active = 0  # requests under way, read by the balancers
        self.connections = 0
        self.idle: list[UpstreamConnection] = []
        self.waiting = Signal(reactor)
        self.health = health
        self.tls_failure = ("", 0.0)  # the last one in the log, and when it was logged


class UpstreamConnection:
    """One open connection and its parser. Watched all its life: while idle, whatever happens to it ends it."""

    __slots__ = ("connection", "disturbed", "endpoint", "era", "idle", "idle_since", "parser", "pool")

    def __init__(self, pool: "UpstreamPool", endpoint: UpstreamEndpoint, connection: Connection, era: int) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.connection = connection
        self.era = era
        self.parser = ResponseParser()
        self.idle = False
        self.idle_since = 0.0
        self.disturbed = False  # something came that nobody was waiting for at that moment
        connection.watch(self._on_event)

    def _on_event(self) -> None:
        if not self.idle:
            self.disturbed = True
            return
        # The peer closed it, or sent what nobody asked for: either way it is of no use any more.
        self.endpoint.idle.remove(self)
        self.pool.discard(self)

    def look_again(self) -> None:
        """Have it reported once more what came while the connection was in use, if that is still there."""
        self.disturbed = False
        self.connection.watch(self._on_event)


class UpstreamPool:
    """All connections of one cluster."""

    def __init__(self, reactor: Reactor, breaker: CircuitBreaker, stats: ClusterStats) -> None:
        self._reactor = reactor
        self._breaker = breaker
        self._stats = stats
        self.connect_timeout_s = 5.0
        self.security = PLAINTEXT
        self.era = 0  # connections of an earlier one are not used again

    def use(self, security: UpstreamSecurity) -> bool:
        """Protect new connections so. Return whether those that are open may not carry another request.

        They may when only certificates or trust have been renewed; not when what is to be proved is another thing.
        """
        if security is self.security:
            return False
        other = security.required != self.security.required or bool(security.refusal or security.context_by_host)
        self.security = security
        self.era += other
        return other

    async def open(self, endpoint: UpstreamEndpoint, *, deadline: float) -> UpstreamConnection:
        """Open a connection, or wait for one to become idle where no more are allowed. `deadline` is the request's.

        Raises: PoolOverflow, ConnectFailed (its reason in Envoy's words), DeadlineExceeded.
        """
        breaker = self._breaker
        if not breaker.admit_pending():
            raise PoolOverflow
        self._stats.pending_total += 1
        try:
            while True:
                if breaker.admit_connection(first_of_host=endpoint.connections == 0):
                    return await self._connect(endpoint, deadline)
                await endpoint.waiting.wait()
                if endpoint.idle:
                    upstream = endpoint.idle.pop()
                    upstream.idle = False
                    return upstream
        finally:
            breaker.release_pending()

    async def open_exclusive(self, endpoint: UpstreamEndpoint) -> Connection:
        """Open a connection for one opaque TCP relay, which `forget`s it at its end. Raises: PoolOverflow, ConnectFailed.

        As in Envoy, connections that are being made count as pending requests.
        """
        breaker = self._breaker
        if not breaker.admit_pending():
            raise PoolOverflow
        self._stats.pending_total += 1
        try:
            if not breaker.admit_connection(first_of_host=endpoint.connections == 0):
                raise PoolOverflow
            return (await self._connect(endpoint, math.inf)).connection
        finally:
            breaker.release_pending()

    async def _connect(self, endpoint: UpstreamEndpoint, deadline: float) -> UpstreamConnection:
        pump = self._reactor.current
        assert pump is not None
        endpoint.connections += 1
        self._stats.connections_total += 1
        began = self._reactor.now()
        connect_deadline = began + self.connect_timeout_s
        pump.set_deadline(min(deadline, connect_deadline))
        try:
            connection, era = await self.dial(endpoint)
        except BaseException as error:
            self.forget(endpoint)
            self._stats.connect_fail += 1
            if isinstance(error, DeadlineExceeded) and connect_deadline <= deadline:
                self._stats.connect_timeout += 1
                raise ConnectFailed(TIMEOUT_REASON) from error
            raise
        finally:
            pump.set_deadline(deadline)
        self._stats.connect_ms.add((self._reactor.now() - began) * 1000.0)
        return UpstreamConnection(self, endpoint, connection, era)

    async def dial(self, endpoint: UpstreamEndpoint) -> tuple[Connection, int]:
        """Open a connection as this cluster's are, but counted nowhere; return it and the era that it belongs to.

        For `_connect` and for health checks, which must not take the places of requests. The pump's deadline is the
        caller's. Raises: ConnectFailed, DeadlineExceeded.
        """
        connection: Connection | None = None
        try:
            self.security.context_for(endpoint.host)  # Nobody is connected to in vain.
            address = endpoint.address if endpoint.resolution is None else await endpoint.resolution.wait()
            connection = await self._reactor.connect(address)
            # Both as they are now: they may have changed while we waited, and will while hands are shaken.
            era, tls = self.era, self.security.context_for(endpoint.host)
            if tls is not None:
                connection = await tls.handshake(connection)
            return connection, era
        except BaseException as error:
            if connection is not None:
                connection.close()  # Not abort: a reset could overtake the alert that tells the peer why.
            if isinstance(error, BrokenConnection) and not isinstance(error, ConnectFailed):
                tls_failed = error.reason.startswith(TLS_REASON)
                raise ConnectFailed(error.reason if tls_failed else "remote connection failure") from error
            if isinstance(error, IdentityError):
                raise ConnectFailed(f"{TLS_REASON}{error}") from error
            raise

    def release(self, upstream: UpstreamConnection) -> None:
        """Take a connection back whose response has been read whole."""
        endpoint = upstream.endpoint
        if endpoint.removed or not endpoint.healthy or upstream.era != self.era:
            self.discard(upstream)
            return
        if endpoint.connections > 1 and self._breaker.has_connections_to_spare:
            self.discard(upstream)
            return
        upstream.idle = True
        upstream.idle_since = self._reactor.now()
        endpoint.idle.append(upstream)
        if endpoint.waiting:
            endpoint.waiting.wake()
        if upstream.disturbed:
            upstream.look_again()

    def close_surplus(self, endpoint: UpstreamEndpoint) -> None:
        """Close idle connections while there are more than the breaker allows; each endpoint may keep one.

        A lowered limit thus holds at once, as in Envoy, where a changed cluster begins with an empty pool.
        """
        while endpoint.idle and endpoint.connections > 1 and self._breaker.has_connections_to_spare:
            upstream = endpoint.idle.pop(0)  # The one idle for longest.
            upstream.idle = False
            self.discard(upstream)

    def discard(self, upstream: UpstreamConnection) -> None:
        """Close a connection that cannot be used again."""
        upstream.connection.close()
        self.forget(upstream.endpoint)

    def forget(self, endpoint: UpstreamEndpoint) -> None:
        """One connection to the endpoint is gone: make room for another."""
        endpoint.connections -= 1
        self._breaker.release_connection()
        if endpoint.waiting:
            endpoint.waiting.wake()

    def close_idle(self, endpoint: UpstreamEndpoint, *, since: float) -> None:
        """Close the connections that have been idle since before `since` (seconds of the reactor's clock)."""
        stale = [upstream for upstream in endpoint.idle if upstream.idle_since <= since]
        if stale:
            endpoint.idle = [upstream for upstream in endpoint.idle if upstream.idle_since > since]
            for upstream in stale:
                upstream.idle = False
                self.discard(upstream)
