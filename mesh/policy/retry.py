"""Retries: whether, and after how long, a failed try is repeated. Pure: time and chance are arguments, the caller waits.

Source: Envoy `config.route.v3.RetryPolicy`, source/common/router/retry_state_impl.cc. Order of a decision:
condition met? -> retries left? else URX -> room in the budget or breaker? else UO -> retry after a jittered back-off.

Left to the caller: a request is only repeated while its body is still there to replay and no response byte, not even an
interim response, has gone downstream; the request's timeout goes on over all tries and back-offs. A hedge's first try
that is answered after the second began is judged by `RetryRules.covers_response`, without another retry.
"""

import enum
from typing import Protocol

import attrs

from mesh.model.randomness import Random
from mesh.model.traffic import ResponseFlag
from mesh.policy.back_off import ExponentialBackOff, RateLimitedBackOff, ResetHeaders
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.failure import FailureKind
from mesh.policy.grpc_status import GrpcStatus, read_status
from mesh.policy.header_match import Headers, any_matches, header_test
from mesh.policy.host_selection import HostSelection
from mesh.policy.retry_budget import RateBudget, RetryBudget
from mesh.policy.routing import HeaderMatch
from mesh.policy.timeout import effective_per_try_s


class RetryOn(enum.Enum):
    """Conditions under which a try may be repeated. Envoy's words."""

    SERVER_ERROR = "5xx"
    GATEWAY_ERROR = "gateway-error"
    RESET = "reset"
    RESET_BEFORE_REQUEST = "reset-before-request"
    CONNECT_FAILURE = "connect-failure"
    REFUSED_STREAM = "refused-stream"
    RETRIABLE_4XX = "retriable-4xx"
    ENVOY_RATELIMITED = "envoy-ratelimited"
    RETRIABLE_STATUS_CODES = "retriable-status-codes"
    RETRIABLE_HEADERS = "retriable-headers"
    CANCELLED = "cancelled"  # from here on by the grpc-status in the response's headers
    DEADLINE_EXCEEDED = "deadline-exceeded"
    INTERNAL = "internal"
    RESOURCE_EXHAUSTED = "resource-exhausted"
    UNAVAILABLE = "unavailable"


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """What to retry and how often. `methods` empty: all methods; `status_codes`: retried besides `conditions`."""

    retries_max: int = 0
    conditions: tuple[RetryOn, ...] = ()
    status_codes: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    # True: `methods` restricts only what may have reached the upstream; what certainly has not is retried for any
    # method. Ours: Envoy's retriable_request_headers always gate the whole policy, which is what False means.
    unsent_any_method: bool = False
    per_try_timeout_s: float = 0.0  # 0: none
    # True: nobody wrote that span, so that it does not cut requests short whose methods are not retried. Ours.
    per_try_timeout_derived: bool = False
    backoff_base_s: float = 0.025
    backoff_s_max: float = 0.25
    budget: RetryBudget | None = RetryBudget()  # None: only the breaker's retries_max
    # Of these one has to match, else nothing is retried. Together with `methods`: one of both, as Kuma joins them.
    request_headers: tuple[HeaderMatch, ...] = ()
    response_headers: tuple[HeaderMatch, ...] = ()  # with one of these a response is retried, under RETRIABLE_HEADERS
    rate_limited_back_off: RateLimitedBackOff | None = None
    per_try_idle_timeout_s: float = 0.0  # 0: none
    host_selection: HostSelection | None = None
    hedge_on_per_try_timeout: bool = False


@attrs.frozen
class RetryAfter:
    """Try again after `delay_s`. A place for the retry is held until the next decision or `RetryState.close`.

    `rate_limited`: the response said how long, by one of the policy's reset headers.
    """

    delay_s: float
    rate_limited: bool = False


@attrs.frozen
class GiveUp:
    """What happened is final. `flag` says why it was not repeated although the policy covers it; None: it does not."""

    flag: ResponseFlag | None


NOT_RETRIABLE = GiveUp(None)
RETRY_LIMIT_EXCEEDED = GiveUp(ResponseFlag.RETRY_LIMIT_EXCEEDED)
RETRY_OVERFLOW = GiveUp(ResponseFlag.UPSTREAM_OVERFLOW)

_SERVER_ERRORS = tuple(range(500, 600))
_GATEWAY_ERRORS = (502, 503, 504)
_CONNECT_FAILURES = (FailureKind.CONNECT_FAILURE, FailureKind.CONNECT_TIMEOUT)
_GRPC_STATUS_BY_CONDITION = {
    RetryOn.CANCELLED: GrpcStatus.CANCELLED,
    RetryOn.DEADLINE_EXCEEDED: GrpcStatus.DEADLINE_EXCEEDED,
    RetryOn.INTERNAL: GrpcStatus.INTERNAL,
    RetryOn.RESOURCE_EXHAUSTED: GrpcStatus.RESOURCE_EXHAUSTED,
    RetryOn.UNAVAILABLE: GrpcStatus.UNAVAILABLE,
}
_NO_STATUS = 1000
# A rate budget says yes or no; for the breaker that is room for every retry, or for none.
_ROOM, _NO_ROOM = 2**63, 0


