"""Connections of one application to one address: kept open, newest used first, opened when all are busy. For pumps.

Bounded: past `connections_max` a pump waits for one to come back. An idle connection that the peer closes leaves the pool.
What travels on a connection is the business of whoever acquired it.
"""

from mesh.model.names import Address
from mesh.runtime.environment import Connection, Reactor
from mesh.runtime.pump import Signal

CONNECTIONS_MAX = 4096


class PooledConnection:
    """One connection, its parser's state (if its protocol needs any) and whether it was used before."""

    __slots__ = ("_pool", "codec", "connection")

    def __init__(self, pool: "ConnectionPool", connection: Connection) -> None:
        self._pool = pool
        self.connection = connection
        self.codec: object = None

    def on_event_while_idle(self) -> None:
        """The peer closed it, or sent what nobody asked for: of no use any more."""
        self._pool.idle.remove(self)
        self._pool.discard(self)


class ConnectionPool:
    """All connections of one application to one address."""

    def __init__(self, reactor: Reactor, address: Address, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self.reactor = reactor
        self.address = address
        self.connections_max = connections_max
        self.idle: list[PooledConnection] = []
        self._open = 0
        self._waiting = Signal(reactor)
        self._wanting = 0  # pumps in `acquire` that found no room

    def take_idle(self) -> PooledConnection | None:
        """Return the connection that became idle last; None when there is none."""
        if not self.idle:
            return None
        pooled = self.idle.pop()
        pooled.connection.watch(None)
        return pooled

    async def acquire(self) -> PooledConnection:
        """Return an idle connection or open one. Raises: ConnectFailed, DeadlineExceeded."""
        while True:
            pooled = self.take_idle()
            if pooled is not None:
                return pooled
            if self._open < self.connections_max:
                return await self._connect()
            self._wanting += 1
            try:
                await self._waiting.wait()
            finally:
                self._wanting -= 1

    async def _connect(self) -> PooledConnection:
        self._open += 1
        try:
            return PooledConnection(self, await self.reactor.connect(self.address))
        except BaseException:
            self._closed()
            raise

    def release(self, pooled: PooledConnection) -> None:
        """Take back a connection whose last answer was read whole."""
        self.idle.append(pooled)
        pooled.connection.watch(pooled.on_event_while_idle)
        if self._wanting:
            self._waiting.wake()

    def discard(self, pooled: PooledConnection) -> None:
        """Drop a connection in an unknown state: broken, or with an answer still to come."""
        pooled.connection.abort()
        self._closed()

    def _closed(self) -> None:
        self._open -= 1
        if self._wanting:
            self._waiting.wake()

    def drop_idle(self) -> None:
        """Drop what is idle without a word, as a client that has lost its network."""
        idle, self.idle = self.idle, []
        for pooled in idle:
            pooled.connection.watch(None)
            self.discard(pooled)

    def close(self) -> None:
        """Close what is idle; what is in use is closed by its user."""
        for pooled in self.idle:
            pooled.connection.watch(None)
            pooled.connection.close()
        self._open -= len(self.idle)
        self.idle.clear()
