"""Where we differ from Envoy, on purpose.

They stand in ARCHITECTURE.md too, "Deliberate differences from Envoy"; tests see to it that the two lists are one,
and that each difference is real. `python -m tests.envoy differences` prints the table.
"""

import fnmatch

import attrs

from tests.envoy.facts import Facts

ABSENT = "(absent)"


@attrs.frozen(kw_only=True)
class Where:
    """Facts that differ; all four are patterns as of file names: of the case, of the fact, of what Envoy and we have there."""

    cases: str = "*"
    facts: str
    envoy: str = "*"
    ours: str = "*"


@attrs.frozen(kw_only=True)
class Difference:
    """One row of the table."""

    what: str
    envoy: str
    here: str
    why: str
    where: tuple[Where, ...]


@attrs.frozen
class Line:
    """One fact on which the two outcomes do not agree."""

    case: str
    fact: str
    envoy: str
    ours: str

    def __str__(self) -> str:
        return f"{self.case}: {self.fact}: Envoy {self.envoy!r}, ours {self.ours!r}"


def compare(case: str, envoy: Facts, ours: Facts) -> list[Line]:
    """Return all lines on which they differ."""
    names = sorted(envoy.keys() | ours.keys())
    lines = [Line(case, name, envoy.get(name, ABSENT), ours.get(name, ABSENT)) for name in names]
    return [line for line in lines if line.envoy != line.ours]


def covers(where: Where, line: Line) -> bool:
    """Is this line one of those that `where` speaks of?"""
    pairs = ((line.case, where.cases), (line.fact, where.facts), (line.envoy, where.envoy), (line.ours, where.ours))
    return all(fnmatch.fnmatchcase(text, pattern) for text, pattern in pairs)


def declared(line: Line) -> bool:
    """Does a deliberate difference speak of this line?"""
    return any(covers(where, line) for difference in DIFFERENCES for where in difference.where)


def _header(name: str, envoy: str = "*", ours: str = ABSENT, cases: str = "*") -> Where:
    return Where(cases=cases, facts=f"* header {name}", envoy=envoy, ours=ours)


def _whole(case: str) -> Where:
    """One decision that changes everything after it."""
    return Where(cases=case, facts="*")


def _fewer_connections(cases: str) -> tuple[Where, ...]:
    return (
        Where(cases=cases, facts="connections *", envoy="[2-9]", ours="[1-8]"),
        Where(cases=cases, facts="request * connection", envoy="* [2-9]", ours="* [1-8]"),
    )


