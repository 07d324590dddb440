"""Retries: whether, and after how long, a failed try is repeated. Pure: chance is an argument, the caller waits.

Source: Envoy `config.route.v3.RetryPolicy`, source/common/router/retry_state_impl.cc. Order of a decision:
condition met? -> retries left? else URX -> room in the budget or breaker? else UO -> retry after a jittered back-off.

Left to the caller: a request is only repeated while its body is still there to replay and no response byte has gone
downstream; the request's timeout goes on over all tries and back-offs.
"""

import enum

import attrs

from mesh.model.randomness import Random
from mesh.model.traffic import ResponseFlag
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.failure import FailureKind
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
class RetryBudget:
    """How much load retries may add. Envoy's retry_budget, or with `rate_per_s_min` tower's (Linkerd's ServiceProfile).

    Envoy's bounds the retries at once: `percent` of the active requests, but at least `concurrency_min`. The other bounds
    their rate: `percent` of the requests of the last seconds, and `rate_per_s_min` a second besides.
    """

    percent: float = 20.0
    concurrency_min: int = 3
    rate_per_s_min: float | None = None

    def limit(self, active: int) -> int:
        """Return the most retries at once while `active` requests are in flight or pending.

        Source: Envoy RetryBudgetImpl::max, which cuts the fraction off.
        """
        share = int(self.percent / 100.0 * active)
        return share if share > self.concurrency_min else self.concurrency_min


class ResetHeaderFormat(enum.Enum):
    """What a header that says when to come back holds. Kuma's words."""

    SECONDS = "Seconds"
    UNIX_TIMESTAMP = "UnixTimestamp"


@attrs.frozen(kw_only=True)
class ResetHeader:
    """A response header that says when to come back; its name in lower case."""

    name: str
    format: ResetHeaderFormat


@attrs.frozen(kw_only=True)
class RateLimitedBackOff:
    """Back off for as long as the first of these headers says, if that is not above `interval_s_max`."""

    reset_headers: tuple[ResetHeader, ...]
    interval_s_max: float = 300.0


@attrs.frozen(kw_only=True)
class HostSelection:
    """Which endpoints another try avoids. Up to `picks_max` more picks are made; the last one is taken, whatever it is.

    `omitted_tags`: endpoints that carry one of them; `omit_priorities_every`: after so many tries those priorities that
    were tried (0: no).
    """

    omit_previous_hosts: bool = False
    omitted_tags: tuple[tuple[str, str], ...] = ()
    omit_priorities_every: int = 0
    picks_max: int = 1


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
    backoff_base_s: float = 0.025
    backoff_s_max: float = 0.25
    budget: RetryBudget | None = RetryBudget()  # None: only the breaker's retries_max
    request_headers: tuple[HeaderMatch, ...] = ()  # of these one has to match, else nothing is retried
    response_headers: tuple[HeaderMatch, ...] = ()  # with one of these a response is retried, under RETRIABLE_HEADERS
    rate_limited_back_off: RateLimitedBackOff | None = None
    per_try_idle_timeout_s: float = 0.0  # 0: none
    host_selection: HostSelection | None = None
    hedge_on_per_try_timeout: bool = False


@attrs.frozen
class RetryAfter:
    """Try again after `delay_s`. A place for the retry is held until the next decision or `RetryState.close`."""

    delay_s: float


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


