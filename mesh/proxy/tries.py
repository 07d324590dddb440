"""Tries: ask one endpoint after the other until an answer is good enough or no further try is allowed.

Source: Envoy router filter (source/common/router/router.cc, upstream_request.cc) for the order of decisions and for
what each of them counts. Tries side by side, where the policy hedges, stand in `mesh.proxy.hedging`.
"""

from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.model.traffic import ResponseFlag
from mesh.policy.failure import FailureKind
from mesh.policy.host_selection import Avoided
from mesh.policy.retry import GiveUp, RetryAfter, RetryRules, RetryState
from mesh.policy.timeout import Expiry
from mesh.protocol.http1 import MAX_HEAD_BYTES, BodyKind, ResponseHead
from mesh.proxy.forwarding import forwarded_head
from mesh.proxy.local_reply import (
    NO_HEALTHY_UPSTREAM,
    REQUEST_TIMEOUT,
    STREAM_DURATION,
    STREAM_IDLE_TIMEOUT,
    UPSTREAM_IDLE_TIMEOUT,
    LocalReply,
    upstream_failure,
)
from mesh.proxy.upstream_pool import UpstreamEndpoint
from mesh.proxy.upstream_try import TRY_ERRORS, UpstreamTry
from mesh.runtime.environment import Connection
from mesh.telemetry.request_record import FailedTry

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange


async def first_good_answer(exchange: "HttpExchange") -> UpstreamTry | LocalReply:
    """Try, one endpoint after the other; return the try whose response goes to the client, or what to answer instead."""
    record, rules = exchange.record, exchange.rules
    while True:
        record.tries += 1
        attempt = await _try_once(exchange)
        if isinstance(attempt, LocalReply):
            return attempt
        if (
            attempt.failure is None
            and exchange.retry is None
            and (rules is None or attempt.head.status < rules.status_min)
        ):
            return attempt
        if rules is None or not exchange.body.replayable:
            return final_answer(exchange, attempt)
        decision = decide(exchange, rules, attempt)
        if isinstance(decision, GiveUp):
            note_success(exchange, decision)
            return final_answer(exchange, attempt, decision.flag)
        note_retry(exchange, attempt, decision)
        if attempt.failure is None:
            drop_response(exchange, attempt)
        exchange.body.stop()
        try:
            await exchange.http.reactor.sleep(decision.delay_s)
        except DeadlineExceeded:
            return expired(exchange, exchange.http.deadlines.expired())


def decide(exchange: "HttpExchange", rules: RetryRules, attempt: UpstreamTry) -> RetryAfter | GiveUp:
    """Ask the policy what follows on a try that has ended, or has a response."""
    http, retry = exchange.http, retry_state(exchange, rules)
    now, random = http.reactor.now(), http.context.random
    if attempt.failure is not None:
        return retry.after_failure(attempt.failure, request_sent=attempt.sent, now=now, random=random)
    wall_clock_s = http.context.wall_clock()
    return retry.after_response(attempt.head, now=now, wall_clock_s=wall_clock_s, random=random)


def retry_state(exchange: "HttpExchange", rules: RetryRules) -> RetryState:
    """Return the state of the request's retries; made when the first of them is asked for."""
    retry = exchange.retry
    if retry is None:
        method = exchange.head.method.decode("ascii")
        retry = exchange.retry = RetryState(rules, exchange.cluster.breaker, method, exchange.head)
    return retry


def note_retry(exchange: "HttpExchange", attempt: UpstreamTry, decision: RetryAfter) -> None:
    """Count a retry that was granted for a try; the next pick avoids what it has to."""
    stats = exchange.cluster.stats
    stats.retry += 1
    if decision.rate_limited:
        stats.retry_backoff_ratelimited += 1
    else:
        stats.retry_backoff_exponential += 1
    exchange.expected_line = None  # Less time is left than the route gives.
    now = exchange.http.reactor.now()
    exchange.record.failed_tries += (FailedTry(attempt.endpoint.label, now, _outcome_of(attempt), decision.delay_s),)
    rules = exchange.rules
    if rules is not None and rules.host_selection is not None:
        if exchange.avoided is None:
            exchange.avoided = Avoided(rules.host_selection)
        exchange.avoided.note(attempt.endpoint)


