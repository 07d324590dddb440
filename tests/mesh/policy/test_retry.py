"""Retries: conditions, order of the decision, back-off, and a budget that no interleaving exceeds."""

import random
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh.policy.circuit_breaking import CircuitBreaker, CircuitBreakingLimits
from mesh.policy.failure import FailureKind
from mesh.policy.retry import (
    NOT_RETRIABLE,
    RETRY_LIMIT_EXCEEDED,
    RETRY_OVERFLOW,
    RetryAfter,
    RetryBudget,
    RetryOn,
    RetryPolicy,
    RetryRules,
    RetryState,
)

RANDOM = random.Random(1)
FAILURES_OF_A_TRY = sorted(set(FailureKind) - {FailureKind.OVERFLOW, FailureKind.REQUEST_TIMEOUT}, key=str)


class HighestDraw(random.Random):
    """Draws what lies just below the upper end."""

    def random(self) -> float:
        return 1.0 - 2.0**-53


def rules_of(*conditions: RetryOn, **fields: Any) -> RetryRules:
    return RetryRules(RetryPolicy(conditions=conditions, **{"retries_max": 1, **fields}), request_timeout_s=15.0)


def state_of(*conditions: RetryOn, method: str = "GET", **fields: Any) -> RetryState:
    return RetryState(rules_of(*conditions, **fields), CircuitBreaker(), method)


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
        ((RetryOn.RESET, RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM), 503, False),
    ],
)
def test_conditions_on_responses(conditions: tuple[RetryOn, ...], status: int, retried: bool) -> None:
    state = state_of(*conditions)
    assert (status in state.rules.statuses) is retried
    assert isinstance(state.after_response(status, random=RANDOM), RetryAfter) is retried


def test_status_codes_need_no_condition() -> None:
    state = state_of(status_codes=(418,))
    assert state.rules.enabled
    assert isinstance(state.after_response(418, random=RANDOM), RetryAfter)
    assert state.after_response(503, random=RANDOM) is NOT_RETRIABLE


@pytest.mark.parametrize(
    ("conditions", "status", "retried"),
    [
        ((RetryOn.SERVER_ERROR,), 503, False),  # rate-limited is never retried without the condition that names it
        ((RetryOn.ENVOY_RATELIMITED,), 429, True),
        ((RetryOn.ENVOY_RATELIMITED,), 200, True),  # gRPC says it in a 200
    ],
)
def test_rate_limited_responses(conditions: tuple[RetryOn, ...], status: int, retried: bool) -> None:
    decision = state_of(*conditions).after_response(status, rate_limited=True, random=RANDOM)
    assert isinstance(decision, RetryAfter) is retried


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
        RetryOn.RETRIABLE_4XX: False,
        RetryOn.ENVOY_RATELIMITED: False,
    }[condition]
    decision = state_of(condition).after_failure(kind, request_sent=sent, random=RANDOM)
    assert isinstance(decision, RetryAfter) is covered


@pytest.mark.parametrize("kind", [FailureKind.OVERFLOW, FailureKind.REQUEST_TIMEOUT])
@pytest.mark.parametrize("sent", [False, True])
def test_local_overflow_and_the_requests_timeout_are_never_retried(kind: FailureKind, sent: bool) -> None:
    # Planted once and found: the set of all failures without taking OVERFLOW out.
    state = state_of(*RetryOn)
    assert state.after_failure(kind, request_sent=sent, random=RANDOM) is NOT_RETRIABLE
    assert state.breaker.retries == 0


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
    state = state_of(RetryOn.SERVER_ERROR, method=method, methods=("GET", "HEAD"), unsent_any_method=unsent_any_method)
    assert isinstance(state.after_failure(kind, request_sent=sent, random=RANDOM), RetryAfter) is retried


def test_response_to_another_method_is_not_retried() -> None:
    state = state_of(RetryOn.SERVER_ERROR, method="POST", methods=("GET",), unsent_any_method=True)
    assert state.after_response(503, random=RANDOM) is NOT_RETRIABLE


def test_limit_is_looked_at_before_the_budget() -> None:
    state = state_of(RetryOn.SERVER_ERROR, retries_max=0, budget=RetryBudget(percent=0, concurrency_min=0))
    assert state.after_response(503, random=RANDOM) is RETRY_LIMIT_EXCEEDED
    assert state.breaker.retry_overflows == 0
    state = state_of(RetryOn.SERVER_ERROR, retries_max=1, budget=RetryBudget(percent=0, concurrency_min=0))
    assert state.after_response(503, random=RANDOM) is RETRY_OVERFLOW
    assert state.breaker.retry_overflows == 1


