"""Mirroring: a copy of some requests to another cluster, whose answers are read to their end and seen by nobody.

A copy has a pump of its own and no tie to its request, which neither waits for it nor ends it. It counts in its own
cluster's breaker and statistics, and is never retried. Source: Envoy source/common/router/shadow_writer_impl.cc.
"""

import math
from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.policy.failure import FailureKind
from mesh.protocol.http1 import MAX_HEAD_BYTES, BodyKind, BodyReader
from mesh.proxy.cluster import ClusterState
from mesh.proxy.forwarding import forwarded_head
from mesh.proxy.upstream_try import TRY_ERRORS, UpstreamTry
from mesh.runtime.environment import Reactor

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange


def mirror(exchange: "HttpExchange") -> None:
    """Send the copies that are drawn for a request whose body is complete and kept."""
    http, route = exchange.http, exchange.route
    drawn = [plan for plan in route.mirrors if http.context.random.random() * 100.0 < plan.percent]
    if not drawn:
        return
    data = forwarded_head(exchange, host=shadow_host(route.host or exchange.head.host)) + exchange.body.kept
    timeout_s = exchange.timeouts.request_s or exchange.timeouts.stream_idle_s
    for plan in drawn:
        copy = _Copy(plan.cluster, exchange.head.method, data, http.reactor, timeout_s)
        http.reactor.start(copy.run(), name="mirror")


def shadow_host(host: bytes) -> bytes:
    """Return the name that a mirror is called by: `shop-shadow:8080`, so that its logs tell copies apart."""
    name, mark, port = host.rpartition(b":")
    if not mark or not port.isdigit() or name.endswith(b":"):
        return host + b"-shadow"
    return b"%b-shadow:%b" % (name, port)


class _Copy:
    """One copy, from the choice of its endpoint to the end of its response."""

    def __init__(self, cluster: ClusterState, method: bytes, data: bytes, reactor: Reactor, timeout_s: float) -> None:
        self._cluster = cluster
        self._method = method
        self._data = data
        self._reactor = reactor
        self._timeout_s = timeout_s

    async def run(self) -> None:
        """Ask, and read the answer. Whatever goes wrong is counted and no more."""
        reactor, cluster = self._reactor, self._cluster
        began_at = reactor.now()
        status = await self._ask(began_at + self._timeout_s if self._timeout_s else math.inf)
        stats = cluster.stats
        stats.requests_by_status[status] = stats.requests_by_status.get(status, 0) + 1
        stats.time_ms.add((reactor.now() - began_at) * 1000.0)

    async def _ask(self, deadline: float) -> int:
        """Return the status of the answer, or the one that a client would have got from us."""
        cluster, reactor = self._cluster, self._reactor
        endpoint = cluster.pick()
        if endpoint is None:
            cluster.stats.none_healthy += 1
            return 503
        attempt = UpstreamTry(cluster, endpoint)
        try:
            upstream = attempt.take_idle() or await attempt.connect(deadline)
            pump = reactor.current
            assert pump is not None
            pump.set_deadline(deadline)
            attempt.sent = True
            await upstream.connection.send(self._data)
            await self._read_head(attempt)
            cluster.on_response(endpoint, attempt.head.status, attempt.head)
            await self._read_body(attempt)
            return attempt.head.status
        except TRY_ERRORS as error:
            attempt.fail(error, reactor.now())
            return 502 if attempt.failure is FailureKind.PROTOCOL_ERROR else 503
        except DeadlineExceeded:
            cluster.stats.timeouts += 1
            attempt.expire(FailureKind.REQUEST_TIMEOUT, reactor.now())
            return 504
        finally:
            attempt.abandon(reactor.now())

    async def _read_head(self, attempt: UpstreamTry) -> None:
        upstream, buffer, interim_bytes = attempt.upstream, b"", 0
        while True:
            data = await upstream.connection.receive()
            if not data:
                raise BrokenConnection
            buffer += data
            while buffer and (parsed := upstream.parser.parse(buffer, self._method)) is not None:
                attempt.head, consumed = parsed
                buffer = buffer[consumed:]
                if not attempt.head.interim:
                    attempt.rest = buffer
                    return
                interim_bytes += consumed
                if interim_bytes > MAX_HEAD_BYTES:
                    raise RemoteProtocolError("interim responses without end", status=502)

    async def _read_body(self, attempt: UpstreamTry) -> None:
        head, data = attempt.head, attempt.rest
        reader = BodyReader(head.body, head.body_length)
        while not reader.done:
            if data:
                data = reader.feed(data)[2]
            if not reader.done:
                data = await attempt.upstream.connection.receive()
                if not data:
                    if head.body is not BodyKind.UNTIL_CLOSE:
                        raise RemoteProtocolError("the stream ended within a body", status=502)
                    break
        attempt.end(reusable=head.keep_alive and reader.done and not data and head.status != 101)
