"""One HTTP/1.1 request through the proxy: filters, route, tries, response.

Runs in the pump of its downstream connection. A second pump exists only while a request body that did not arrive
with its head is being streamed. Source: Envoy router filter (source/common/router/router.cc) for the order of decisions.
"""

from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, ConnectFailed, DeadlineExceeded, RemoteProtocolError
from mesh.model.traffic import ResponseFlag
from mesh.policy.failure import FailureKind
from mesh.policy.retry import GiveUp, RetryState
from mesh.policy.timeout import Expiry
from mesh.protocol.http1 import BodyKind, BodyReader, RequestHead
from mesh.proxy.downstream import DownstreamGone
from mesh.proxy.local_reply import (
    NO_HEALTHY_UPSTREAM,
    NO_ROUTE,
    REQUEST_TIMEOUT,
    STREAM_DURATION,
    STREAM_IDLE_TIMEOUT,
    LocalReply,
    bad_request,
    encode_local_reply,
    upstream_failure,
)
from mesh.proxy.plan import RoutePlan
from mesh.proxy.request_body import NO_BODY, BadBody, RequestBody, RequestStalled
from mesh.proxy.tcp_relay import relay
from mesh.proxy.upstream_pool import PoolOverflow, connect_failure_kind
from mesh.proxy.upstream_try import UpstreamTry

if TYPE_CHECKING:
    from mesh.proxy.http_connection import HttpConnection

_OURS = frozenset(
    {b"x-envoy-upstream-service-time"}
)  # What a proxy behind us wrote there is not what its client waited.
_REPLY_BY_EXPIRY = {
    Expiry.REQUEST: REQUEST_TIMEOUT,
    Expiry.STREAM_MAX: STREAM_DURATION,
    Expiry.STREAM_IDLE: STREAM_IDLE_TIMEOUT,
}


