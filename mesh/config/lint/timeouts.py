"""Findings about MeshTimeout on one link: bounds that are missing, or that another one makes void. TM201, TM205 to TM210."""

from collections.abc import Iterator

from mesh.config.lint.finding import Code, Finding, Severity
from mesh.config.lint.samples import WEB, backends, policy, towards_all
from mesh.config.lint.scene import Link, Scene, found
from mesh.model.durations import format_duration as span

UNBOUNDED = Code(
    code="TM201",
    title="Requests without a timeout",
    severity=Severity.WARNING,
    why="A callee that hangs keeps the request, its connection and its place in the caller until somebody else "
    "gives up: one slow service stops all that depend on it.",
    fix="Set MeshTimeout http.requestTimeout; for long streams use a route or service of their own.",
    example=towards_all("MeshTimeout", "{http: {requestTimeout: 0s}}"),
    better=towards_all("MeshTimeout", "{http: {requestTimeout: 5s}}"),
)
STREAM_IDLE = Code(
    code="TM205",
    title="The stream idle timeout ends requests before the request timeout",
    severity=Severity.WARNING,
    why="A request whose answer has not begun is idle: after streamIdleTimeout it is ended, whatever "
    "requestTimeout allows.",
    fix="Make http.streamIdleTimeout longer than http.requestTimeout.",
    example=towards_all("MeshTimeout", "{http: {requestTimeout: 30s, streamIdleTimeout: 5s}}"),
    better=towards_all("MeshTimeout", "{http: {requestTimeout: 5s, streamIdleTimeout: 30s}}"),
)
STREAM_MAX = Code(
    code="TM206",
    title="The longest stream is shorter than the request timeout",
    severity=Severity.WARNING,
    why="maxStreamDuration ends the request first; the request timeout and what is built on it (tries, back-offs) "
    "never count.",
    fix="Make http.maxStreamDuration longer than http.requestTimeout, or leave it out.",
    example=towards_all("MeshTimeout", "{http: {requestTimeout: 30s, maxStreamDuration: 5s}}"),
    better=towards_all("MeshTimeout", "{http: {requestTimeout: 5s, maxStreamDuration: 30s}}"),
)
CONNECT = Code(
    code="TM207",
    title="Connecting may take as long as the whole request, and nothing is retried",
    severity=Severity.WARNING,
    why="An endpoint that does not answer uses up the request before the connect is given up: no other one is tried.",
    fix="Make connectionTimeout much shorter than http.requestTimeout: within a data centre 250ms to 1s.",
    example=towards_all("MeshTimeout", "{connectionTimeout: 5s, http: {requestTimeout: 2s}}")
    + towards_all("MeshRetry", "{http: {numRetries: 0}}"),
    better=towards_all("MeshTimeout", "{connectionTimeout: 500ms, http: {requestTimeout: 2s}}")
    + towards_all("MeshRetry", "{http: {numRetries: 0}}"),
)
_WEB_TO_BACKEND = WEB + backends(1)
KEEP_ALIVE = Code(
    code="TM208",
    title="The callee closes idle connections before its callers do",
    severity=Severity.WARNING,
    why="A request that leaves on a kept connection at the moment in which the callee closes it fails with 503 "
    "(flag UC), and a POST cannot be repeated. Whoever sends should be the first to close.",
    fix="Make idleTimeout in `to` shorter than idleTimeout in the callee's `rules`.",
    example=_WEB_TO_BACKEND
    + policy("MeshTimeout", "inbound", "{targetRef: {kind: Dataplane}, rules: [{default: {idleTimeout: 10m}}]}"),
    better=_WEB_TO_BACKEND
    + policy("MeshTimeout", "inbound", "{targetRef: {kind: Dataplane}, rules: [{default: {idleTimeout: 2h}}]}"),
)
TCP_IDLE = Code(
    code="TM209",
    title="A short idle timeout cuts connections that wait for an answer",
    severity=Severity.WARNING,
    why="On a port of opaque TCP nobody sees requests: a connection on which nothing moves is idle, also while a "
    "long query is computed. It is cut, and the application sees a reset.",
    fix="Make idleTimeout towards databases and queues longer than their longest silence (the default is 1h).",
    example=WEB
    + backends(1, protocol="tcp")
    + towards_all("MeshTimeout", "{idleTimeout: 5s, http: {requestTimeout: 15s}}"),
    better=WEB
    + backends(1, protocol="tcp")
    + towards_all("MeshTimeout", "{idleTimeout: 10m, http: {requestTimeout: 15s}}"),
)
INBOUND_FIRST = Code(
    code="TM210",
    title="The callee's side gives up before the caller does",
    severity=Severity.INFO,
    why="The inbound's requestTimeout answers 504 while the caller would still wait: that looks like a broken "
    "instance, is retried elsewhere and counts for outlier detection.",
    fix="Leave http.requestTimeout out of `rules`, or make it longer than the callers' own.",
    example=_WEB_TO_BACKEND
    + policy(
        "MeshTimeout", "inbound", "{targetRef: {kind: Dataplane}, rules: [{default: {http: {requestTimeout: 2s}}}]}"
    ),
    better=_WEB_TO_BACKEND
    + policy(
        "MeshTimeout", "inbound", "{targetRef: {kind: Dataplane}, rules: [{default: {http: {requestTimeout: 20s}}}]}"
    ),
)
CODES = (UNBOUNDED, STREAM_IDLE, STREAM_MAX, CONNECT, KEEP_ALIVE, TCP_IDLE, INBOUND_FIRST)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the timeouts of every link, and of the inbounds at its other end."""
    for link in scene.links:
        if link.is_http:
            yield from _request(link)
            yield from _other_end(link, scene)
        else:
            yield from _opaque(link)


def _request(link: Link) -> Iterator[Finding]:
    timeouts, written = link.timeouts, link.of("MeshTimeout")
    request = written.place("http", "requestTimeout")
    if not timeouts.request_s:
        ends = (
            f"only streamIdleTimeout {span(timeouts.stream_idle_s)} of silence ends it"
            if timeouts.stream_idle_s
            else "nothing ends it"
        )
        yield from found(UNBOUNDED, f"a request to a callee that hangs: {ends}", request, affects=link.affects)
        return
    bound = span(timeouts.request_s)
    idle = written.place("http", "streamIdleTimeout")
    if 0 < timeouts.stream_idle_s < timeouts.request_s:
        message = f"an answer that takes {span(timeouts.stream_idle_s)} to begin is cut, before requestTimeout {bound}"
        yield from found(STREAM_IDLE, message, idle or request, request if idle else None, affects=link.affects)
    longest = written.place("http", "maxStreamDuration")
    if 0 < timeouts.stream_s_max < timeouts.request_s:
        message = f"every request ends after {span(timeouts.stream_s_max)}, before requestTimeout {bound}"
        yield from found(STREAM_MAX, message, longest or request, request if longest else None, affects=link.affects)
    connect = written.place("connectionTimeout")
    # Where tries are given up before the request, another endpoint is tried whatever the connect does.
    is_rescued = link.retry.retries_max > 0 and 0 < link.retry.per_try_timeout_s < timeouts.request_s
    if timeouts.connect_s >= timeouts.request_s and not is_rescued:
        message = f"a connect may take {span(timeouts.connect_s)}, the whole request {bound}"
        yield from found(CONNECT, message, connect or request, request if connect else None, affects=link.affects)


def _other_end(link: Link, scene: Scene) -> Iterator[Finding]:
    own = link.timeouts
    place = link.of("MeshTimeout").place("idleTimeout")
    for reception in scene.receptions_of(link):
        theirs, written = reception.timeouts, reception.of("MeshTimeout")
        other = written.place("idleTimeout")
        if theirs.idle_s and not 0 < own.idle_s < theirs.idle_s:
            keeps = f"for {span(own.idle_s)}" if own.idle_s else "for ever"
            message = f"the callee closes after {span(theirs.idle_s)}, its callers keep connections {keeps}"
            yield from found(KEEP_ALIVE, message, other or place, place if other else None, affects=link.affects)
        if 0 < theirs.request_s < own.request_s:
            message = (
                f"the inbound ends requests after {span(theirs.request_s)}, callers wait for {span(own.request_s)}"
            )
            outer = link.of("MeshTimeout").place("http", "requestTimeout")
            yield from found(
                INBOUND_FIRST, message, written.place("http", "requestTimeout"), outer, affects=link.affects
            )


def _opaque(link: Link) -> Iterator[Finding]:
    timeouts, written = link.timeouts, link.of("MeshTimeout")
    if 0 < timeouts.idle_s < timeouts.request_s:
        message = (
            f"a connection on which nothing moves for {span(timeouts.idle_s)} is cut, also in the middle of a query"
        )
        yield from found(TCP_IDLE, message, written.place("idleTimeout"), affects=link.affects)
