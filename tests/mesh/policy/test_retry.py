"""Retries: which tries are repeated, in which order a decision is made, and when nothing of a policy is in force."""

import random
from typing import Any

import pytest

from mesh.policy.back_off import RateLimitedBackOff, ResetHeader, ResetHeaderFormat
from mesh.policy.circuit_breaking import CircuitBreaker, CircuitBreakingLimits
from mesh.policy.failure import FailureKind
from mesh.policy.retry import (
    NOT_RETRIABLE,
    RETRY_LIMIT_EXCEEDED,
    RETRY_OVERFLOW,
    GiveUp,
    RetryAfter,
    RetryOn,
    RetryPolicy,
    RetryRules,
    RetryState,
)
from mesh.policy.retry_budget import RateBudget, RetryBudget
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from tests.mesh.policy.heads import Head, request, response

FAILURES_OF_A_TRY = sorted(set(FailureKind) - {FailureKind.OVERFLOW, FailureKind.REQUEST_TIMEOUT}, key=str)
GRPC_CODE_BY_CONDITION = {
    RetryOn.CANCELLED: 1,
    RetryOn.DEADLINE_EXCEEDED: 4,
    RetryOn.RESOURCE_EXHAUSTED: 8,
    RetryOn.INTERNAL: 13,
    RetryOn.UNAVAILABLE: 14,
}
NOON_S = 1_700_000_000.5


class Request:
    """One request under a policy, in a cluster of its own unless given one."""

    def __init__(
        self,
        *conditions: RetryOn,
        method: str = "GET",
        head: Head | None = None,
        breaker: CircuitBreaker | None = None,
        rate_budget: RateBudget | None = None,
        **fields: Any,
    ) -> None:
        policy = RetryPolicy(conditions=conditions, **{"retries_max": 1, **fields})
        self.rules = RetryRules(policy, request_timeout_s=15.0, rate_budget=rate_budget)
        self.breaker = breaker or CircuitBreaker()
        self.state = RetryState(self.rules, self.breaker, method, head or request())
        self.random = random.Random(1)

    def answered(self, status: int, **fields: str) -> RetryAfter | GiveUp:
        head = response(status, **fields)
        return self.state.after_response(head, now=0.0, wall_clock_s=NOON_S, random=self.random)

    def failed(self, kind: FailureKind, *, sent: bool = True) -> RetryAfter | GiveUp:
        return self.state.after_failure(kind, request_sent=sent, now=0.0, random=self.random)

    def timed_out_softly(self) -> RetryAfter | GiveUp:
        return self.state.after_soft_timeout(now=0.0, random=self.random)


@pytest.mark.parametrize(
    ("conditions", "status", "retried"),
    [
        ((), 503, False),
        ((RetryOn.SERVER_ERROR,), 500, True),
        ((RetryOn.SERVER_ERROR,), 599, True),
        ((RetryOn.SERVER_ERROR,), 404, False),
        ((RetryOn.SERVER_ERROR,), 200, False),
        ((RetryOn.GATEWAY_ERROR,), 500, False),
        ((RetryOn.GATEWAY_ERROR,), 501, False),
        ((RetryOn.GATEWAY_ERROR,), 502, True),
        ((RetryOn.GATEWAY_ERROR,), 503, True),
        ((RetryOn.GATEWAY_ERROR,), 504, True),
        ((RetryOn.RETRIABLE_4XX,), 409, True),
        ((RetryOn.RETRIABLE_4XX,), 408, False),
        ((RetryOn.RETRIABLE_STATUS_CODES,), 503, False),  # without codes
        ((RetryOn.RESET, RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM), 503, False),
        (tuple(GRPC_CODE_BY_CONDITION), 503, False),
    ],
)
def test_conditions_on_statuses(conditions: tuple[RetryOn, ...], status: int, retried: bool) -> None:
    one = Request(*conditions)
    assert (status in one.rules.statuses) is retried
    assert isinstance(one.answered(status), RetryAfter) is retried


def test_status_codes_need_no_condition() -> None:
    one = Request(status_codes=(418,))
    assert one.rules.enabled
    assert isinstance(one.answered(418), RetryAfter)
    assert one.answered(503) is NOT_RETRIABLE


@pytest.mark.parametrize(
    ("conditions", "status", "retried"),
    [
        ((RetryOn.SERVER_ERROR,), 503, False),  # rate-limited is never retried without the condition that names it
        ((RetryOn.ENVOY_RATELIMITED,), 429, True),
        ((RetryOn.ENVOY_RATELIMITED,), 200, True),  # gRPC says it in a 200
    ],
)
def test_rate_limited_responses(conditions: tuple[RetryOn, ...], status: int, retried: bool) -> None:
    assert isinstance(Request(*conditions).answered(status, x_envoy_ratelimited="true"), RetryAfter) is retried
    assert Request(RetryOn.ENVOY_RATELIMITED).answered(429) is NOT_RETRIABLE


