"""Forwarding: a request's head as its upstream gets it, and what of a client's head never goes on.

Source: Envoy `RouteEntryImplBase::finalizeRequestHeaders` (host, path, x-envoy-original-*),
`FilterUtility::setTimeoutHeaders`; docs configuration/http/http_conn_man/headers.
"""

from typing import TYPE_CHECKING

from mesh.policy.control_headers import CONTROL_NAMES
from mesh.policy.path_rewrite import rewritten_target
from mesh.policy.timeout import expected_timeout_ms

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange

ORIGINAL_PATH = b"x-envoy-original-path"
ORIGINAL_HOST = b"x-envoy-original-host"
# What only proxies write, or only for us: it ends here, whoever wrote it.
OURS_OUTBOUND = CONTROL_NAMES
OURS_INBOUND = CONTROL_NAMES | {b"x-forwarded-client-cert"}
# What a proxy behind us wrote there is not what its client waited.
OURS_OF_RESPONSES = frozenset({b"x-envoy-upstream-service-time"})


def expected_line(request_s: float, per_try_s: float, *, elapsed_s: float = 0.0, hedges: bool = False) -> bytes:
    """Return the line that tells an upstream how long it may take, b"" for as long as it likes."""
    expected_ms = expected_timeout_ms(per_try_s, request_s, elapsed_s=elapsed_s, hedges=hedges)
    return b"x-envoy-expected-rq-timeout-ms: %d\r\n" % expected_ms if expected_ms else b""


def forwarded_head(exchange: "HttpExchange", *, host: bytes = b"") -> bytes:
    """Return the head to send upstream: as it came, minus what is hop by hop, plus what proxies and the route add.

    Of upgrades only WebSocket goes on: with another one (h2c) requests would pass that no filter sees. `host` takes
    the place of the client's, where the route has none for it.
    """
    http, head, route, record = exchange.http, exchange.head, exchange.route, exchange.record
    target = b""
    extra = _expected_now(exchange) if exchange.expected_line is None else exchange.expected_line
    extra += route.request_lines + http.peer_lines
    if head.request_id is None:
        extra += b"x-request-id: " + record.request_id + b"\r\n"
    if route.rewrite is not None:
        original = head.origin_target
        target = rewritten_target(original, head.path, route.rewrite, route.prefix)
        extra += b"%b: %b\r\n" % (ORIGINAL_PATH, original)
    if route.host:
        host = route.host
        extra += b"%b: %b\r\n" % (ORIGINAL_HOST, head.host)
    written = head.host
    if host:
        head.set_host(host)
    forwarded = head.forward(
        extra=extra,
        traceparent=record.traceparent,
        remove=route.request_removes,
        upgrade=head.upgrade is not None and head.upgrade.strip().lower() == b"websocket",
        target=target,
    )
    if host:
        head.set_host(written)  # Another try may go where the client's word stands.
    return forwarded


def _expected_now(exchange: "HttpExchange") -> bytes:
    rules, request_at = exchange.rules, exchange.http.deadlines.request
    request_s = exchange.timeouts.request_s
    # Until the request has come completely, its span has not begun.
    elapsed_s = exchange.http.reactor.now() - (request_at - request_s) if request_at < float("inf") else 0.0
    hedges = rules is not None and rules.hedges
    return expected_line(request_s, exchange.per_try_s, elapsed_s=elapsed_s, hedges=hedges)
