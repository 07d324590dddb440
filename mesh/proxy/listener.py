"""Listeners: accept a connection, unless there are too many, take off TLS, hand it to its protocol.

A listener keeps its socket while its plan changes; connections read the plan that is current.
"""

import math

from structlog.typing import FilteringBoundLogger

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded, IdentityError
from mesh.model.names import Address
from mesh.model.traffic import ResponseFlag, TlsMode
from mesh.policy.authorization import Verdict
from mesh.proxy.http_connection import HttpConnection, ProxyContext
from mesh.proxy.plan import NO_HTTP, HttpPlan, ListenerPlan, TcpPlan
from mesh.proxy.tcp_connection import TcpConnection
from mesh.runtime.environment import Connection, ReactorListener, TlsContext
from mesh.runtime.pump import Pump
from mesh.telemetry.metrics import ListenerStats
from mesh.telemetry.request_record import RequestRecord

HANDSHAKE_TIMEOUT_S = 10.0
TLS_HANDSHAKE_RECORD = 0x16
# A client of TLS speaks at once. Envoy waits 15 s for a first byte and then closes, so that such protocols fail there.
SILENCE_S = 1.0


class ProxyListener:
    """One listening address of the sidecar."""

    def __init__(self, plan: ListenerPlan, *, context: ProxyContext, log: FilteringBoundLogger) -> None:
        self.plan = plan
        self.tls: TlsContext | None = None
        self.stats = ListenerStats()
        self._context = context
        self._log = log.bind(listener=plan.name)
        self._socket: ReactorListener | None = None
        # What HTTP connections go by; a change of protocol leaves those that are open on what they began with.
        self.http_plan: HttpPlan = NO_HTTP
        self._relayed: dict[Connection, None] = {}  # opaque connections under way
        self.replace_plan(plan)

    def open(self) -> None:
        """Begin to accept. Raises: ConfigError when the address is taken."""
        self._socket = self._context.reactor.listen(self.plan.address, self._serve)

    def close(self) -> None:
        """Stop accepting; connections live on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def replace_plan(self, plan: ListenerPlan) -> None:
        """Go by another plan: requests from the next one on, opaque connections that it forbids are reset."""
        self.plan = plan
        if isinstance(plan.handle, HttpPlan):
            self.http_plan = plan.handle
        for connection in list(self._relayed):
            if not self.accepts(connection) or self._denies(connection):
                connection.abort()

    @property
    def address(self) -> Address:
        return self.plan.address

    async def _serve(self, connection: Connection) -> None:
        limiter, stats = self.plan.connection_limiter, self.stats
        stats.connections_total += 1
        if limiter is not None and not limiter.admit(self._context.reactor.now()):
            self._refuse(connection)
            return
        stats.connections_active += 1
        secured: Connection | None = None
        try:
            secured = await self._secure(connection)
            handle = self.plan.handle
            if isinstance(handle, HttpPlan):
                await HttpConnection(secured, self, self._context).serve()
            else:
                self._relayed[secured] = None
                await TcpConnection(secured, handle, self, self._context).serve()
        except (IdentityError, BrokenConnection, ClosedConnection, DeadlineExceeded) as error:
            if secured is None:
                self._log.debug("connection.refused", remote=str(connection.remote), reason=str(error))
            elif isinstance(error, IdentityError | DeadlineExceeded):
                raise
        finally:
            stats.connections_active -= 1
            if secured is None:
                connection.close()  # Not abort: a reset could overtake the alert that tells the peer why.
            else:
                self._relayed.pop(secured, None)
                secured.close()

    def _refuse(self, connection: Connection) -> None:
        """Close a connection above the rate. Of opaque ones a record is left, with the flag that Envoy gives it."""
        connection.close()
        handle, now = self.plan.handle, self._context.reactor.now()
        if isinstance(handle, TcpPlan):
            record = RequestRecord(inbound=handle.inbound, started_at=now)
            record.flags, record.detail = (ResponseFlag.RETRY_LIMIT_EXCEEDED,), "local_rate_limited"
            self._context.records.append(record)

    async def _secure(self, connection: Connection) -> Connection:
        """Take off TLS as the mode says. Raises: IdentityError, BrokenConnection, DeadlineExceeded."""
        mode = self.plan.tls_mode
        if mode is TlsMode.OFF:
            return connection
        pump = self._context.reactor.current
        assert pump is not None
        pump.set_deadline(self._context.reactor.now() + HANDSHAKE_TIMEOUT_S)
        if mode is TlsMode.PERMISSIVE and not await self._begins_with_tls(connection, pump):
            pump.set_deadline(math.inf)
            return connection
        if self.tls is None:
            raise IdentityError("this proxy has no certificate yet")
        secured = await self.tls.handshake(connection)
        pump.set_deadline(math.inf)
        return secured

    async def _begins_with_tls(self, connection: Connection, pump: Pump) -> bool:
        """Look at the first byte. On an opaque port a client that stays silent waits for the server: it speaks plaintext."""
        opaque, reactor = not isinstance(self.plan.handle, HttpPlan), self._context.reactor
        if opaque:
            pump.set_deadline(reactor.now() + SILENCE_S)
        try:
            first = await connection.receive()
        except DeadlineExceeded:
            if not opaque:
                raise
            return False
        connection.unread(first)
        pump.set_deadline(reactor.now() + HANDSHAKE_TIMEOUT_S)
        return first[:1] == bytes((TLS_HANDSHAKE_RECORD,))

    def accepts(self, connection: Connection) -> bool:
        """May this connection, opened perhaps under another plan, still be used as far as TLS is concerned?"""
        return connection.secure or self.plan.tls_mode is not TlsMode.STRICT

    def _denies(self, connection: Connection) -> bool:
        authorizer = self.plan.authorizer
        if authorizer is None:
            return False
        return authorizer.decide(connection.peer, connection.sni).verdict is Verdict.DENIED