class ResponseHeaders(Headers, Protocol):
    """The head of a response."""

    @property
    def status(self) -> int: ...


class RetryRules:
    """A policy prepared for the request path; made once per route.

    `status_min`: a response below it is final, so that a good first one costs one comparison and no RetryState; 0 where
    headers are looked at too. `per_try_timeout_s`: the span that counts beside the route's request timeout; 0 for none.
    `timed_methods`: those of which a try has a span of its own; None: all. `rate_budget`: takes a deposit for each request
    of the route, where it is not None.
    """

    __slots__ = (
        "_grpc_statuses",
        "_kinds",
        "_methods",
        "_rate_limited",
        "_request_tests",
        "_response_tests",
        "_unsent_kinds",
        "enabled",
        "hedges",
        "host_selection",
        "per_try_idle_timeout_s",
        "per_try_timeout_s",
        "policy",
        "rate_budget",
        "reset_headers",
        "status_min",
        "statuses",
        "timed_methods",
    )

    def __init__(self, policy: RetryPolicy, *, request_timeout_s: float, rate_budget: RateBudget | None = None) -> None:
        """Prepare a policy. `rate_budget`: the one that the cluster keeps for such policies; else it has its own.

        Raises: ValueError with the reason where a regular expression is refused.
        """
        conditions = policy.conditions
        self.policy = policy
        self.statuses = _statuses_covered(policy)
        self.enabled = bool(conditions or self.statuses)
        self.host_selection = policy.host_selection
        self.reset_headers = ResetHeaders(policy.rate_limited_back_off) if policy.rate_limited_back_off else None
        self.rate_budget = rate_budget or _own_rate_budget(policy.budget)
        # A span that hedges ends no try, so that without retries it does nothing at all.
        spans_count = self.enabled or not policy.hedge_on_per_try_timeout
        per_try_s = effective_per_try_s(policy.per_try_timeout_s, request_timeout_s)
        self.per_try_timeout_s = per_try_s if spans_count else 0.0
        self.per_try_idle_timeout_s = policy.per_try_idle_timeout_s if spans_count else 0.0
        self.hedges = policy.hedge_on_per_try_timeout and self.per_try_timeout_s + self.per_try_idle_timeout_s > 0.0
        self._methods = frozenset(policy.methods)
        derived = policy.per_try_timeout_derived and not policy.request_headers
        self.timed_methods = frozenset(map(str.encode, policy.methods)) if derived and policy.methods else None
        self._request_tests = tuple(header_test(match) for match in policy.request_headers)
        by_headers = policy.response_headers if RetryOn.RETRIABLE_HEADERS in conditions else ()
        self._response_tests = tuple(header_test(match) for match in by_headers)
        self._grpc_statuses = frozenset(
            _GRPC_STATUS_BY_CONDITION[condition] for condition in conditions if condition in _GRPC_STATUS_BY_CONDITION
        )
        self._rate_limited = RetryOn.ENVOY_RATELIMITED in conditions
        self._kinds = _kinds_covered(conditions, unsent=False)
        self._unsent_kinds = _kinds_covered(conditions, unsent=True)
        looks_at_headers = self._rate_limited or self._response_tests or self._grpc_statuses
        self.status_min = 0 if looks_at_headers else min(self.statuses, default=_NO_STATUS)

    def applies_to(self, method: str, request: Headers) -> bool:
        """Is the whole policy in force for this request? If not, nothing is retried, `unsent_any_method` aside."""
        if not self._methods and not self._request_tests:
            return True
        return method in self._methods or any_matches(self._request_tests, request)

    def covers_response(self, response: ResponseHeaders) -> bool:
        """Is this response one to retry?

        One with x-envoy-ratelimited is judged by that alone. One with x-envoy-overloaded is an upstream proxy's refusal
        and judged like any other.
        """
        if response.header(b"x-envoy-ratelimited") is not None:
            return self._rate_limited
        if response.status in self.statuses or any_matches(self._response_tests, response):
            return True
        # Of gRPC only what stands in the headers can be retried: a response that ended with them.
        return bool(self._grpc_statuses) and read_status(response.header(b"grpc-status")) in self._grpc_statuses

    def covers_failure(self, kind: FailureKind, *, request_sent: bool) -> bool:
        """Is this failure one to retry? `request_sent`: a byte of the request was written to an upstream."""
        return kind in (self._kinds if request_sent else self._unsent_kinds)


def _statuses_covered(policy: RetryPolicy) -> frozenset[int]:
    statuses = list(policy.status_codes)
    if RetryOn.SERVER_ERROR in policy.conditions:
        statuses += _SERVER_ERRORS
    if RetryOn.GATEWAY_ERROR in policy.conditions:
        statuses += _GATEWAY_ERRORS
    if RetryOn.RETRIABLE_4XX in policy.conditions:
        statuses.append(409)
    return frozenset(statuses)


