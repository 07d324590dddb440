"""Response: send an exchange's answer to its client, the upstream's or our own.

Source: Envoy HTTP connection manager for when the connection is closed behind it, router filter for what is added to it.
"""

from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.model.traffic import ResponseFlag
from mesh.policy.timeout import Expiry
from mesh.protocol.http1 import BodyKind, BodyReader
from mesh.proxy.local_reply import LocalReply, encode_local_reply
from mesh.proxy.tcp_relay import relay
from mesh.proxy.throttle import Throttle
from mesh.proxy.upstream_try import UpstreamTry

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange

REPLY_TIMEOUT_S = 5.0


async def respond(exchange: "HttpExchange", attempt: UpstreamTry) -> bool:
    """Forward a response, in one piece when all of it is there, else as it comes.

    Return whether the client's connection may carry another request.
    """
    http, record, route, head, rest = exchange.http, exchange.record, exchange.route, attempt.head, attempt.rest
    now = http.reactor.now()
    record.status = head.status
    record.detail = "via_upstream"
    complete = exchange.body.complete
    keep = (
        exchange.head.keep_alive
        and complete
        and head.body is not BodyKind.UNTIL_CLOSE
        and not http.context.drain.draining
        and now < http.expires_at
    )
    # As in Envoy, an answer to a request that is not complete yet took no time that could be told.
    extra = b"x-envoy-upstream-service-time: %d\r\n" % ((now - exchange.began_at) * 1000.0) if complete else b""
    if route.response_lines or exchange.cookie_lines:
        extra += route.response_lines + exchange.cookie_lines
    decoded = False
    if exchange.head.version == 10:
        # An HTTP/1.0 client reads no chunks, and takes a connection for closed unless told otherwise.
        decoded = head.body is BodyKind.CHUNKED
        keep = keep and not decoded
        extra += b"connection: keep-alive\r\n" if keep else b""
    out = head.forward(extra=extra, connection_close=not keep, remove=route.response_removes, decoded=decoded)
    if head.body is BodyKind.NONE:
        if attempt.started_at:
            attempt.answered(now)
        attempt.end(reusable=head.keep_alive and exchange.body.delivered and not rest)
        await http.connection.send(out)
        return keep
    if head.body is BodyKind.LENGTH and len(rest) == head.body_length and not exchange.response_bytes_per_s:
        if attempt.started_at:
            attempt.answered(now)
        # Give the connection back before the send: the next request may already want it.
        attempt.end(reusable=head.keep_alive and exchange.body.delivered)
        record.bytes_sent = len(rest)
        await http.connection.send(out + rest)
        return keep
    return await _stream(exchange, attempt, out, decoded=decoded) and keep


async def _stream(exchange: "HttpExchange", attempt: UpstreamTry, out: bytes, *, decoded: bool) -> bool:
    """Send `out` and the body as it comes; return whether it came whole."""
    http, head, data = exchange.http, attempt.head, attempt.rest
    reader = BodyReader(head.body, head.body_length)
    read = reader.decode if decoded else reader.feed
    throttle = Throttle(exchange.response_bytes_per_s) if exchange.response_bytes_per_s else None
    http.deadlines.begin_response()
    try:
        while True:
            if data:
                if attempt.started_at:
                    attempt.answered(http.reactor.now())
                part, done, rest = read(data)
                exchange.record.bytes_sent += len(part)
                if done:
                    attempt.end(reusable=head.keep_alive and exchange.body.delivered and not rest)
                if throttle is not None:
                    await _send_slowly(exchange, throttle, out, part)
                elif out or part:
                    await http.downstream.send(out + part if out else part)
                out = b""
                if done:
                    return True
            elif out:
                await http.downstream.send(out)
                out = b""
            data = await _receive_more(exchange, attempt)
            if not data:
                if head.body is not BodyKind.UNTIL_CLOSE:
                    raise BrokenConnection
                attempt.answered(http.reactor.now())
                attempt.end(reusable=False)
                return False
    except (BrokenConnection, RemoteProtocolError, DeadlineExceeded) as error:
        note_broken(exchange, error)
        attempt.abandon(http.reactor.now())
        http.connection.abort()
        return False
    except BaseException:
        attempt.abandon(http.reactor.now())
        raise


