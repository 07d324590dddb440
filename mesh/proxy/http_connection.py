"""One downstream HTTP/1.1 connection: reads requests one after the other and runs an exchange for each."""

import math
from typing import TYPE_CHECKING

import attrs

from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.model.randomness import Random
from mesh.policy.authorization import Authorizer, Verdict
from mesh.policy.timeout import Deadlines
from mesh.protocol import trace_context
from mesh.protocol.http1 import BodyKind, BodyReader, RequestHead, RequestParser
from mesh.proxy.downstream import Downstream, DownstreamGone
from mesh.proxy.http_exchange import HttpExchange
from mesh.proxy.local_reply import HEADERS_TIMEOUT, LocalReply, bad_request, encode_local_reply
from mesh.proxy.plan import RoutePlan
from mesh.proxy.request_body import NO_BODY, RequestBody
from mesh.runtime.drain import Drain
from mesh.runtime.environment import Connection, Reactor
from mesh.telemetry.request_record import RecordSink, RequestRecord

if TYPE_CHECKING:
    from mesh.proxy.listener import ProxyListener

# Fields that we write ourselves: what the client wrote there goes.
_OURS_OUTBOUND = frozenset({b"x-envoy-expected-rq-timeout-ms"})
_OURS_INBOUND = _OURS_OUTBOUND | {b"x-forwarded-client-cert"}


@attrs.frozen(kw_only=True, eq=False)
class ProxyContext:
    """What all connections of one sidecar share."""

    reactor: Reactor
    random: Random
    records: RecordSink
    drain: Drain


class HttpConnection:
    """Serves one connection, each request under the plan that is current when it begins."""

    __slots__ = (
        "_denied",
        "_judged_by",
        "_listener",
        "_parser",
        "_peer_headers",
        "connection",
        "context",
        "deadlines",
        "downstream",
        "peer",
        "plan",
        "pump",
        "reactor",
    )

    def __init__(self, connection: Connection, listener: "ProxyListener", context: ProxyContext) -> None:
        reactor = context.reactor
        pump = reactor.current
        assert pump is not None
        self.connection = connection
        self.context = context
        self.reactor = reactor
        self.pump = pump
        self.plan = listener.http_plan
        self.peer = "" if connection.peer is None else str(connection.peer)
        self.deadlines = Deadlines()
        self.downstream = Downstream(connection, reactor)
        self._listener = listener
        self._parser = RequestParser()
        self._judged_by: Authorizer | None = None
        self._denied = False
        # Envoy's form; the application learns who called. What a client wrote there itself is cut.
        told = self.plan.inbound and self.peer
        self._peer_headers = (
            f"x-forwarded-client-cert: By={listener.plan.own_id};URI={self.peer}\r\n".encode() if told else b""
        )

    def denied(self) -> bool:
        """Does no permission let this peer in? Decided anew whenever the permissions have changed."""
        authorizer = self._listener.plan.authorizer
        if authorizer is not self._judged_by:
            self._judged_by = authorizer
            self._denied = authorizer is not None and authorizer.decide(self.connection.peer) is Verdict.DENIED
        return self._denied

    async def serve(self) -> None:
        """Serve requests until the client, an error or a drain ends the connection."""
        drain = self.context.drain
        try:
            while (head := await self._read_head()) is not None:
                if not self._listener.accepts(self.connection):
                    return  # TLS has become strict meanwhile.
                drain.enter()
                try:
                    if not await HttpExchange(self, head, self._body(head)).run():
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
        self.pump.set_deadline(self.reactor.now() + plan.idle_s if plan.idle_s else math.inf)
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
                    return head
                if not begun and plan.headers_s:
                    self.pump.set_deadline(self.reactor.now() + plan.headers_s)
                begun = True
        except RemoteProtocolError as error:
            await self._refuse(bad_request(error))
        except DeadlineExceeded:
            if begun:
                await self._refuse(HEADERS_TIMEOUT)
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
        self.pump.set_deadline(now + 1.0)
        try:
            await self.downstream.send(encode_local_reply(reply, method=b"", close=True))
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
        record.traceparent = trace_context.start(random, True) if span is None else span
        return record

    def forwarded_head(self, head: RequestHead, route: RoutePlan, record: RequestRecord, *, host: bytes = b"") -> bytes:
        """Return the head to send upstream: as it came, minus what is hop by hop, plus what proxies add.

        Of upgrades only WebSocket goes on: with another one (h2c) requests would pass that no filter sees. `host` takes
        the place of the client's: servers outside the mesh know themselves by their own name only.
        """
        extra = route.request_headers + self._peer_headers
        if head.request_id is None:
            extra += b"x-request-id: " + record.request_id + b"\r\n"
        written = head.host
        if host:
            head.set_host(host)
        forwarded = head.forward(
            extra=extra,
            traceparent=record.traceparent,
            remove=_OURS_INBOUND if record.inbound else _OURS_OUTBOUND,
            upgrade=head.upgrade is not None and head.upgrade.strip().lower() == b"websocket",
        )
        if host:
            head.set_host(written)  # Another try may go where the client's word stands.
        return forwarded