class RetryRules:
    """A policy prepared for the request path; made once per route.

    `statuses`: the response codes that are retried, so that a good first response costs one lookup and no RetryState.
    `per_try_timeout_s`: the span that counts beside the route's request timeout; 0 for none.
    """

    __slots__ = (
        "_kinds",
        "_methods",
        "_rate_limited",
        "_unsent_kinds",
        "enabled",
        "per_try_timeout_s",
        "policy",
        "statuses",
    )

    def __init__(self, policy: RetryPolicy, *, request_timeout_s: float) -> None:
        conditions = policy.conditions
        statuses = list(policy.status_codes)
        if RetryOn.SERVER_ERROR in conditions:
            statuses += _SERVER_ERRORS
        if RetryOn.GATEWAY_ERROR in conditions:
            statuses += _GATEWAY_ERRORS
        if RetryOn.RETRIABLE_4XX in conditions:
            statuses.append(409)
        self.policy = policy
        self.statuses = frozenset(statuses)
        self.enabled = bool(conditions or statuses)
        self.per_try_timeout_s = effective_per_try_s(policy.per_try_timeout_s, request_timeout_s)
        self._methods = frozenset(policy.methods)
        self._rate_limited = RetryOn.ENVOY_RATELIMITED in conditions
        self._kinds = _kinds_covered(conditions, unsent=False)
        self._unsent_kinds = _kinds_covered(conditions, unsent=True)

    def covers_response(self, method: str, status: int, *, rate_limited: bool) -> bool:
        """Is this response to be retried? `rate_limited`: it carries x-envoy-ratelimited, which then decides alone.

        A response that carries x-envoy-overloaded is an upstream proxy's refusal and is retried like any other 503.
        """
        covered = self._rate_limited if rate_limited else status in self.statuses
        return covered and (not self._methods or method in self._methods)

    def covers_failure(self, method: str, kind: FailureKind, *, request_sent: bool) -> bool:
        """Is this failure to be retried? `request_sent`: at least one byte of the request was written to the upstream."""
        if kind not in (self._kinds if request_sent else self._unsent_kinds):
            return False
        if not self._methods or method in self._methods:
            return True
        return self.policy.unsent_any_method and (not request_sent or kind is FailureKind.REFUSED_STREAM)


def _kinds_covered(conditions: tuple[RetryOn, ...], *, unsent: bool) -> frozenset[FailureKind]:
    """Return the failures that the conditions cover. Source: Envoy RetryStateImpl::wouldRetryFromReset."""
    # 5xx and gateway-error cover every failure too, since each would end as a 503 or 504.
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


@attrs.define(eq=False)
class RetryState:
    """The retries of one request. Make it when the first try has failed; then ask after every try, and `close` at the end.

    The budget is a share of what the *cluster* has in flight: its counts come from the cluster's breaker, and a
    policy with a budget does not look at the breaker's own `retries_max`.
    """

    rules: RetryRules
    breaker: CircuitBreaker
    method: str
    retries: int = attrs.field(default=0, init=False)  # granted so far; the next try's number is this + 1
    _interval_s: float = attrs.field(default=0.0, init=False)
    _holds_place: bool = attrs.field(default=False, init=False)

    def after_response(self, status: int, *, rate_limited: bool = False, random: Random) -> RetryAfter | GiveUp:
        """Decide on a try that got response headers; `rate_limited`: among them x-envoy-ratelimited."""
        return self._decide(self.rules.covers_response(self.method, status, rate_limited=rate_limited), random)

    def after_failure(self, kind: FailureKind, *, request_sent: bool, random: Random) -> RetryAfter | GiveUp:
        """Decide on a try that got no response; `request_sent`: a byte of the request was written to the upstream."""
        return self._decide(self.rules.covers_failure(self.method, kind, request_sent=request_sent), random)

    def close(self) -> None:
        """Give the place of a retry back. Call when the request ends, however it ends; safe to repeat."""
        if self._holds_place:
            self._holds_place = False
            self.breaker.release_retry()

    def _decide(self, covered: bool, random: Random) -> RetryAfter | GiveUp:
        # Envoy's order: the place of the try that just ended is free before room is asked for the next one.
        self.close()
        if not covered:
            return NOT_RETRIABLE
        policy, breaker = self.rules.policy, self.breaker
        if self.retries >= policy.retries_max:
            return RETRY_LIMIT_EXCEEDED
        budget = policy.budget
        limit = None if budget is None else budget.limit(breaker.requests + breaker.pending_requests)
        if not breaker.admit_retry(limit):
            return RETRY_OVERFLOW
        self._holds_place = True
        self.retries += 1
        return RetryAfter(self._next_delay_s(random))

    def _next_delay_s(self, random: Random) -> float:
        """Draw from [0, interval) and double the interval, up to the policy's longest.

        Source: Envoy source/common/common/backoff_strategy.cc JitteredExponentialBackOffStrategy; its documentation differs.
        """
        policy = self.rules.policy
        interval_s = self._interval_s or policy.backoff_base_s
        self._interval_s = min(2.0 * interval_s, max(policy.backoff_s_max, policy.backoff_base_s))
        return random.random() * interval_s