def test_default_policy_retries_nothing_and_names_no_limit() -> None:
    rules = RetryRules(RetryPolicy(), request_timeout_s=15.0)
    assert not rules.enabled
    assert RetryState(rules, CircuitBreaker(), "GET").after_response(503, random=RANDOM) is NOT_RETRIABLE


def test_place_is_held_through_backoff_and_the_retry_until_its_outcome() -> None:
    state = state_of(RetryOn.SERVER_ERROR, retries_max=2)
    breaker = state.breaker
    assert isinstance(state.after_response(503, random=RANDOM), RetryAfter)
    assert breaker.retries == 1
    assert isinstance(state.after_response(503, random=RANDOM), RetryAfter)
    assert breaker.retries == 1
    assert state.after_response(503, random=RANDOM) is RETRY_LIMIT_EXCEEDED
    assert breaker.retries == 0
    assert state.retries == 2
    state.close()
    state.close()
    assert breaker.retries == 0


def test_request_that_ends_in_backoff_gives_its_place_back() -> None:
    # Planted once and found: `close` that only forgets the place.
    state = state_of(RetryOn.SERVER_ERROR)
    state.after_response(503, random=RANDOM)
    state.close()
    assert state.breaker.retries == 0


def test_retry_of_one_request_frees_its_own_place_for_its_next() -> None:
    state = state_of(RetryOn.SERVER_ERROR, retries_max=3, budget=None)
    state.breaker.replace_limits(CircuitBreakingLimits(retries_max=1))
    assert [type(state.after_response(503, random=RANDOM)) for _ in range(3)] == [RetryAfter] * 3


@pytest.mark.parametrize(
    ("base_s", "longest_s", "bounds_s"),
    [
        (0.025, 0.25, [0.025, 0.05, 0.1, 0.2, 0.25, 0.25]),  # Envoy's defaults
        (0.1, 0.3, [0.1, 0.2, 0.3, 0.3, 0.3, 0.3]),
        (1.0, 0.5, [1.0] * 6),
    ],
)
def test_backoff_doubles_up_to_the_longest_and_is_fully_jittered(
    base_s: float, longest_s: float, bounds_s: list[float]
) -> None:
    def delays_s(generator: random.Random) -> list[float]:
        state = state_of(RetryOn.SERVER_ERROR, retries_max=6, backoff_base_s=base_s, backoff_s_max=longest_s)
        decisions = [state.after_response(503, random=generator) for _ in range(6)]
        return [decision.delay_s for decision in decisions if isinstance(decision, RetryAfter)]

    highest = delays_s(HighestDraw())
    assert highest == pytest.approx(bounds_s, abs=1e-12)
    assert all(delay < bound for delay, bound in zip(highest, bounds_s, strict=True))
    drawn = [delays_s(random.Random(seed)) for seed in range(200)]
    for index, bound in enumerate(bounds_s):
        column = [delays[index] for delays in drawn]
        assert 0.0 <= min(column) < 0.05 * bound
        assert sum(column) / len(column) == pytest.approx(bound / 2, rel=0.2)


@pytest.mark.parametrize(
    ("percent", "concurrency_min", "active", "limit"),
    [
        (20.0, 3, 0, 3),
        (20.0, 3, 15, 3),
        (20.0, 3, 19, 3),
        (20.0, 3, 20, 4),
        (20.0, 2, 20, 4),
        (100.0, 0, 7, 7),
        (0.0, 0, 9, 0),
    ],
)
def test_budget_is_a_share_of_what_is_active_but_at_least_its_minimum(
    percent: float, concurrency_min: int, active: int, limit: int
) -> None:
    assert RetryBudget(percent=percent, concurrency_min=concurrency_min).limit(active) == limit


def test_budget_counts_pending_requests_too() -> None:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.admit_request()
        breaker.admit_pending()
    rules = rules_of(RetryOn.SERVER_ERROR, budget=RetryBudget(percent=20.0, concurrency_min=0))
    states = [RetryState(rules, breaker, "GET") for _ in range(3)]
    decisions = [state.after_response(503, random=RANDOM) for state in states]
    assert [isinstance(decision, RetryAfter) for decision in decisions] == [True, True, False]


def test_without_a_budget_the_breakers_limit_counts() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=1))
    with_budget = rules_of(RetryOn.SERVER_ERROR, budget=RetryBudget(percent=0.0, concurrency_min=2))
    without = rules_of(RetryOn.SERVER_ERROR, budget=None)
    assert isinstance(RetryState(without, breaker, "GET").after_response(503, random=RANDOM), RetryAfter)
    assert RetryState(without, breaker, "GET").after_response(503, random=RANDOM) is RETRY_OVERFLOW
    assert isinstance(RetryState(with_budget, breaker, "GET").after_response(503, random=RANDOM), RetryAfter)


