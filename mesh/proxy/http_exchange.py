"""One HTTP/1.1 request through the proxy, from its filters to its record.

Runs in the pump of its downstream connection. Other pumps exist only while a request body that did not arrive with its
head is being streamed, and for what was asked for besides: copies of the request, tries side by side.
Source: Envoy router filter (source/common/router/router.cc) for the order of decisions.
"""

import math
from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, DeadlineExceeded
from mesh.model.traffic import ResponseFlag
from mesh.policy.failure import FailureKind
from mesh.policy.fault_injection import FaultCounts
from mesh.policy.host_selection import Avoided
from mesh.policy.path_rewrite import location
from mesh.policy.retry import RetryRules, RetryState
from mesh.policy.timeout import Timeouts
from mesh.protocol.http1 import RequestHead
from mesh.proxy.cluster import ClusterState
from mesh.proxy.control import steer
from mesh.proxy.downstream import DownstreamGone
from mesh.proxy.hedging import HedgedTries
from mesh.proxy.local_reply import (
    NO_PATH,
    NO_ROUTE,
    NO_TUNNEL,
    STREAM_IDLE_TIMEOUT,
    UNRESOLVED,
    LocalReply,
    bad_request,
    redirected,
    upstream_failure,
)
from mesh.proxy.mirroring import mirror
from mesh.proxy.plan import UNROUTED, Pause, RoutePlan
from mesh.proxy.request_body import NO_BODY, BadBody, RequestBody, RequestStalled
from mesh.proxy.response import cut, note_broken, reply, respond, tunnel
from mesh.proxy.tries import first_good_answer
from mesh.proxy.upstream_try import UpstreamTry
from mesh.telemetry.metrics import count_completed

if TYPE_CHECKING:
    from mesh.proxy.http_connection import HttpConnection

_SLASH = 0x2F