async def _receive_more(exchange: "HttpExchange", attempt: UpstreamTry) -> bytes:
    http = exchange.http
    http.deadlines.touch(exchange.timeouts, http.reactor.now())
    http.pump.set_deadline(http.deadlines.earliest())
    return await attempt.upstream.connection.receive()


async def _send_slowly(exchange: "HttpExchange", throttle: Throttle, out: bytes, body: bytes) -> None:
    """Send `out` at once, and body bytes as the throttle lets them through."""
    http = exchange.http
    if out:
        await http.downstream.send(out)
    for begin in range(0, len(body), throttle.piece_bytes):
        piece = body[begin : begin + throttle.piece_bytes]
        now = http.reactor.now()
        delay_s = throttle.delay_s(len(piece), now)
        if delay_s > 0.0:
            http.deadlines.touch(exchange.timeouts, now + delay_s)
            http.pump.set_deadline(http.deadlines.earliest())
            await http.reactor.sleep(delay_s)
        await http.downstream.send(piece)


def cut(exchange: "HttpExchange", why: LocalReply) -> None:
    """The request went wrong while its answer was on the way: instead of `why`, the client gets a reset."""
    exchange.record.flags += why.flags
    exchange.record.detail = why.detail
    exchange.http.connection.abort()


def note_broken(exchange: "HttpExchange", error: Exception) -> None:
    """The response had begun, so nothing can be answered any more: the client's connection is reset."""
    record = exchange.record
    if isinstance(error, DeadlineExceeded):
        expiry = exchange.http.deadlines.expired()
        if expiry is Expiry.STREAM_IDLE:
            record.flags += (ResponseFlag.STREAM_IDLE_TIMEOUT,)
            record.detail = "stream_idle_timeout"
        elif expiry is Expiry.STREAM_MAX:
            record.detail = "max_duration_timeout"
        else:
            idle = expiry is Expiry.PER_TRY_IDLE
            record.flags += (ResponseFlag.UPSTREAM_TIMEOUT,)
            record.detail = "upstream_per_try_idle_timeout" if idle else "response_timeout"
    else:
        # Envoy's parser takes the end of the connection within a body for an error of the protocol too.
        record.flags += (ResponseFlag.UPSTREAM_PROTOCOL_ERROR,)
        record.detail = "upstream_reset_after_response_started{protocol_error}"


async def tunnel(exchange: "HttpExchange", attempt: UpstreamTry) -> bool:
    """The upstream switched protocols: from here on bytes go both ways until either side ends."""
    http = exchange.http
    exchange.record.status = 101
    exchange.record.detail = "via_upstream"
    http.downstream.unwatch()
    attempt.upstream.connection.watch(None)
    try:
        await http.downstream.send(attempt.head.forward() + attempt.rest)
        http.downstream.give_back()
        relayed = await relay(
            http.downstream.connection,
            attempt.upstream.connection,
            reactor=http.reactor,
            idle_s=exchange.timeouts.stream_idle_s,
        )
        exchange.record.bytes_received, exchange.record.bytes_sent = relayed.bytes_up, relayed.bytes_down
    finally:
        attempt.end(reusable=False)
    return False


async def reply(exchange: "HttpExchange", answer: LocalReply) -> bool:
    """Answer by ourselves. An unread request body closes the connection, since its end is unknown.

    Return whether the client's connection may carry another request.
    """
    http, record, route, now = exchange.http, exchange.record, exchange.route, exchange.http.reactor.now()
    record.status = answer.status
    record.flags += answer.flags
    record.detail = answer.detail
    keep = (
        exchange.head.keep_alive
        and exchange.body.complete
        and not answer.close
        and not http.context.drain.draining
        and now < http.expires_at
    )
    if not exchange.body.complete:
        exchange.body.stop()  # Nobody waits for the rest.
    http.pump.set_deadline(now + REPLY_TIMEOUT_S)
    data, record.bytes_sent = encode_local_reply(
        answer,
        exchange.head,
        close=not keep,
        lines=route.response_lines,
        removes=route.response_removes,
    )
    try:
        await http.downstream.send(data)
    except DeadlineExceeded:
        return False
    return keep