def test_overloaded_upstream_is_retried_like_any_other() -> None:
    assert isinstance(Request(RetryOn.SERVER_ERROR).answered(503, x_envoy_overloaded="true"), RetryAfter)


@pytest.mark.parametrize("condition", GRPC_CODE_BY_CONDITION)
@pytest.mark.parametrize("code", ["0", "1", "4", "8", "13", "14", "17", "x", ""])
def test_grpc_conditions_look_at_the_status_in_the_headers(condition: RetryOn, code: str) -> None:
    decision = Request(condition).answered(200, grpc_status=code)
    assert isinstance(decision, RetryAfter) is (code == str(GRPC_CODE_BY_CONDITION[condition]))


def test_response_headers_count_under_their_condition_only() -> None:
    again = HeaderMatch(name="x-again", kind=ValueMatchKind.PRESENT)
    busy = HeaderMatch(name="x-load", kind=ValueMatchKind.PREFIX, value="high")
    one = Request(RetryOn.RETRIABLE_HEADERS, response_headers=(again, busy), retries_max=9)
    assert isinstance(one.answered(200, x_again=""), RetryAfter)
    assert isinstance(one.answered(200, x_load="high!"), RetryAfter)
    assert one.answered(200, x_load="low") is NOT_RETRIABLE
    assert Request(RetryOn.SERVER_ERROR, response_headers=(again,)).answered(200, x_again="") is NOT_RETRIABLE


@pytest.mark.parametrize(
    ("conditions", "codes", "status_min"),
    [
        ((), (), 1000),
        ((RetryOn.SERVER_ERROR,), (), 500),
        ((RetryOn.GATEWAY_ERROR, RetryOn.RETRIABLE_4XX), (), 409),
        ((RetryOn.SERVER_ERROR,), (302,), 302),
        ((RetryOn.RESET,), (), 1000),
        ((RetryOn.SERVER_ERROR, RetryOn.RETRIABLE_HEADERS), (), 0),
        ((RetryOn.ENVOY_RATELIMITED,), (), 0),
        ((RetryOn.UNAVAILABLE,), (), 0),
    ],
)
def test_no_response_below_the_least_status_is_retried(
    conditions: tuple[RetryOn, ...], codes: tuple[int, ...], status_min: int
) -> None:
    again = (HeaderMatch(name="x-again", kind=ValueMatchKind.PRESENT),)
    one = Request(*conditions, status_codes=codes, response_headers=again)
    assert one.rules.status_min == status_min
    fields = {"x_again": "1", "grpc_status": "14", "x_envoy_ratelimited": "1"}
    for status in range(200, min(status_min, 600)):
        assert not one.rules.covers_response(response(status))
        assert not one.rules.covers_response(response(status, **fields))


CONNECT = {FailureKind.CONNECT_FAILURE, FailureKind.CONNECT_TIMEOUT}


@pytest.mark.parametrize("kind", FAILURES_OF_A_TRY)
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("condition", RetryOn)
def test_conditions_on_failures(condition: RetryOn, kind: FailureKind, sent: bool) -> None:
    covered = {
        RetryOn.SERVER_ERROR: True,
        RetryOn.GATEWAY_ERROR: True,  # a reset would end as a 503
        RetryOn.RESET: True,
        RetryOn.RESET_BEFORE_REQUEST: not sent,
        RetryOn.CONNECT_FAILURE: kind in CONNECT,
        RetryOn.REFUSED_STREAM: kind is FailureKind.REFUSED_STREAM,
    }.get(condition, False)  # the others look at responses
    assert isinstance(Request(condition).failed(kind, sent=sent), RetryAfter) is covered


def test_a_request_that_was_sent_once_counts_as_sent() -> None:
    one = Request(RetryOn.RESET_BEFORE_REQUEST, RetryOn.REFUSED_STREAM, retries_max=9)
    assert isinstance(one.failed(FailureKind.CONNECT_FAILURE, sent=False), RetryAfter)
    assert isinstance(one.failed(FailureKind.REFUSED_STREAM), RetryAfter)
    assert one.failed(FailureKind.CONNECT_FAILURE, sent=False) is NOT_RETRIABLE