class HttpExchange:
    """One request and its response. `run` is the whole life of it; the rest is what its parts know of one another."""

    __slots__ = (
        "avoided",
        "began_at",
        "body",
        "cluster",
        "cookie_lines",
        "expected_line",
        "fault_counts",
        "head",
        "http",
        "per_try_idle_s",
        "per_try_s",
        "record",
        "request_hash",
        "response_bytes_per_s",
        "retry",
        "route",
        "rules",
        "timeouts",
    )

    def __init__(self, http: "HttpConnection", head: RequestHead, body: RequestBody) -> None:
        self.http = http
        self.head = head
        self.body = body
        self.record = http.new_record(head)
        # When the upstream's time began: not while filters or the client's own bytes were waited for.
        self.began_at = self.record.started_at
        self.route = UNROUTED
        self.cluster: ClusterState  # once it is routed, as all that follows
        self.timeouts: Timeouts
        self.rules: RetryRules | None
        self.per_try_s: float
        self.per_try_idle_s: float
        # How long the upstream may take; None: not what the route says, or less is left by now.
        self.expected_line: bytes | None = None
        self.request_hash: int | None = None
        self.cookie_lines = b""  # for the response
        self.retry: RetryState | None = None
        self.avoided: Avoided | None = None
        self.response_bytes_per_s = 0.0  # 0: as fast as it can
        self.fault_counts: FaultCounts | None = None

    async def run(self) -> bool:
        """Answer the request; return whether the downstream connection may carry another one."""
        try:
            for look_at in self.http.plan.filters:
                verdict = look_at(self)
                if verdict is not None:
                    answer = await self._pause(verdict) if isinstance(verdict, Pause) else verdict
                    if answer is not None:
                        return await reply(self, answer)
            answer = self._route()
            if answer is not None:
                return await reply(self, answer)
            self._begin()
            rules = self.rules
            if rules is not None and rules.hedges:
                outcome = await HedgedTries(self, rules).run()
            else:
                outcome = await first_good_answer(self)
            if isinstance(outcome, LocalReply):
                return await reply(self, outcome)
            if outcome.head.status == 101:
                return await self._switch_protocols(outcome)
            return await respond(self, outcome)
        except (DownstreamGone, BrokenConnection):  # Upstream's breaking never comes this far.
            self.record.flags += (ResponseFlag.DOWNSTREAM_CLOSED,)
            self.record.detail = "downstream_remote_disconnect"
            return False
        except (BadBody, RequestStalled) as error:
            answer = STREAM_IDLE_TIMEOUT if isinstance(error, RequestStalled) else bad_request(error.cause)
            if not self.record.status:
                return await reply(self, answer)
            cut(self, answer)
            return False
        except DeadlineExceeded as error:  # The client does not take its answer.
            note_broken(self, error)
            self.http.connection.abort()
            return False
        finally:
            self._finish()

    async def _pause(self, pause: Pause) -> LocalReply | None:
        """Wait as a filter wants it; the client's going away ends it."""
        http = self.http
        if not http.downstream.watched:
            http.downstream.watch()
        http.pump.set_deadline(math.inf)
        await http.reactor.sleep(pause.delay_s)
        self.began_at = http.reactor.now()
        return pause.then

    def begin_fault(self, counts: FaultCounts) -> None:
        """Something was injected into this request: it counts as long as that lasts."""
        counts.active += 1
        self.fault_counts = counts

    def _route(self) -> LocalReply | None:
        """Find out where the request goes, and under which policies, or what to answer instead."""
        http, head, record = self.http, self.head, self.record
        if head.path[0] != _SLASH:
            return NO_TUNNEL if head.method == b"CONNECT" else NO_PATH
        plan = http.plan
        route = plan.routes.find(head)
        if route is None:
            http.stats.no_route += 1
            return NO_ROUTE
        self.route = route
        record.route = route.name
        cluster = route.cluster or route.backends.draw(http.context.random)
        if cluster is None:
            return self._answer_of(route)
        self.cluster = cluster
        record.cluster = cluster.config.name
        self.timeouts, self.rules = route.timeouts, route.retry
        self.per_try_s, self.per_try_idle_s = route.per_try_s, route.per_try_idle_s
        self.expected_line = route.expected_line
        if route.timed_methods is not None and head.method not in route.timed_methods:
            self.per_try_s = 0.0
            self.expected_line = None
        if route.extras or plan.caller_spans is not None or (head.controlled and http.trusted):
            self._prepare(route)
        return None

    def _answer_of(self, route: RoutePlan) -> LocalReply:
        """Return what a route answers that leads to no cluster."""
        http, head = self.http, self.head
        http.stats.direct_responses += 1
        if route.redirect is None:
            return UNRESOLVED
        scheme = b"https" if http.connection.secure else b"http"
        where = location(route.redirect, head.host, head.origin_target, head.path, route.prefix, scheme)
        return redirected(route.redirect.status, where)

    def _prepare(self, route: RoutePlan) -> None:
        """Work out what depends on who asks and what the request says: spans, retries, the hash."""
        http, by_caller = self.http, self.http.plan.caller_spans
        if by_caller is not None:
            own = by_caller.of(http.peer, http.connection.sni)
            if own:
                self.timeouts, self.expected_line = own[0].timeouts, own[0].expected_line
        if self.head.controlled and http.trusted:
            steer(self)
        rules = self.rules
        if rules is not None and rules.rate_budget is not None:
            rules.rate_budget.deposit(self.began_at)
        if route.hasher is not None:
            remote = http.connection.remote.host
            self.request_hash, self.cookie_lines = route.hasher.hash(self.head, remote, http.context.random)

    def _begin(self) -> None:
        http, now = self.http, self.began_at
        downstream = http.downstream
        if self.body.complete:
            deadlines = http.deadlines
            http.pump.set_deadline(deadlines.begin_complete(self.timeouts, self.per_try_s, now, self.per_try_idle_s))
            if not downstream.watched:
                downstream.watch()
            if self.route.mirrors:
                mirror(self)
            return
        # The client's bytes are for the body's pump; until the last of them has come, only the idle span runs.
        self.body.on_part = self._on_request_part
        self.body.on_complete = self.on_request_complete
        if downstream.watched:
            downstream.unwatch()
        http.deadlines.begin(self.timeouts, now)
        http.pump.set_deadline(http.deadlines.earliest())

    def _on_request_part(self) -> None:
        http = self.http
        http.deadlines.touch(self.timeouts, http.reactor.now())
        http.pump.set_deadline(http.deadlines.earliest())

    def on_request_complete(self) -> None:
        """The last byte of a streamed body has come: only now the request's and the try's spans begin."""
        http, now = self.http, self.http.reactor.now()
        self.began_at = now
        http.deadlines.touch(self.timeouts, now)
        http.deadlines.begin_response_wait(self.timeouts, now)
        self.begin_try(now)
        if self.route.mirrors and self.body.replayable:
            mirror(self)

    def begin_try(self, now: float) -> None:
        """A try has its connection and the complete request."""
        deadlines = self.http.deadlines
        deadlines.begin_try(self.per_try_s, now, self.per_try_idle_s)
        self.http.pump.set_deadline(deadlines.earliest())

    async def _switch_protocols(self, attempt: UpstreamTry) -> bool:
        if self.head.upgrade is not None and self.body.delivered:
            return await tunnel(self, attempt)
        attempt.end(reusable=False)  # Nobody had asked for that, or the request's own bytes still come.
        return await reply(self, upstream_failure(FailureKind.PROTOCOL_ERROR, retried=self.record.tries > 1))

    def _finish(self) -> None:
        """Whatever happened: give back what is held, and leave one record."""
        http, body, record = self.http, self.body, self.record
        if body is not NO_BODY:
            self._finish_body(body)
        if self.retry is not None:
            self.retry.close()
        if self.fault_counts is not None:
            self.fault_counts.active -= 1
        record.ended_at = now = http.reactor.now()
        stats = self.cluster.stats if record.cluster else None
        upstream_ms = (now - self.began_at) * 1000.0 if record.detail == "via_upstream" else None
        count_completed(http.stats, stats, record.status, (now - record.started_at) * 1000.0, upstream_ms)
        http.context.records.append(record)

    def _finish_body(self, body: RequestBody) -> None:
        record = self.record
        body.stop()
        if not record.bytes_received:
            record.bytes_received = body.bytes_received
        if not body.replayable and record.cluster and (self.rules is not None or self.route.mirrors):
            self.cluster.stats.replay_abandoned += 1
