"""Hedging: when a span of a try runs out, another try starts beside it, and the first good response wins.

Each try has a pump of its own, which nothing else in the proxy's tries needs; the exchange's own pump judges what they
bring. Source: Envoy `Filter::{onSoftPerTryTimeout,onUpstreamHeaders,onUpstreamReset}` in source/common/router/router.cc.
"""

import math
from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, DeadlineExceeded
from mesh.policy.failure import FailureKind
from mesh.policy.retry import RetryAfter, RetryRules
from mesh.policy.timeout import Expiry
from mesh.proxy.downstream import DownstreamGone
from mesh.proxy.forwarding import forwarded_head
from mesh.proxy.local_reply import NO_HEALTHY_UPSTREAM, LocalReply
from mesh.proxy.tries import (
    decide,
    drop_response,
    expired,
    final_answer,
    note_refusal,
    note_retry,
    note_success,
    pick,
    raise_alert,
    receive_head,
    retry_state,
)
from mesh.proxy.upstream_try import TRY_ERRORS, UpstreamTry
from mesh.runtime.pump import Pump, Signal

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange


class _Contender:
    """One of the tries under way. `replaced`: another one was started for it, so nothing more is done for it."""

    __slots__ = ("attempt", "done", "pump", "replaced", "soft_deadline")

    def __init__(self, attempt: UpstreamTry) -> None:
        self.attempt = attempt
        self.pump: Pump | None = None
        self.done = False
        self.replaced = False
        self.soft_deadline = math.inf


