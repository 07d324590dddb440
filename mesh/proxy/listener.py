"""Listeners: accept a connection, take off TLS, ask for permission, hand it to its protocol.

A listener keeps its socket while its plan changes; connections read the plan that is current.
"""

import math

from structlog.typing import FilteringBoundLogger

from mesh.model.errors import BrokenConnection, ClosedConnection, ConnectFailed, DeadlineExceeded, IdentityError
from mesh.model.names import Address
from mesh.model.traffic import ResponseFlag, TlsMode
from mesh.policy.authorization import Verdict
from mesh.proxy.http_connection import HttpConnection, ProxyContext
from mesh.proxy.plan import HttpPlan, ListenerPlan, TcpPlan
from mesh.proxy.tcp_relay import relay
from mesh.proxy.upstream_pool import PoolOverflow, UpstreamEndpoint, connect_failure_kind
from mesh.runtime.environment import Connection, ReactorListener, TlsContext
from mesh.telemetry.request_record import RequestRecord

HANDSHAKE_TIMEOUT_S = 10.0
TLS_HANDSHAKE_RECORD = 0x16


class ProxyListener:
    """One listening address of the sidecar."""

    def __init__(self, plan: ListenerPlan, *, context: ProxyContext, log: FilteringBoundLogger) -> None:
        self.plan = plan
        self.tls: TlsContext | None = None
        self._context = context
        self._log = log.bind(listener=plan.name)
        self._socket: ReactorListener | None = None
        self._http_plan: HttpPlan | None = None
        self._relayed: dict[Connection, None] = {}  # opaque connections under way

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
        for connection in list(self._relayed):
            if not self.accepts(connection) or self._denies(connection):
                connection.abort()

    @property
    def address(self) -> Address:
        return self.plan.address

    @property
    def http_plan(self) -> HttpPlan:
        """What an HTTP listener does now; a change of protocol keeps the old connections on what they began with."""
        handle = self.plan.handle
        if isinstance(handle, HttpPlan):
            self._http_plan = handle
        assert self._http_plan is not None
        return self._http_plan

    async def _serve(self, connection: Connection) -> None:
        try:
            secured = await self._secure(connection)
        except (IdentityError, BrokenConnection, ClosedConnection, DeadlineExceeded) as error:
            self._log.debug("connection.refused", remote=str(connection.remote), reason=str(error))
            connection.close()  # Not abort: a reset could overtake the alert that tells the peer why.
            return
        handle = self.plan.handle
        try:
            if isinstance(handle, HttpPlan):
                await HttpConnection(secured, self, self._context).serve()
            elif self._denies(secured):
                self._leave_denied_record(secured)
                secured.abort()
            else:
                self._relayed[secured] = None
                await self._relay(secured, handle)
        except (BrokenConnection, ClosedConnection):
            return
        finally:
            self._relayed.pop(secured, None)
            secured.close()

    async def _secure(self, connection: Connection) -> Connection:
        """Take off TLS as the mode says. Raises: IdentityError, BrokenConnection, DeadlineExceeded."""
        mode = self.plan.tls_mode
        if mode is TlsMode.OFF:
            return connection
        pump = self._context.reactor.current
        assert pump is not None
        pump.set_deadline(self._context.reactor.now() + HANDSHAKE_TIMEOUT_S)
        if mode is TlsMode.PERMISSIVE:
            first = await connection.receive()
            connection.unread(first)
            if first[:1] != bytes((TLS_HANDSHAKE_RECORD,)):
                pump.set_deadline(math.inf)
                return connection
        if self.tls is None:
            raise IdentityError("this proxy has no certificate yet")
        secured = await self.tls.handshake(connection)
        pump.set_deadline(math.inf)
        return secured

    def accepts(self, connection: Connection) -> bool:
        """May this connection, opened perhaps under another plan, still be used as far as TLS is concerned?"""
        return connection.secure or self.plan.tls_mode is not TlsMode.STRICT

    def _denies(self, connection: Connection) -> bool:
        authorizer = self.plan.authorizer
        return authorizer is not None and authorizer.decide(connection.peer) is Verdict.DENIED

    async def _relay(self, connection: Connection, plan: TcpPlan) -> None:
        reactor, cluster = self._context.reactor, plan.cluster
        record = self._new_record(connection, plan)
        record.cluster = cluster.config.name
        self._context.drain.enter()
        try:
            attempt = await self._connect(plan, record)
            if attempt is None:
                connection.abort()
                return
            endpoint, upstream = attempt
            try:
                record.bytes_received, record.bytes_sent = await relay(
                    connection, upstream, reactor=reactor, idle_s=plan.idle_s
                )
            finally:
                upstream.close()
                cluster.pool.forget(endpoint)
                endpoint.active -= 1
        finally:
            self._context.drain.leave()
            record.ended_at = reactor.now()
            self._context.records.append(record)

    async def _connect(self, plan: TcpPlan, record: RequestRecord) -> tuple[UpstreamEndpoint, Connection] | None:
        """Connect to an endpoint, to another one after a failure; None when none could be reached."""
        cluster = plan.cluster
        while record.tries < plan.connects_max:
            record.tries += 1
            if cluster.balancer is None:
                record.flags, record.detail = (ResponseFlag.NO_HEALTHY_UPSTREAM,), "no_healthy_upstream"
                return None
            endpoint = cluster.balancer.pick()
            record.upstream = endpoint.label
            try:
                opened = await cluster.pool.open_exclusive(endpoint)
            except PoolOverflow:
                record.flags, record.detail = (ResponseFlag.UPSTREAM_OVERFLOW,), "overflow"
                return None
            except ConnectFailed as error:
                cluster.on_local_failure(endpoint, connect_failure_kind(error), error.reason)
                record.flags, record.detail = (ResponseFlag.UPSTREAM_CONNECTION_FAILURE,), error.reason
                continue
            cluster.on_connected(endpoint)
            record.flags, record.detail = (), ""
            endpoint.active += 1
            return endpoint, opened
        if plan.connects_max > 1:
            record.flags += (ResponseFlag.RETRY_LIMIT_EXCEEDED,)
        return None

    def _new_record(self, connection: Connection, plan: TcpPlan | HttpPlan) -> RequestRecord:
        record = RequestRecord(inbound=plan.inbound, started_at=self._context.reactor.now())
        record.peer = "" if connection.peer is None else str(connection.peer)
        return record

    def _leave_denied_record(self, connection: Connection) -> None:
        record = self._new_record(connection, self.plan.handle)
        record.detail = "rbac_access_denied_matched_policy[none]"
        record.flags = (ResponseFlag.UNAUTHORIZED,)
        self._context.records.append(record)