def _outcome_of(attempt: UpstreamTry) -> str:
    if attempt.failure is not None:
        return attempt.failure.value
    # A hedged try that goes on has no head yet.
    head: ResponseHead | None = getattr(attempt, "head", None)
    return "too slow" if head is None else str(head.status)


def drop_response(exchange: "HttpExchange", attempt: UpstreamTry) -> None:
    """End a try whose response is not good enough. Its connection serves again where all of it came with its head."""
    stats, head, size = exchange.cluster.stats, attempt.head, len(attempt.rest)
    stats.retried_by_status[head.status] = stats.retried_by_status.get(head.status, 0) + 1
    attempt.answered(exchange.http.reactor.now())
    whole = size == 0 if head.body is BodyKind.NONE else head.body is BodyKind.LENGTH and size == head.body_length
    attempt.end(reusable=whole and head.keep_alive and exchange.body.delivered)


def final_answer(
    exchange: "HttpExchange", attempt: UpstreamTry, flag: ResponseFlag | None = None
) -> UpstreamTry | LocalReply:
    """Turn the last try into the answer; `flag` says why there is no further one although the policy covers it."""
    if flag is not None:
        note_refusal(exchange, flag)
    if attempt.failure is FailureKind.OVERFLOW:
        exchange.record.upstream = ""  # It never came to one.
    if attempt.failure is not None:
        return upstream_failure(attempt.failure, retried=exchange.record.tries > 1, reason=attempt.reason)
    return attempt


def note_success(exchange: "HttpExchange", decision: GiveUp) -> None:
    """Count, as Envoy does, that what came of a retry is nothing that the policy covers."""
    if decision.flag is None and exchange.retry is not None and exchange.retry.retries:
        exchange.cluster.stats.retry_success += 1


def note_refusal(exchange: "HttpExchange", flag: ResponseFlag) -> None:
    """Count, and leave in the record, why there was no further try."""
    stats = exchange.cluster.stats
    exchange.record.flags += (flag,)
    if flag is ResponseFlag.RETRY_LIMIT_EXCEEDED:
        stats.retry_limit_exceeded += 1
    else:
        stats.retry_overflow += 1


def expired(exchange: "HttpExchange", expiry: Expiry) -> LocalReply:
    """Return what to answer when a span of the whole request ran out."""
    stats = exchange.cluster.stats
    if expiry is Expiry.REQUEST:
        stats.timeouts += 1
        return REQUEST_TIMEOUT
    if expiry is Expiry.STREAM_MAX:
        stats.max_duration_reached += 1
        return STREAM_DURATION
    # Whose silence was it?
    return UPSTREAM_IDLE_TIMEOUT if exchange.body.complete else STREAM_IDLE_TIMEOUT


def pick(exchange: "HttpExchange") -> UpstreamEndpoint | None:
    """Choose the endpoint of the next try; None: there is none."""
    cluster, request_hash, avoided = exchange.cluster, exchange.request_hash, exchange.avoided
    if avoided is not None:
        return avoided.choose(lambda number, omitted: cluster.pick(request_hash, number, omitted))
    return cluster.pick(request_hash)