class HedgedTries:
    """All tries of one request. `run` it once."""

    def __init__(self, exchange: "HttpExchange", rules: RetryRules) -> None:
        self._exchange = exchange
        self._rules = rules
        self._reactor = exchange.http.reactor
        self._contenders: list[_Contender] = []
        self._starts: list[float] = []  # when tries begin that were granted
        self._news = Signal(self._reactor)
        self._gone: DownstreamGone | None = None
        # Spans of a try end nothing here: they are ours to watch, not the request's.
        self._soft_s = min(span for span in (exchange.per_try_s, exchange.per_try_idle_s) if span > 0.0)
        exchange.per_try_s = exchange.per_try_idle_s = 0.0
        exchange.http.deadlines.end_try()

    async def run(self) -> UpstreamTry | LocalReply:
        """Return the try whose response goes to the client, or what to answer instead; all other tries are ended."""
        exchange = self._exchange
        if not exchange.body.complete:
            exchange.body.on_complete = self._on_request_complete
        try:
            if not self._start():
                exchange.cluster.stats.none_healthy += 1
                return NO_HEALTHY_UPSTREAM
            while True:
                for contender in list(self._contenders):
                    answer = self._look_at(contender)
                    if answer is not None:
                        return answer
                if self._gone is not None:
                    raise self._gone
                await self._wait()
                self._start_due()
                if not self._contenders and not self._starts:  # Endpoints have gone since the last try failed.
                    exchange.cluster.stats.none_healthy += 1
                    return NO_HEALTHY_UPSTREAM
        except DeadlineExceeded:
            expiry = exchange.http.deadlines.expired()
            if expiry is Expiry.REQUEST:
                for contender in self._contenders:
                    exchange.cluster.on_local_failure(contender.attempt.endpoint, FailureKind.REQUEST_TIMEOUT)
            return expired(exchange, expiry)
        finally:
            for contender in self._contenders:
                self._end(contender)
            exchange.http.pump.set_deadline(exchange.http.deadlines.earliest())

    def _start_due(self) -> None:
        now = self._reactor.now()
        due = [when for when in self._starts if when <= now]
        self._starts = [when for when in self._starts if when > now]
        for _ in due:
            self._start()

    def _start(self) -> bool:
        """Begin another try; False: there is no endpoint for it, and those under way have to do."""
        exchange = self._exchange
        exchange.record.tries += 1
        endpoint = pick(exchange)
        if endpoint is None:
            return False
        exchange.record.upstream = endpoint.label
        attempt = UpstreamTry(exchange.cluster, endpoint)
        if endpoint.latency is not None:
            attempt.started_at = self._reactor.now()
        contender = _Contender(attempt)
        self._contenders.append(contender)
        head = forwarded_head(exchange, host=endpoint.hostname)
        contender.pump = self._reactor.start(self._ask(contender, head), name="hedged-try")
        return True

    async def _ask(self, contender: _Contender, head: bytes) -> None:
        """Bring a response's head, or a failure. Only connecting has a deadline here."""
        exchange, attempt = self._exchange, contender.attempt
        body = exchange.body
        try:
            upstream = attempt.take_idle() or await attempt.connect(math.inf)
            connection = upstream.connection
            attempt.sent = True
            try:
                await connection.send(head + body.kept)
            except BrokenConnection:
                await raise_alert(connection)
                raise
            alone = not body.complete  # Only the first try meets this: spans begin with the request's last byte.
            if alone:
                body.stream_to(connection, exchange.http.pump, idle_s=exchange.timeouts.stream_idle_s)
            else:
                self._begin_span(contender)
            await receive_head(exchange, attempt, await connection.receive(), pass_interim=alone)
            exchange.cluster.on_response(attempt.endpoint, attempt.head.status, attempt.head)
        except TRY_ERRORS as error:
            attempt.fail(error, self._reactor.now())
        except DownstreamGone as error:  # While an interim response was passed on.
            attempt.abandon(self._reactor.now())
            self._gone = error
        except BaseException:
            attempt.abandon(self._reactor.now())
            raise
        contender.done = True
        self._news.wake_all()

    def _on_request_complete(self) -> None:
        self._exchange.on_request_complete()
        for contender in self._contenders:
            self._begin_span(contender)

    def _begin_span(self, contender: _Contender) -> None:
        contender.soft_deadline = self._reactor.now() + self._soft_s
        self._news.wake_all()

    async def _wait(self) -> None:
        """Park until a try has ended, one is due, or a span of one runs out. Raises: DeadlineExceeded, of the request."""
        http = self._exchange.http
        last = http.deadlines.earliest()
        http.pump.set_deadline(min([last, *self._starts, *(each.soft_deadline for each in self._contenders)]))
        try:
            await self._news.wait()
        except DeadlineExceeded:
            if self._reactor.now() >= http.deadlines.earliest():
                raise

    def _look_at(self, contender: _Contender) -> UpstreamTry | LocalReply | None:
        if contender.done:
            return self._judge(contender)
        if contender.soft_deadline <= self._reactor.now():
            contender.soft_deadline = math.inf
            self._hedge(contender)
        return None

    def _hedge(self, contender: _Contender) -> None:
        """A span of a try ran out: it goes on, and perhaps another one starts beside it."""
        exchange, attempt, now = self._exchange, contender.attempt, self._reactor.now()
        exchange.cluster.on_local_failure(attempt.endpoint, FailureKind.PER_TRY_TIMEOUT)
        if not exchange.body.replayable:
            return
        decision = retry_state(exchange, self._rules).after_soft_timeout(now=now, random=exchange.http.context.random)
        if isinstance(decision, RetryAfter):
            contender.replaced = True
            self._grant(contender, decision)
        elif decision.flag is not None:
            note_refusal(exchange, decision.flag)

    def _grant(self, contender: _Contender, decision: RetryAfter) -> None:
        note_retry(self._exchange, contender.attempt, decision)
        self._starts.append(self._reactor.now() + decision.delay_s)

    def _judge(self, contender: _Contender) -> UpstreamTry | LocalReply | None:
        """Decide on a try that has ended or has a response; None: wait for others."""
        exchange, attempt = self._exchange, contender.attempt
        self._contenders.remove(contender)
        flag = None
        bad = attempt.failure is not None or self._rules.covers_response(attempt.head)
        if not contender.replaced and exchange.body.replayable:
            decision = decide(exchange, self._rules, attempt)
            if isinstance(decision, RetryAfter):
                self._grant(contender, decision)
                self._drop(attempt)
                if not exchange.body.complete:  # Else the next try has all of it, and what streams is another's.
                    exchange.body.stop()
                return None
            flag = decision.flag
            if not (bad and (self._contenders or self._starts)):
                note_success(exchange, decision)
        if bad and (self._contenders or self._starts):
            # There are others to wait for.
            if flag is not None:
                note_refusal(exchange, flag)
            self._drop(attempt)
            return None
        exchange.record.upstream = attempt.endpoint.label
        return final_answer(exchange, attempt, flag)

    def _drop(self, attempt: UpstreamTry) -> None:
        if attempt.failure is None:
            drop_response(self._exchange, attempt)

    def _end(self, contender: _Contender) -> None:
        """End a try that lost."""
        if contender.pump is not None and not contender.done:
            contender.pump.cancel()
        contender.attempt.abandon(self._reactor.now())