class HttpExchange:
    """One request and its response. `run` is the whole life of it."""

    __slots__ = ("body", "broken", "head", "http", "record", "retry", "route", "sent")

    def __init__(self, http: "HttpConnection", head: RequestHead, body: RequestBody) -> None:
        self.http = http
        self.head = head
        self.body = body
        self.record = http.new_record(head)
        self.retry: RetryState | None = None
        self.route: RoutePlan
        self.sent = False  # the current try has written to its upstream
        self.broken = ""  # what the last try's connection broke with

    async def run(self) -> bool:
        """Answer the request; return whether the downstream connection may carry another one."""
        http, record = self.http, self.record
        try:
            for filter_request in http.plan.filters:
                reply = filter_request(self)
                if reply is not None:
                    return await self._reply(reply)
            route = http.plan.route(self.head.path)
            if route is None:
                return await self._reply(NO_ROUTE)
            self.route = route
            record.route = route.name
            record.cluster = route.cluster.config.name
            self._begin()
            answer = await self._tries(http.forwarded_head(self.head, route, record))
            if isinstance(answer, LocalReply):
                return await self._reply(answer)
            if answer.head.status == 101:
                if self.head.upgrade is None:
                    answer.end(reusable=False)
                    return await self._reply(upstream_failure(FailureKind.PROTOCOL_ERROR, retried=record.tries > 1))
                return await self._tunnel(answer)
            return await self._respond(answer)
        except (DownstreamGone, BrokenConnection):  # Upstream's breaking never comes this far.
            record.flags += (ResponseFlag.DOWNSTREAM_CLOSED,)
            record.detail = "downstream_remote_disconnect"
            return False
        except (BadBody, RequestStalled) as error:
            return await self._reply(
                STREAM_IDLE_TIMEOUT if isinstance(error, RequestStalled) else bad_request(error.cause)
            )
        finally:
            self._finish()

    def _begin(self) -> None:
        http, route, now = self.http, self.route, self.record.started_at
        downstream = http.downstream
        if self.body.complete:
            http.pump.set_deadline(http.deadlines.begin_complete(route.timeouts, route.per_try_s, now))
            if not downstream.watched:
                downstream.watch()
            return
        # The client's bytes are for the body's pump; until the last of them has come, only the idle span runs.
        self.body.on_complete = self._on_request_complete
        if downstream.watched:
            downstream.unwatch()
        http.deadlines.begin(route.timeouts, now)
        http.pump.set_deadline(http.deadlines.earliest())

    def _on_request_complete(self) -> None:
        """The last byte of a streamed body has gone upstream: only now the request's and the try's spans begin."""
        http, now = self.http, self.http.reactor.now()
        http.deadlines.begin_response_wait(self.route.timeouts, now)
        self._begin_try(now)

    def _begin_try(self, now: float) -> None:
        deadlines = self.http.deadlines
        deadlines.begin_try(self.route.per_try_s, now)
        self.http.pump.set_deadline(deadlines.earliest())

    async def _tries(self, head: bytes) -> "UpstreamTry | LocalReply":
        """Try until an answer is good enough or no further try is allowed."""
        record, rules, stats = self.record, self.route.retry, self.route.cluster.stats
        reactor, random = self.http.reactor, self.http.context.random
        while True:
            record.tries += 1
            answer = await self._try_once(head)
            if isinstance(answer, LocalReply) or rules is None:
                return self._final(answer)
            response = answer if isinstance(answer, UpstreamTry) else None
            if response is not None and self.retry is None and response.head.status < 400:
                return response
            if not self.body.replayable:
                return self._final(answer)
            retry = self.retry
            if retry is None:
                retry = self.retry = RetryState(rules, self.route.cluster.breaker, self.head.method.decode("ascii"))
            if isinstance(answer, UpstreamTry):
                limited = answer.head.header(b"x-envoy-ratelimited") is not None
                decision = retry.after_response(answer.head.status, rate_limited=limited, random=random)
            else:
                decision = retry.after_failure(answer, request_sent=self.sent, random=random)
            if isinstance(decision, GiveUp):
                if response is not None and response.head.status < 500:
                    stats.retry_success += 1
                return self._final(answer, decision.flag)
            if isinstance(answer, UpstreamTry):
                answer.end(reusable=False)
            self.body.stop()
            stats.retry += 1
            try:
                await reactor.sleep(decision.delay_s)
            except DeadlineExceeded:
                return self._expired(self.http.deadlines.expired())

    def _final(
        self, answer: "UpstreamTry | FailureKind | LocalReply", flag: ResponseFlag | None = None
    ) -> "UpstreamTry | LocalReply":
        """Turn the last try's outcome into the answer; `flag` says why there is no further try."""
        if flag is not None:
            self.record.flags += (flag,)
            stats = self.route.cluster.stats
            if flag is ResponseFlag.RETRY_LIMIT_EXCEEDED:
                stats.retry_limit_exceeded += 1
            else:
                stats.retry_overflow += 1
        if isinstance(answer, FailureKind):
            return upstream_failure(answer, retried=self.record.tries > 1, reason=self.broken)
        return answer

    async def _try_once(self, head: bytes) -> "UpstreamTry | FailureKind | LocalReply":
        """Send the request to one endpoint and wait for the head of its response."""
        http, cluster, body = self.http, self.route.cluster, self.body
        if cluster.balancer is None:
            return NO_HEALTHY_UPSTREAM
        endpoint = cluster.balancer.pick()
        self.record.upstream = endpoint.label
        attempt = UpstreamTry(cluster, endpoint)
        if endpoint.hostname:
            head = http.forwarded_head(self.head, self.route, self.record, host=endpoint.hostname)
        self.sent = False
        reason = ""
        try:
            upstream = attempt.take_idle()
            if upstream is None:
                upstream = await attempt.connect(http.deadlines.earliest())
                if body.complete:
                    self._begin_try(http.reactor.now())
            elif self.record.tries > 1 and body.complete:
                self._begin_try(http.reactor.now())
            connection = upstream.connection
            self.sent = True
            try:
                await connection.send(head + body.kept if body.kept else head)
            except BrokenConnection:
                if connection.secure:
                    await connection.receive()  # Raises why, where the peer said so by an alert before it closed.
                raise
            if not body.complete:
                body.stream_to(connection, http.pump, idle_s=self.route.timeouts.stream_idle_s)
            data = await connection.receive()
            parsed = upstream.parser.parse(data, self.head.method) if data else None
            if parsed is None or parsed[0].interim:
                await self._receive_head(attempt, data)
            else:
                attempt.head, consumed = parsed
                attempt.rest = data[consumed:]
            cluster.on_response(endpoint, attempt.head.status)
            return attempt
        except PoolOverflow:
            failure = FailureKind.OVERFLOW
        except ConnectFailed as error:
            failure, reason = connect_failure_kind(error), error.reason
        except BrokenConnection as error:
            reason = error.reason
            failure = FailureKind.REMOTE_RESET if error.reason == "remote reset" else FailureKind.CONNECTION_TERMINATION
        except RemoteProtocolError:
            failure = FailureKind.PROTOCOL_ERROR
        except DeadlineExceeded:
            expiry = http.deadlines.expired()
            if expiry is not Expiry.PER_TRY:
                attempt.end(reusable=False)
                if expiry is Expiry.REQUEST:
                    cluster.on_local_failure(endpoint, FailureKind.REQUEST_TIMEOUT)
                return self._expired(expiry)
            cluster.stats.per_try_timeouts += 1
            failure = FailureKind.PER_TRY_TIMEOUT
        except BaseException:
            attempt.end(reusable=False)
            raise
        attempt.end(reusable=False)
        http.deadlines.end_try()
        http.pump.set_deadline(http.deadlines.earliest())
        cluster.on_local_failure(endpoint, failure, reason)
        self.broken = reason
        return failure

    async def _receive_head(self, attempt: UpstreamTry, buffer: bytes) -> None:
        """Read on until the final response's head; interim responses go on to the client."""
        connection, parser = attempt.upstream.connection, attempt.upstream.parser
        data = buffer
        while True:
            if not data:
                raise BrokenConnection
            while buffer and (parsed := parser.parse(buffer, self.head.method)) is not None:
                attempt.head, consumed = parsed
                buffer = buffer[consumed:]
                if not attempt.head.interim:
                    attempt.rest = buffer
                    return
                if self.head.version == 11:
                    await self.http.downstream.send(attempt.head.forward())
            data = await connection.receive()
            buffer += data

    def _expired(self, expiry: Expiry) -> LocalReply:
        if expiry is Expiry.REQUEST:
            self.route.cluster.stats.timeouts += 1
        return _REPLY_BY_EXPIRY[expiry]

    async def _respond(self, attempt: UpstreamTry) -> bool:
        """Forward the response: in one piece when all of it is there, else as it comes."""
        http, record, head, rest = self.http, self.record, attempt.head, attempt.rest
        record.status = head.status
        record.detail = "via_upstream"
        complete = self.body.complete
        keep = (
            self.head.keep_alive
            and complete
            and head.body is not BodyKind.UNTIL_CLOSE
            and not http.context.drain.draining
        )
        extra = b"x-envoy-upstream-service-time: %d\r\n" % ((http.reactor.now() - record.started_at) * 1000.0)
        decoded = False
        if self.head.version == 10:
            # An HTTP/1.0 client reads no chunks, and takes a connection for closed unless told otherwise.
            decoded = head.body is BodyKind.CHUNKED
            keep = keep and not decoded
            extra += b"connection: keep-alive\r\n" if keep else b""
        out = head.forward(extra=extra, connection_close=not keep, remove=_OURS, decoded=decoded)
        if head.body is BodyKind.NONE:
            attempt.end(reusable=head.keep_alive and complete and not rest)
            await http.connection.send(out)
            return keep
        if head.body is BodyKind.LENGTH and len(rest) == head.body_length:
            # Give the connection back before the send: the next request may already want it.
            attempt.end(reusable=head.keep_alive and complete)
            record.bytes_sent = len(rest)
            await http.connection.send(out + rest)
            return keep
        return await self._stream_response(attempt, out, decoded=decoded) and keep

    async def _stream_response(self, attempt: UpstreamTry, out: bytes, *, decoded: bool) -> bool:
        """Send `out` and the body as it comes; return whether it came whole."""
        http, head, data = self.http, attempt.head, attempt.rest
        reader = BodyReader(head.body, head.body_length)
        read = reader.decode if decoded else reader.feed
        http.deadlines.end_try()
        try:
            while True:
                if data:
                    part, done, rest = read(data)
                    self.record.bytes_sent += len(part)
                    out = out + part if out else part
                    if done:
                        attempt.end(reusable=head.keep_alive and self.body.complete and not rest)
                        await http.downstream.send(out)
                        return True
                if out:
                    await http.downstream.send(out)
                    out = b""
                data = await self._receive_more(attempt)
                if not data:
                    if head.body is not BodyKind.UNTIL_CLOSE:
                        raise BrokenConnection
                    attempt.end(reusable=False)
                    return False
        except (BrokenConnection, RemoteProtocolError, DeadlineExceeded) as error:
            self._note_broken_response(error)
            attempt.end(reusable=False)
            http.connection.abort()
            return False
        except BaseException:
            attempt.end(reusable=False)
            raise

    async def _receive_more(self, attempt: UpstreamTry) -> bytes:
        http = self.http
        http.deadlines.touch(self.route.timeouts, http.reactor.now())
        http.pump.set_deadline(http.deadlines.earliest())
        return await attempt.upstream.connection.receive()

    def _note_broken_response(self, error: Exception) -> None:
        """The response had begun, so nothing can be answered any more: the client's connection is reset."""
        record = self.record
        if isinstance(error, DeadlineExceeded):
            record.flags += (ResponseFlag.UPSTREAM_TIMEOUT,)
            record.detail = "response_timeout"
        elif isinstance(error, RemoteProtocolError):
            record.flags += (ResponseFlag.UPSTREAM_PROTOCOL_ERROR,)
            record.detail = "upstream_reset_after_response_started{protocol_error}"
        else:
            record.flags += (ResponseFlag.UPSTREAM_CONNECTION_TERMINATION,)
            record.detail = "upstream_reset_after_response_started{connection_termination}"

    async def _tunnel(self, attempt: UpstreamTry) -> bool:
        """The upstream switched protocols: from here on bytes go both ways until either side ends."""
        http = self.http
        self.record.status = 101
        self.record.detail = "via_upstream"
        http.downstream.unwatch()
        attempt.upstream.connection.watch(None)
        try:
            await http.downstream.send(attempt.head.forward() + attempt.rest)
            http.downstream.give_back()
            counts = await relay(
                http.downstream.connection,
                attempt.upstream.connection,
                reactor=http.reactor,
                idle_s=self.route.timeouts.stream_idle_s,
            )
            self.record.bytes_received, self.record.bytes_sent = counts
        finally:
            attempt.end(reusable=False)
        return False

    async def _reply(self, reply: LocalReply) -> bool:
        """Answer by ourselves. An unread request body closes the connection, since its end is unknown."""
        record = self.record
        record.status = reply.status
        record.flags += reply.flags
        record.detail = reply.detail
        record.bytes_sent = len(reply.body)
        keep = self.head.keep_alive and self.body.complete and not reply.close and not self.http.context.drain.draining
        self.http.pump.set_deadline(self.http.reactor.now() + 5.0)
        try:
            await self.http.downstream.send(encode_local_reply(reply, method=self.head.method, close=not keep))
        except DeadlineExceeded:
            return False
        return keep

    def _finish(self) -> None:
        """Whatever happened: give back what is held, and leave one record."""
        body, record = self.body, self.record
        if body.pump is not None:
            body.stop()
        if self.retry is not None:
            self.retry.close()
        if body is not NO_BODY and not record.bytes_received:
            record.bytes_received = body.bytes_received
        record.ended_at = self.http.reactor.now()
        if record.cluster:
            self.route.cluster.stats.complete(record.status, (record.ended_at - record.started_at) * 1000.0)
        self.http.context.records.append(record)
