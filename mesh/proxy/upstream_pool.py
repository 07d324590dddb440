"""Upstream connections of one cluster: kept open, handed out newest first, counted against the circuit breaker.

HTTP/1.1: one request at a time on a connection. A request takes an idle connection at once; else it counts as pending
while it opens one or waits for one. Source: Envoy conn_pool_base (pending, connections, one connection per host always).
Does not choose endpoints and does not retry.
"""

import math

from mesh.model.errors import BrokenConnection, ConnectFailed, DeadlineExceeded, IdentityError, MeshError
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.outlier_detection import HostRecord
from mesh.protocol.http1 import ResponseParser
from mesh.runtime.environment import Connection, Reactor, TlsContext
from mesh.runtime.pump import Signal
from mesh.telemetry.metrics import ClusterStats


class PoolOverflow(MeshError):
    """Ours, on purpose: the circuit breaker has no room for another pending request. Answer 503 UO, never retry here."""


class UpstreamEndpoint:
    """One endpoint as this proxy sees it: its connections, its load and what outlier detection remembers of it."""

    __slots__ = (
        "active",
        "address",
        "connections",
        "health",
        "healthy",
        "idle",
        "label",
        "name",
        "removed",
        "waiting",
        "weight",
    )

    def __init__(self, name: str, address: Address, reactor: Reactor, health: HostRecord | None) -> None:
        self.name = name
        self.address = address
        self.label = str(address)
        self.weight = 1
        self.healthy = True
        self.removed = False
        self.active = 0  # requests under way, read by the balancers
        self.connections = 0
        self.idle: list[UpstreamConnection] = []
        self.waiting = Signal(reactor)
        self.health = health


class UpstreamConnection:
    """One open connection and its parser. Watched all its life: while idle, whatever happens to it ends it."""

    __slots__ = ("connection", "disturbed", "endpoint", "idle", "idle_since", "parser", "pool")

    def __init__(self, pool: "UpstreamPool", endpoint: UpstreamEndpoint, connection: Connection) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.connection = connection
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
        self.tls: TlsContext | None = None
        self.tls_required = False  # never plaintext for want of a certificate

    async def open(self, endpoint: UpstreamEndpoint, *, deadline: float) -> UpstreamConnection:
        """Open a connection, or wait for one to become idle where no more are allowed. `deadline` is the request's.

        Raises: PoolOverflow, ConnectFailed (its reason in Envoy's words), DeadlineExceeded.
        """
        breaker = self._breaker
        if not breaker.admit_pending():
            raise PoolOverflow
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
        connect_deadline = self._reactor.now() + self.connect_timeout_s
        pump.set_deadline(min(deadline, connect_deadline))
        connection: Connection | None = None
        try:
            if self.tls_required and self.tls is None:
                raise ConnectFailed("TLS error: this proxy has no certificate yet")
            connection = await self._reactor.connect(endpoint.address)
            if self.tls is not None:
                connection = await self.tls.handshake(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()  # Not abort: a reset could overtake the alert that tells the peer why.
            self.forget(endpoint)
            self._stats.connect_fail += 1
            if isinstance(error, DeadlineExceeded) and connect_deadline <= deadline:
                raise ConnectFailed("connection timeout") from error
            if isinstance(error, IdentityError):
                raise ConnectFailed(f"TLS error: {error}") from error
            if isinstance(error, BrokenConnection) and not isinstance(error, ConnectFailed):
                raise ConnectFailed("remote connection failure") from error
            raise
        finally:
            pump.set_deadline(deadline)
        self._stats.connections_total += 1
        return UpstreamConnection(self, endpoint, connection)

    def release(self, upstream: UpstreamConnection) -> None:
        """Take a connection back whose response has been read whole."""
        endpoint = upstream.endpoint
        if endpoint.removed or not endpoint.healthy:
            self.discard(upstream)
            return
        upstream.idle = True
        upstream.idle_since = self._reactor.now()
        endpoint.idle.append(upstream)
        if endpoint.waiting:
            endpoint.waiting.wake()
        if upstream.disturbed:
            upstream.look_again()

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
