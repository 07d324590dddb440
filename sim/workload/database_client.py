"""Statements to one database as an application sends them: pooled connections, one statement at a time on each. For pumps."""

from collections.abc import Awaitable, Callable

from mesh.model.names import Address
from mesh.runtime.environment import Connection, Reactor
from sim.scenario.topology import ServiceKind
from sim.workload.connection_pool import ConnectionPool
from sim.workload.postgresql import call_postgresql, encode_query, open_postgresql
from sim.workload.redis import ask_redis, call_redis, encode_command
from sim.workload.steps import BAD, GOOD, Inbound, Send

CONNECTIONS_MAX = 64  # An ordinary pool's size; statements beyond it wait for a connection.


class DatabaseClient:
    """Statements to one address."""

    def __init__(
        self, reactor: Reactor, address: Address, kind: ServiceKind, *, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self.pool = ConnectionPool(reactor, address, connections_max=connections_max)
        self._kind = kind

    def sender(self, verb: str, target: str) -> Send:
        """Prepare one statement: `SELECT`, `users`, or `GET` of a cache."""
        if self._kind is ServiceKind.REDIS:
            return self._sender(encode_command(verb, "key"), call_redis)
        return self._sender(encode_query(verb, target), call_postgresql)

    def _sender(self, statement: bytes, call: Callable[[Connection, bytes], Awaitable[bool]]) -> Send:
        pool, opens = self.pool, self._kind is ServiceKind.POSTGRESQL

        async def send(inbound: Inbound) -> int:
            pooled = pool.take_idle() or await pool.acquire()
            try:
                if opens and pooled.codec is None:
                    await open_postgresql(pooled.connection)
                    pooled.codec = True
                good = await call(pooled.connection, statement)
            except BaseException:
                pool.discard(pooled)
                raise
            pool.release(pooled)
            return GOOD if good else BAD

        return send

    async def ask_key(self, verb: str, key: str) -> bool:
        """Send one command about a key; of GET: is it there? Raises: BrokenConnection, RemoteProtocolError, DeadlineExceeded."""
        pool = self.pool
        pooled = pool.take_idle() or await pool.acquire()
        try:
            found = await ask_redis(pooled.connection, encode_command(verb, key))
        except BaseException:
            pool.discard(pooled)
            raise
        pool.release(pooled)
        return found

    def close(self) -> None:
        """Close what is idle."""
        self.pool.close()