def _kinds_covered(conditions: tuple[RetryOn, ...], *, unsent: bool) -> frozenset[FailureKind]:
    """Return the failures that the conditions cover. Source: Envoy RetryStateImpl::wouldRetryFromReset."""
    # 5xx and gateway-error cover every failure too, since each would end as a 503 or 504. The spans of a try that ran out
    # are resets by us.
    whole = {RetryOn.SERVER_ERROR, RetryOn.GATEWAY_ERROR, RetryOn.RESET}
    if not whole.isdisjoint(conditions) or (unsent and RetryOn.RESET_BEFORE_REQUEST in conditions):
        # A local overflow is never retried: that would add load where there is too much. The request's timeout ends it.
        return frozenset(FailureKind) - {FailureKind.OVERFLOW, FailureKind.REQUEST_TIMEOUT}
    kinds: set[FailureKind] = set()
    if RetryOn.CONNECT_FAILURE in conditions:
        kinds.update(_CONNECT_FAILURES)
    if RetryOn.REFUSED_STREAM in conditions:
        kinds.add(FailureKind.REFUSED_STREAM)
    return frozenset(kinds)


def _own_rate_budget(budget: RetryBudget | None) -> RateBudget | None:
    if budget is None or budget.rate_per_s_min is None:
        return None
    return RateBudget(budget.percent, budget.rate_per_s_min)


class RetryState:
    """The retries of one request. Make it when the first try has failed; then ask after every try, and `close` at the end.

    A concurrency budget is a share of what the *cluster* has in flight: its counts come from the cluster's breaker. A
    policy with a budget of either kind does not look at the breaker's own `retries_max`; its retries are counted there.
    `retries`: granted so far; the next try's number is this + 1.
    """

    __slots__ = ("_applies", "_back_off", "_breaker", "_holds_place", "_left", "_rules", "_started", "retries")

    def __init__(self, rules: RetryRules, breaker: CircuitBreaker, method: str, request: Headers) -> None:
        policy = rules.policy
        self.retries = 0
        self._rules = rules
        self._breaker = breaker
        self._applies = rules.applies_to(method, request)
        self._back_off = ExponentialBackOff(policy.backoff_base_s, policy.backoff_s_max)
        self._left = policy.retries_max
        self._started = False
        self._holds_place = False

    def after_response(
        self, response: ResponseHeaders, *, now: float, wall_clock_s: float, random: Random
    ) -> RetryAfter | GiveUp:
        """Decide on a try that got response headers. `wall_clock_s`: seconds since the epoch, for reset headers."""
        rules = self._rules
        if not self._applies or not rules.covers_response(response):
            return self._not_covered()
        reset = rules.reset_headers
        delay_s = None if reset is None else reset.delay_s(response, wall_clock_s=wall_clock_s, random=random)
        return self._grant(delay_s, now, random)

    def after_failure(
        self, kind: FailureKind, *, request_sent: bool, now: float, random: Random
    ) -> RetryAfter | GiveUp:
        """Decide on a try that got no response; `request_sent`: a byte of the request was written to the upstream."""
        if not self._applies and not self._certainly_undone(kind, request_sent=request_sent):
            return self._not_covered()
        # As in Envoy, a request that failed after a byte of it was sent counts as sent from then on.
        self._started |= request_sent
        if not self._rules.covers_failure(kind, request_sent=self._started):
            return self._not_covered()
        return self._grant(None, now, random)

    def after_soft_timeout(self, *, now: float, random: Random) -> RetryAfter | GiveUp:
        """Decide whether to hedge: a span of a try ran out, the try goes on, and another may start beside it.

        Ask at most once for each try, and not about that try again. Here the conditions do not matter.
        Source: Envoy RetryStateImpl::shouldHedgeRetryPerTryTimeout.
        """
        return self._grant(None, now, random) if self._applies and self._rules.enabled else self._not_covered()

    def close(self) -> None:
        """Give the place of a retry back. Call when the request ends, however it ends; safe to repeat."""
        if self._holds_place:
            self._holds_place = False
            self._breaker.release_retry()

    def _certainly_undone(self, kind: FailureKind, *, request_sent: bool) -> bool:
        return self._rules.policy.unsent_any_method and (not request_sent or kind is FailureKind.REFUSED_STREAM)

    def _not_covered(self) -> GiveUp:
        self.close()
        return NOT_RETRIABLE

    def _grant(self, delay_s: float | None, now: float, random: Random) -> RetryAfter | GiveUp:
        # Envoy's order: the place of the try that just ended is free before room is asked for the next one.
        self.close()
        if self._left <= 0:
            return RETRY_LIMIT_EXCEEDED
        self._left -= 1
        if not self._breaker.admit_retry(self._limit(now)):
            return RETRY_OVERFLOW
        self._holds_place = True
        self.retries += 1
        if delay_s is not None:
            return RetryAfter(delay_s, rate_limited=True)
        return RetryAfter(self._back_off.next_s(random))

    def _limit(self, now: float) -> int | None:
        """Return how many retries the cluster may have at this moment; None: what its breaker says."""
        rules, breaker = self._rules, self._breaker
        if rules.rate_budget is not None:
            return _ROOM if rules.rate_budget.withdraw(now) else _NO_ROOM
        budget = rules.policy.budget
        return None if budget is None else budget.limit(breaker.requests + breaker.pending_requests)