_GRPC_CASES = (
    "*grpc*",
    "fault_abort_*",
    "local_ratelimit_2_*",
    "no_backend_*",
    "no_endpoints",
    "rbac_deny",
    "upstream_garbage",
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        what="response headers",
        envoy="`server: envoy`, `date` added",
        here="left as the upstream wrote them",
        why="a proxy that signs for its upstream hides it",
        where=(_header("server", "envoy"), _header("date", "<date>")),
    ),
    Difference(
        what="request headers",
        envoy="`x-forwarded-proto`, `x-envoy-internal` or `x-envoy-external-address` added; `traceparent` by a tracer only",
        here="`traceparent` added, the others not",
        why="beside an application their values are always the same; traces are there without another component",
        where=(
            _header("x-forwarded-proto", "http", "*"),
            _header("x-envoy-internal"),
            _header("x-envoy-external-address"),
            _header("traceparent", ABSENT, "<trace>"),
        ),
    ),
    Difference(
        what="connection of a try that is repeated",
        envoy="resets the try as soon as it decides, which closes its HTTP/1.1 connection unless the response has no body",
        here="keeps the connection where the whole response is there already",
        why="a service that answers 503 under load is not made to shake hands again for each retry",
        where=(
            *_fewer_connections("retry_*"),
            *_fewer_connections("header_*"),
            *_fewer_connections("priorities_x_retry_*"),
            *_fewer_connections("rewrite_x_retry_*"),
            *_fewer_connections("weighted_backends_x_retry_*"),
            Where(cases="mirror_once_though_retried", facts="connections a", envoy="2", ours="1"),
        ),
    ),
    Difference(
        what="idle connections to an endpoint that is ejected or fails its check",
        envoy="closes them",
        here="keeps them until they are idle for too long",
        why="it gets no requests meanwhile, and may be back before its connections would have been closed",
        where=(
            *_fewer_connections("hash_x_outlier_moves_to_the_next"),
            *_fewer_connections("health_check_x_outlier_a_good_check_returns_the_host"),
            *_fewer_connections("health_check_immediate_fail_header"),
        ),
    ),
    Difference(
        what="a response that breaks off",
        envoy="ends the client's connection in order, a second later (`delayed_close_timeout`)",
        here="resets it at once",
        why="an end in order looks like a complete body to clients of HTTP/1.0 framing, and nothing is gained by waiting",
        where=(Where(facts="reply * ending", envoy="cut", ours="reset"),),
    ),
    Difference(
        what="local replies to requests with a body",
        envoy="closes the client's connection, though all of the body may have come",
        here="keeps it when the body is complete",
        why="the connection is in order",
        where=(
            _header("connection", "close"),
            Where(cases="redirect_of_a_post_with_a_body", facts="reply 2 *"),
            Where(cases="redirect_of_a_post_with_a_body", facts="log 2 *"),
            Where(cases="local_ratelimit_of_a_post_with_a_body", facts="reply 3 *"),
            Where(cases="local_ratelimit_of_a_post_with_a_body", facts="log 3 *"),
        ),
    ),
    Difference(
        what="status in the log of local replies to gRPC",
        envoy="logs the 200 that carries the grpc-status",
        here="logs the HTTP status that the reply stands for",
        why="who counts errors by status sees them",
        where=tuple(Where(cases=cases, facts="log * status", envoy="200", ours="[45]??") for cases in _GRPC_CASES),
    ),
    Difference(
        what="`x-envoy-expected-rq-timeout-ms` at an inbound",
        envoy="an inbound without a timeout lets pass what the caller's proxy wrote",
        here="an inbound writes its own or none",
        why="what a caller says of its own patience is not a promise of this proxy",
        where=(_header("x-envoy-expected-rq-timeout-ms", cases="two_hops_*"),),
    ),
    Difference(
        what="`expect: 100-continue`",
        envoy="answers 100 by itself and takes the header away",
        here="passes the header on, and the upstream's 100 back",
        why="RFC 9110 10.1.1: so the client really learns whether the server wants the body",
        where=(
            _header("expect", ABSENT, "100-continue"),
            Where(cases="expect_100_continue_refused_early", facts="reply 1 interim"),
        ),
    ),
    Difference(
        what="interim responses (1xx)",
        envoy="drops them",
        here="passes them on to HTTP/1.1 clients",
        why="RFC 9110 15.2",
        where=(Where(cases="interim_*", facts="reply * interim", envoy=ABSENT),),
    ),
    Difference(
        what="headers that a response's `connection` names",
        envoy="leaves them in",
        here="takes them out, as in requests",
        why="RFC 9110 7.6.1",
        where=(_header("x-hop"),),
    ),
    Difference(
        what="bodies that end with the upstream's connection",
        envoy="makes chunks of them and keeps the client's connection",
        here="ends the client's connection too",
        why="a body that was cut cannot pass as a whole one",
        where=(
            _header("transfer-encoding", "chunked", cases="*body_until_close"),
            _header("transfer-encoding", "chunked", cases="response_http_1_0_without_length"),
            _header("connection", ABSENT, "close", cases="body_until_close"),
            _header("connection", ABSENT, "close", cases="response_http_1_0_without_length"),
        ),
    ),
    Difference(
        what="HTTP/1.0",
        envoy="answered 426 by default",
        here="served, closed after chunked bodies",
        why="old clients on the host's own loopback",
        where=(_whole("request_http_1_0"),),
    ),
    Difference(
        what="requests that RFC 9112 forbids",
        envoy="joins two Host lines, unfolds folded lines",
        here="400",
        why="requests that two servers read differently are how requests are smuggled",
        where=(_whole("request_with_two_hosts"), _whole("request_folded_header")),
    ),
    Difference(
        what="words for broken requests",
        envoy="a detail for each cause of its codec; 426 for HTTP/2.0, 400 for unknown methods, 501 for unknown codings",
        here="`http1.codec_error` for most; 505, 501 and 400",
        why="httptools tells fewer causes apart; the statuses are RFC 9110's",
        where=(
            Where(cases="request_with_a_fragment", facts="*"),
            Where(cases="request_unknown_coding", facts="*"),
            Where(cases="request_unknown_method", facts="*"),
            Where(cases="request_http_2_0", facts="*"),
        ),
    ),
    Difference(
        what="when a request with a broken body is sent on",
        envoy="at its head: the log names the upstream",
        here="not at all where the broken part came with the head",
        why="nothing is gained by starting a request that is known to be broken",
        where=(
            Where(cases="request_bad_chunk", facts="log 1 tries"),
            Where(cases="request_bad_chunk", facts="log 1 upstream"),
        ),
    ),
    Difference(
        what="response headers above 60 KiB",
        envoy="accepts a little more than its limit says",
        here="502",
        why="the limit is meant",
        where=(_whole("response_headers_too_big"),),
    ),
    Difference(
        what="a response whose first chunk is broken",
        envoy="sends the head, then cuts",
        here="resets without a head where both came in one piece",
        why="the client is told the same, earlier",
        where=(
            Where(cases="garbage_chunk_size", facts="reply 1 status"),
            Where(cases="garbage_chunk_size", facts="reply 1 ending"),
            Where(cases="garbage_chunk_size", facts="reply 1 header *"),
        ),
    ),
    Difference(
        what="upgraded connections in the log",
        envoy="`UC` when the upstream ended first",
        here="no flag: an end is how tunnels end",
        why="an alarm on UC should not ring for each closed WebSocket",
        where=(
            Where(cases="upgrade_websocket", facts="log 1 flags"),
            Where(cases="upgrade_websocket", facts="log 1 details"),
        ),
    ),
    Difference(
        what="connections that end in the middle of a request's head",
        envoy="leave a line in the log (`DC`)",
        here="leave none",
        why="there is no request yet",
        where=(Where(cases="client_leaves_before_the_request_is_whole", facts="log 1 *"),),
    ),
    Difference(
        what="`content-length: 0` of requests without a body",
        envoy="adds it to PUT and POST",
        here="leaves the head as it came",
        why="RFC 9112 6.3: without framing there is no body",
        where=(_header("content-length", "0"),),
    ),
    Difference(
        what="opaque TCP in the log",
        envoy="says nothing in RESPONSE_CODE_DETAILS",
        here="says why",
        why="there is nowhere else to read it",
        where=(
            Where(cases="tcp_*", facts="log * details", envoy=""),
            Where(cases="connection_rate_tcp", facts="log 2 details", envoy=""),
        ),
    ),
    Difference(
        what="opaque TCP that gets no upstream",
        envoy="ends the client's connection in order",
        here="resets it",
        why="a client that reads to the end would take it for an empty answer",
        where=(Where(cases="tcp_*", facts="reply 1 ending", envoy="complete", ours="reset"),),
    ),
    Difference(
        what="a header that a request has twice",
        envoy="matches a route when one of its values does",
        here="is compared as a whole, its values joined by `, `",
        why="RFC 9110 5.3: several lines of one field are one list",
        where=(_whole("route_header_exact"),),
    ),
    Difference(
        what="empty lines before a request",
        envoy="skips any number",
        here="skips one, else 400",
        why="RFC 9112 2.2 asks for one; more are noise",
        where=(_whole("request_after_empty_lines"),),
    ),
)
