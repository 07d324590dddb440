"""One downstream HTTP/1.1 connection: reads requests one after the other and runs an exchange for each."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.model.randomness import Random
from mesh.policy.authorization import UNDECIDED, Authorizer, Decision
from mesh.policy.timeout import Deadlines
from mesh.protocol import trace_context
from mesh.protocol.http1 import BodyKind, BodyReader, RequestHead, RequestParser
from mesh.proxy.control import is_trusted
from mesh.proxy.downstream import Downstream, DownstreamGone
from mesh.proxy.http_exchange import HttpExchange
from mesh.proxy.local_reply import HEADERS_TIMEOUT, LocalReply, bad_request, encode_local_reply
from mesh.proxy.request_body import NO_BODY, RequestBody
from mesh.runtime.drain import Drain
from mesh.runtime.environment import Connection, Reactor
from mesh.telemetry.metrics import count_completed
from mesh.telemetry.request_record import RecordSink, RequestRecord

if TYPE_CHECKING:
    from mesh.proxy.listener import ProxyListener

# How long a connection that is too old waits for one more request, to tell its client so.
# Source: Envoy HttpConnectionManager.drain_timeout.
DRAIN_S = 5.0


@attrs.frozen(kw_only=True, eq=False)
class ProxyContext:
    """What all connections of one sidecar share."""

    reactor: Reactor
    wall_clock: Callable[[], float]  # seconds since the epoch
    random: Random
    records: RecordSink
    drain: Drain


class HttpConnection:
    """Serves one connection, each request under the plan that is current when it begins."""

    __slots__ = (
        "_authorizer",
        "_decision",
        "_listener",
        "_parser",
        "connection",
        "context",
        "deadlines",
        "downstream",
        "expires_at",
        "peer",
        "peer_lines",
        "plan",
        "pump",
        "reactor",
        "stats",
        "trusted",
    )

    def __init__(self, connection: Connection, listener: "ProxyListener", context: ProxyContext) -> None:
        reactor = context.reactor
        pump = reactor.current
        assert pump is not None
        self.connection = connection
        self.context = context
        self.reactor = reactor
        self.pump = pump
        self.plan = plan = listener.http_plan
        self.stats = listener.stats
        self.expires_at = reactor.now() + plan.connection_s_max if plan.connection_s_max else math.inf
        self.trusted = is_trusted(connection, inbound=plan.inbound)
        self.peer = "" if connection.peer is None else str(connection.peer)
        self.deadlines = Deadlines()
        self.downstream = Downstream(connection, reactor)
        self._listener = listener
        self._parser = RequestParser()
        self._authorizer: Authorizer | None = None
        self._decision = UNDECIDED
        # Envoy's form; the application learns who called. What a client wrote there itself is cut.
        told = plan.inbound and self.peer
        self.peer_lines = (
            f"x-forwarded-client-cert: By={listener.plan.own_id};URI={self.peer}\r\n".encode() if told else b""
        )

    def authorization(self) -> tuple[Authorizer | None, Decision]:
        """Return who decides on this peer, and how: anew whenever the permissions have changed. None: they are not enforced."""
        authorizer = self._listener.plan.authorizer
        if authorizer is not self._authorizer:
            self._authorizer = authorizer
            if authorizer is not None:
                self._decision = authorizer.decide(self.connection.peer, self.connection.sni)
        return authorizer, self._decision

    async def serve(self) -> None:
        """Serve requests until the client, an error or a drain ends the connection."""
        drain = self.context.drain
        try:
            while (head := await self._read_head()) is not None:
                if not self._listener.accepts(self.connection):
                    return  # TLS has become strict meanwhile.
                drain.enter()
                try:
                    exchange = HttpExchange(self, head, self._body(head))
                    self.stats.requests_total += 1
                    if not await exchange.run():
                        return
                finally:
                    drain.leave()
        except RemoteProtocolError as error:  # Of a body that came with its head.
            await self._refuse(bad_request(error))
        except (DownstreamGone, BrokenConnection):
            return

    async def _read_head(self) -> RequestHead | None:
        """Return the next request's head; None when there will be none."""
        downstream = self.downstream
        plan = self.plan = self._listener.http_plan
        deadline = self.reactor.now() + plan.idle_s if plan.idle_s else math.inf
        if deadline > self.expires_at:  # With time to tell a client that asks once more.
            deadline = min(deadline, self.expires_at + DRAIN_S)
        self.pump.set_deadline(deadline)
        buffer, downstream.buffer = downstream.buffer, b""
        begun = False
        try:
            while True:
                # At the end of the stream too: an empty buffer is never a request.
                if not buffer or begun:
                    data = await self.connection.receive()
                    if not data:
                        return None
                    buffer = buffer + data if buffer else data
                parsed = self._parser.parse(buffer)
                if parsed is not None:
                    head, consumed = parsed
                    if consumed != len(buffer):
                        downstream.buffer = buffer[consumed:]
                    self.plan = self._listener.http_plan  # It may be another one than when the waiting began.
                    return head
                if not begun and plan.headers_s:
                    self.pump.set_deadline(self.reactor.now() + plan.headers_s)
                begun = True
        except RemoteProtocolError as error:
            await self._refuse(bad_request(error))
        except DeadlineExceeded:
            if begun:
                self.stats.late_heads += 1
                await self._refuse(HEADERS_TIMEOUT)
            elif self.reactor.now() >= self.expires_at:
                self.stats.connections_over_duration += 1
            else:
                self.stats.connections_idle += 1
        return None

    def _body(self, head: RequestHead) -> RequestBody:
        if head.body is BodyKind.NONE:
            return NO_BODY
        downstream = self.downstream
        reader = BodyReader(head.body, head.body_length)
        if not downstream.buffer:
            return RequestBody(downstream, reader, b"")
        part, done, downstream.buffer = reader.feed(downstream.buffer)
        return RequestBody(downstream, None if done else reader, part)

    async def _refuse(self, reply: LocalReply) -> None:
        now = self.reactor.now()
        record = RequestRecord(inbound=self.plan.inbound, started_at=now, peer=self.peer)
        record.status, record.flags, record.detail = reply.status, reply.flags, reply.detail
        self.context.records.append(record)
        self.stats.requests_total += 1
        count_completed(self.stats, None, reply.status, 0.0)
        self.pump.set_deadline(now + 1.0)
        try:
            await self.downstream.send(encode_local_reply(reply, None, close=True)[0])
        except DeadlineExceeded:
            return

    def new_record(self, head: RequestHead) -> RequestRecord:
        """Begin the record of a request, with its id and its place in a trace."""
        record = RequestRecord(
            inbound=self.plan.inbound,
            started_at=self.reactor.now(),
            peer=self.peer,
            method=head.method,
            path=head.target,
            authority=head.host,
        )
        random = self.context.random
        record.request_id = head.request_id or trace_context.request_id(random)
        received = head.traceparent
        span = None if received is None else trace_context.child_of(received, random)
        if received is None or span is None:
            record.traceparent = trace_context.start(random, True)
        else:
            record.traceparent, record.parent = span, received
        return record