async def _try_once(exchange: "HttpExchange") -> UpstreamTry | LocalReply:
    """Send the request to one endpoint and wait for the head of its response, or for what goes wrong."""
    http, cluster, body = exchange.http, exchange.cluster, exchange.body
    selector = cluster.selector
    if selector is None or exchange.retry is not None:
        endpoint = pick(exchange)
    else:  # The usual case, without a call more than it takes.
        endpoint = selector.pick(exchange.began_at, exchange.request_hash)
    if endpoint is None:
        cluster.stats.none_healthy += 1
        return NO_HEALTHY_UPSTREAM
    exchange.record.upstream = endpoint.label
    attempt = UpstreamTry(cluster, endpoint)
    if endpoint.latency is not None:
        attempt.started_at = http.reactor.now()
    try:
        head = forwarded_head(exchange, host=endpoint.hostname)
        upstream = attempt.take_idle()
        if upstream is None:
            upstream = await attempt.connect(http.deadlines.earliest())
            if body.complete:
                exchange.begin_try(http.reactor.now())
        elif exchange.record.tries > 1 and body.complete:
            exchange.begin_try(http.reactor.now())
        connection = upstream.connection
        attempt.sent = True
        try:
            await connection.send(head + body.kept if body.kept else head)
        except BrokenConnection:
            await raise_alert(connection)
            raise
        if not body.complete:
            body.stream_to(connection, http.pump, idle_s=exchange.timeouts.stream_idle_s)
        data = await connection.receive()
        parsed = upstream.parser.parse(data, exchange.head.method) if data else None
        if parsed is None or parsed[0].status < 200:
            await receive_head(exchange, attempt, data, pass_interim=True)
        else:
            attempt.head, consumed = parsed
            attempt.rest = data[consumed:]
        cluster.on_response(endpoint, attempt.head.status, attempt.head)
        return attempt
    except TRY_ERRORS as error:
        attempt.fail(error, http.reactor.now())
    except DeadlineExceeded:
        expiry = http.deadlines.expired()
        if expiry is not Expiry.PER_TRY and expiry is not Expiry.PER_TRY_IDLE:
            attempt.abandon(http.reactor.now())
            if expiry is Expiry.REQUEST:
                cluster.on_local_failure(endpoint, FailureKind.REQUEST_TIMEOUT)
            return expired(exchange, expiry)
        attempt.expire(count_try_timeout(exchange, expiry), http.reactor.now())
    except BaseException:
        attempt.abandon(http.reactor.now())
        raise
    http.deadlines.end_try()
    http.pump.set_deadline(http.deadlines.earliest())
    return attempt


def count_try_timeout(exchange: "HttpExchange", expiry: Expiry) -> FailureKind:
    """Count that a span of one try ran out; return what that is called."""
    stats = exchange.cluster.stats
    if expiry is Expiry.PER_TRY:
        stats.per_try_timeouts += 1
        return FailureKind.PER_TRY_TIMEOUT
    stats.per_try_idle_timeouts += 1
    return FailureKind.PER_TRY_IDLE_TIMEOUT


async def raise_alert(connection: Connection) -> None:
    """After a failed send: raise why, where the peer said so by a TLS alert before it closed."""
    if connection.secure:
        await connection.receive()


async def receive_head(exchange: "HttpExchange", attempt: UpstreamTry, buffer: bytes, *, pass_interim: bool) -> None:
    """Read on until the final response's head; interim responses go on to the client, or nowhere."""
    connection, parser, request = attempt.upstream.connection, attempt.upstream.parser, exchange.head
    data, interim_bytes = buffer, 0
    while True:
        if not data:
            if buffer:
                raise RemoteProtocolError("the stream ended within a head", status=502)
            raise BrokenConnection
        while buffer and (parsed := parser.parse(buffer, request.method)) is not None:
            attempt.head, consumed = parsed
            buffer = buffer[consumed:]
            if not attempt.head.interim:
                attempt.rest = buffer
                return
            interim_bytes += consumed
            if interim_bytes > MAX_HEAD_BYTES:
                raise RemoteProtocolError("interim responses without end", status=502)
            if pass_interim and request.version == 11:
                await exchange.http.downstream.send(attempt.head.forward())
        data = await connection.receive()
        buffer += data