def test_per_try_span_is_ignored_where_it_cannot_matter() -> None:
    policy = RetryPolicy(conditions=(RetryOn.SERVER_ERROR,), per_try_timeout_s=16.0)
    assert RetryRules(policy, request_timeout_s=15.0).per_try_timeout_s == 0.0
    assert RetryRules(policy, request_timeout_s=0.0).per_try_timeout_s == 16.0


@attrs.define(eq=False)
class NaiveRequest:
    state: RetryState
    in_flight: bool = True
    tries: int = 1
    holds_place: bool = False


class RetriesUnderABudget(RuleBasedStateMachine):
    """Requests that overlap in any way; the model counts places by looking at all requests.

    Planted once and found: the budget computed from `requests_max` instead of what is active; `_decide` without the
    `close` before it (a request then holds two places); admission at `<=`.
    """

    @initialize(
        percent=st.sampled_from([0, 20, 25, 50, 100]),
        concurrency_min=st.integers(0, 3),
        budgeted=st.booleans(),
        retries_max=st.integers(0, 3),
        breaker_retries_max=st.integers(0, 4),
    )
    def begin(
        self, percent: int, concurrency_min: int, budgeted: bool, retries_max: int, breaker_retries_max: int
    ) -> None:
        self.percent, self.concurrency_min, self.budgeted = percent, concurrency_min, budgeted
        self.retries_max, self.breaker_retries_max = retries_max, breaker_retries_max
        budget = RetryBudget(percent=float(percent), concurrency_min=concurrency_min) if budgeted else None
        self.retry_rules = rules_of(RetryOn.SERVER_ERROR, retries_max=retries_max, budget=budget)
        self.breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=breaker_retries_max))
        self.requests: list[NaiveRequest] = []
        self.pending = 0
        self.random = random.Random(0)

    def limit(self) -> int:
        if not self.budgeted:
            return self.breaker_retries_max
        active = sum(request.in_flight for request in self.requests) + self.pending
        return max(self.percent * active // 100, self.concurrency_min)

    @rule(count=st.integers(1, 8))
    def start_requests(self, count: int) -> None:
        for _ in range(count):
            assert self.breaker.admit_request()
            self.requests.append(NaiveRequest(RetryState(self.retry_rules, self.breaker, "GET")))

    @rule()
    def queue_a_request(self) -> None:
        assert self.breaker.admit_pending()
        self.pending += 1

    @precondition(lambda self: self.pending)
    @rule()
    def drop_a_queued_request(self) -> None:
        self.breaker.release_pending()
        self.pending -= 1

    @rule(data=st.data(), status=st.sampled_from([200, 503, 503, 503]))
    def answer(self, data: st.DataObject, status: int) -> None:
        if in_flight := [request for request in self.requests if request.in_flight]:
            self.answer_one(data.draw(st.sampled_from(in_flight)), status)

    @rule()
    def fail_everything(self) -> None:
        for request in [request for request in self.requests if request.in_flight]:
            self.answer_one(request, 503)

    def answer_one(self, request: NaiveRequest, status: int) -> None:
        request.holds_place = False
        places = sum(other.holds_place for other in self.requests)
        limit = self.limit()
        decision = request.state.after_response(status, random=self.random)
        if status == 200:
            assert decision is NOT_RETRIABLE
        elif request.tries > self.retries_max:
            assert decision is RETRY_LIMIT_EXCEEDED
        elif places >= limit:
            assert decision is RETRY_OVERFLOW
        else:
            assert isinstance(decision, RetryAfter)
            assert places + 1 <= limit
            request.holds_place = True
        self.breaker.release_request()
        request.in_flight = False
        if not request.holds_place:
            self.requests.remove(request)

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        waiting = [request for request in self.requests if not request.in_flight]
        if waiting:
            request = data.draw(st.sampled_from(waiting))
            assert self.breaker.admit_request()
            request.in_flight = True
            request.tries += 1

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.requests:
            request = data.draw(st.sampled_from(self.requests))
            if request.in_flight:
                self.breaker.release_request()
            request.state.close()
            self.requests.remove(request)

    @invariant()
    def places_are_those_of_requests_in_retry(self) -> None:
        if not hasattr(self, "requests"):
            return
        assert self.breaker.retries == sum(request.holds_place for request in self.requests)
        assert self.breaker.requests == sum(request.in_flight for request in self.requests)


TestRetriesUnderABudget = RetriesUnderABudget.TestCase
TestRetriesUnderABudget.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