@pytest.mark.parametrize("kind", [FailureKind.OVERFLOW, FailureKind.REQUEST_TIMEOUT])
@pytest.mark.parametrize("sent", [False, True])
def test_local_overflow_and_the_requests_timeout_are_never_retried(kind: FailureKind, sent: bool) -> None:
    # Planted once and found: the set of all failures without taking OVERFLOW out.
    one = Request(*RetryOn)
    assert one.failed(kind, sent=sent) is NOT_RETRIABLE
    assert one.breaker.retries == 0


@pytest.mark.parametrize(
    ("method", "unsent_any_method", "kind", "sent", "retried"),
    [
        ("GET", False, FailureKind.CONNECTION_TERMINATION, True, True),
        ("POST", False, FailureKind.CONNECTION_TERMINATION, True, False),
        ("POST", False, FailureKind.CONNECT_FAILURE, False, False),  # as in Envoy: methods gate the whole policy
        ("POST", True, FailureKind.CONNECT_FAILURE, False, True),
        ("POST", True, FailureKind.CONNECTION_TERMINATION, False, True),
        ("POST", True, FailureKind.CONNECTION_TERMINATION, True, False),
        ("POST", True, FailureKind.PER_TRY_TIMEOUT, True, False),
        ("POST", True, FailureKind.REFUSED_STREAM, True, True),  # the peer promises that it did nothing
    ],
)
def test_methods_restrict(method: str, unsent_any_method: bool, kind: FailureKind, sent: bool, retried: bool) -> None:
    one = Request(
        RetryOn.SERVER_ERROR, method=method, methods=("GET", "HEAD"), unsent_any_method=unsent_any_method, retries_max=1
    )
    assert isinstance(one.failed(kind, sent=sent), RetryAfter) is retried


def test_response_to_another_method_is_not_retried() -> None:
    one = Request(RetryOn.SERVER_ERROR, method="POST", methods=("GET",), unsent_any_method=True)
    assert one.answered(503) is NOT_RETRIABLE
    assert one.timed_out_softly() is NOT_RETRIABLE


@pytest.mark.parametrize(
    ("methods", "method", "fields", "retried"),
    [
        ((), "POST", {}, False),
        ((), "POST", {"x_retry": "1"}, True),
        ((), "POST", {"x_retry": "2"}, False),
        ((), "GET", {"x_other": "yes please"}, True),
        (("GET",), "GET", {}, True),  # Kuma joins methods and headers in one list, of which one has to match
        (("GET",), "POST", {"x_retry": "1"}, True),
        (("GET",), "POST", {}, False),
    ],
)
def test_request_headers_gate_the_whole_policy(
    methods: tuple[str, ...], method: str, fields: dict[str, str], retried: bool
) -> None:
    one = Request(
        RetryOn.SERVER_ERROR,
        method=method,
        head=request(**fields),
        methods=methods,
        request_headers=(
            HeaderMatch(name="x-retry", value="1"),
            HeaderMatch(name="x-other", kind=ValueMatchKind.REGULAR_EXPRESSION, value="yes.*"),
        ),
        retries_max=9,
    )
    assert one.rules.applies_to(method, request(**fields)) is retried
    assert isinstance(one.answered(503), RetryAfter) is retried
    assert isinstance(one.failed(FailureKind.CONNECT_FAILURE, sent=False), RetryAfter) is retried
    assert isinstance(one.timed_out_softly(), RetryAfter) is retried


def test_limit_is_looked_at_before_the_budget() -> None:
    one = Request(RetryOn.SERVER_ERROR, retries_max=0, budget=RetryBudget(percent=0, concurrency_min=0))
    assert one.answered(503) is RETRY_LIMIT_EXCEEDED
    assert one.breaker.retry_overflows == 0
    one = Request(RetryOn.SERVER_ERROR, retries_max=1, budget=RetryBudget(percent=0, concurrency_min=0))
    assert one.answered(503) is RETRY_OVERFLOW
    assert one.breaker.retry_overflows == 1


def test_default_policy_retries_nothing_and_names_no_limit() -> None:
    one = Request(retries_max=0)
    assert not one.rules.enabled
    assert one.answered(503) is NOT_RETRIABLE
    assert one.timed_out_softly() is NOT_RETRIABLE


def test_a_hedge_asks_for_no_condition_but_for_retries_and_room() -> None:
    one = Request(RetryOn.RETRIABLE_4XX, retries_max=2, budget=RetryBudget(concurrency_min=1))
    assert isinstance(one.timed_out_softly(), RetryAfter)
    assert one.breaker.retries == 1
    assert isinstance(one.timed_out_softly(), RetryAfter)
    assert one.breaker.retries == 1
    assert one.timed_out_softly() is RETRY_LIMIT_EXCEEDED
    assert one.breaker.retries == 0
    full = Request(RetryOn.RESET, budget=RetryBudget(percent=0, concurrency_min=0))
    assert full.timed_out_softly() is RETRY_OVERFLOW


@pytest.mark.parametrize(
    ("spans_s", "wanted", "conditions", "counting_s", "hedges"),
    [
        ((0.1, 0.0), True, (RetryOn.RESET,), (0.1, 0.0), True),
        ((0.0, 0.1), True, (RetryOn.RESET,), (0.0, 0.1), True),
        ((0.0, 0.0), True, (RetryOn.RESET,), (0.0, 0.0), False),
        ((16.0, 0.0), True, (RetryOn.RESET,), (0.0, 0.0), False),
        ((0.1, 0.2), False, (RetryOn.RESET,), (0.1, 0.2), False),
        ((0.1, 0.2), False, (), (0.1, 0.2), False),
        ((0.1, 0.2), True, (), (0.0, 0.0), False),  # recorded: nobody is hedged and no try is ended
    ],
)
def test_only_a_span_that_counts_can_hedge(
    spans_s: tuple[float, float],
    wanted: bool,
    conditions: tuple[RetryOn, ...],
    counting_s: tuple[float, float],
    hedges: bool,
) -> None:
    policy = RetryPolicy(
        conditions=conditions,
        per_try_timeout_s=spans_s[0],
        per_try_idle_timeout_s=spans_s[1],
        hedge_on_per_try_timeout=wanted,
    )
    rules = RetryRules(policy, request_timeout_s=15.0)
    assert ((rules.per_try_timeout_s, rules.per_try_idle_timeout_s), rules.hedges) == (counting_s, hedges)


def test_per_try_span_is_ignored_where_it_cannot_matter() -> None:
    policy = RetryPolicy(conditions=(RetryOn.SERVER_ERROR,), per_try_timeout_s=16.0)
    assert RetryRules(policy, request_timeout_s=15.0).per_try_timeout_s == 0.0
    assert RetryRules(policy, request_timeout_s=0.0).per_try_timeout_s == 16.0


def test_a_response_says_how_long_to_wait_and_the_exponential_back_off_goes_on_after_it() -> None:
    back_off = RateLimitedBackOff(
        reset_headers=(ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS),), interval_s_max=5.0
    )
    one = Request(RetryOn.SERVER_ERROR, retries_max=9, rate_limited_back_off=back_off)
    decision = one.answered(503, retry_after="3")
    assert isinstance(decision, RetryAfter) and decision.rate_limited and 3.0 <= decision.delay_s < 4.5
    for fields in ({}, {"retry_after": "6"}, {"retry_after": "0"}):
        decision = one.answered(503, **fields)
        assert isinstance(decision, RetryAfter) and not decision.rate_limited and decision.delay_s < 0.1
    assert one.answered(200, retry_after="3") is NOT_RETRIABLE


def test_without_a_budget_the_breakers_limit_counts() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=1))
    bounded = RetryBudget(percent=0.0, concurrency_min=2)
    assert isinstance(Request(RetryOn.RESET, breaker=breaker, budget=None).timed_out_softly(), RetryAfter)
    assert Request(RetryOn.RESET, breaker=breaker, budget=None).timed_out_softly() is RETRY_OVERFLOW
    assert isinstance(Request(RetryOn.RESET, breaker=breaker, budget=bounded).timed_out_softly(), RetryAfter)


def test_a_rate_budget_takes_the_place_of_the_breakers_limit() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=0))
    shared = RateBudget(0.0, 0.2)  # two in ten seconds
    budget = RetryBudget(percent=0.0, rate_per_s_min=0.2)
    requests = [Request(RetryOn.SERVER_ERROR, breaker=breaker, budget=budget, rate_budget=shared) for _ in range(3)]
    decisions = [one.answered(503) for one in requests]
    assert [type(decision) for decision in decisions] == [RetryAfter, RetryAfter, GiveUp]
    assert decisions[2] is RETRY_OVERFLOW
    assert (breaker.retries, breaker.retry_overflows) == (2, 1)
    assert isinstance(Request(RetryOn.SERVER_ERROR, budget=budget).answered(503), RetryAfter)  # has its own


def test_a_refused_regular_expression_is_named_when_rules_are_made() -> None:
    bad = HeaderMatch(name="x", kind=ValueMatchKind.REGULAR_EXPRESSION, value="(")
    with pytest.raises(ValueError, match="missing"):
        Request(RetryOn.SERVER_ERROR, request_headers=(bad,))
