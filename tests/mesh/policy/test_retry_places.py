"""The places of retries in a cluster: no interleaving of requests exceeds a budget, and each place is given back once."""

import random
from collections.abc import Callable

import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
from tests.mesh.policy.heads import request, response

RANDOM = random.Random(1)


def rules_of(*, retries_max: int = 1, budget: RetryBudget | None = None) -> RetryRules:
    policy = RetryPolicy(conditions=(RetryOn.SERVER_ERROR,), retries_max=retries_max, budget=budget)
    return RetryRules(policy, request_timeout_s=15.0)


def begin(rules: RetryRules, breaker: CircuitBreaker) -> RetryState:
    return RetryState(rules, breaker, "GET", request())


def answer(state: RetryState, status: int = 503) -> RetryAfter | GiveUp:
    return state.after_response(response(status), now=0.0, wall_clock_s=0.0, random=RANDOM)


def test_place_is_held_through_backoff_and_the_retry_until_its_outcome() -> None:
    breaker = CircuitBreaker()
    state = begin(rules_of(retries_max=2), breaker)
    assert isinstance(answer(state), RetryAfter)
    assert breaker.retries == 1
    assert isinstance(answer(state), RetryAfter)
    assert breaker.retries == 1
    assert answer(state) is RETRY_LIMIT_EXCEEDED
    assert breaker.retries == 0
    assert state.retries == 2
    state.close()
    state.close()
    assert breaker.retries == 0


def test_request_that_ends_in_backoff_gives_its_place_back() -> None:
    breaker = CircuitBreaker()
    state = begin(rules_of(), breaker)
    answer(state)
    state.close()
    assert breaker.retries == 0


def test_retry_of_one_request_frees_its_own_place_for_its_next() -> None:
    state = begin(rules_of(retries_max=3), CircuitBreaker(CircuitBreakingLimits(retries_max=1)))
    assert [type(answer(state)) for _ in range(3)] == [RetryAfter] * 3


def test_budget_counts_pending_requests_too() -> None:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.admit_request()
        breaker.admit_pending()
    rules = rules_of(budget=RetryBudget(percent=20.0, concurrency_min=0))
    decisions = [answer(begin(rules, breaker)) for _ in range(3)]
    assert [isinstance(decision, RetryAfter) for decision in decisions] == [True, True, False]


@attrs.define(eq=False)
class NaiveRequest:
    state: RetryState
    in_flight: bool = True
    tries: int = 1
    holds_place: bool = False


class RetriesUnderABudget(RuleBasedStateMachine):
    """Requests that overlap in any way; the model counts places by looking at all requests, and seconds one by one."""

    @initialize(
        kind=st.sampled_from(["breaker", "concurrency", "rate"]),
        percent=st.sampled_from([0, 20, 25, 50, 100]),
        concurrency_min=st.integers(0, 3),
        reserve=st.integers(0, 3),
        retries_max=st.integers(0, 3),
        breaker_retries_max=st.integers(0, 4),
    )
    def begin(
        self, kind: str, percent: int, concurrency_min: int, reserve: int, retries_max: int, breaker_retries_max: int
    ) -> None:
        self.kind, self.percent, self.concurrency_min, self.reserve = kind, percent, concurrency_min, reserve
        self.retries_max, self.breaker_retries_max = retries_max, breaker_retries_max
        budget: RetryBudget | None = None
        if kind != "breaker":
            rate = reserve / 10.0 if kind == "rate" else None
            budget = RetryBudget(percent=float(percent), concurrency_min=concurrency_min, rate_per_s_min=rate)
        self.retry_rules = rules_of(retries_max=retries_max, budget=budget)
        self.breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=breaker_retries_max))
        self.requests: list[NaiveRequest] = []
        self.pending = 0
        self.second = 0
        self.paid_at: list[int] = []  # requests, by the second they began in
        self.spent_at: list[int] = []  # retries
        self.random = random.Random(0)

    @property
    def now(self) -> float:
        return self.second + 0.5

    def has_room(self, places: int) -> bool:
        if self.kind == "rate":
            paid = sum(second >= self.second - 10 for second in self.paid_at)
            spent = sum(second >= self.second - 10 for second in self.spent_at)
            return self.percent * paid - 100 * spent + 100 * self.reserve >= 100
        if self.kind == "breaker":
            return places < self.breaker_retries_max
        active = sum(one.in_flight for one in self.requests) + self.pending
        return places < max(self.percent * active // 100, self.concurrency_min)

    @rule(count=st.integers(1, 8))
    def start_requests(self, count: int) -> None:
        for _ in range(count):
            assert self.breaker.admit_request()
            if self.retry_rules.rate_budget is not None:
                self.retry_rules.rate_budget.deposit(self.now)
            self.paid_at.append(self.second)
            self.requests.append(NaiveRequest(begin(self.retry_rules, self.breaker)))

    @rule(seconds=st.sampled_from([1, 1, 3, 9, 10, 11, 25]))
    def let_time_pass(self, seconds: int) -> None:
        self.second += seconds

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
        if in_flight := [one for one in self.requests if one.in_flight]:
            self.answer_one(data.draw(st.sampled_from(in_flight)), status)

    @rule()
    def fail_everything(self) -> None:
        for one in [one for one in self.requests if one.in_flight]:
            self.answer_one(one, 503)

    def answer_one(self, one: NaiveRequest, status: int) -> None:
        def ask() -> RetryAfter | GiveUp:
            head = response(status)
            return one.state.after_response(head, now=self.now, wall_clock_s=0.0, random=self.random)

        self.judge(one, ask, covered=status != 200)
        self.end_try(one)

    @rule(data=st.data(), kind=st.sampled_from([FailureKind.CONNECT_FAILURE, FailureKind.OVERFLOW]))
    def fail(self, data: st.DataObject, kind: FailureKind) -> None:
        if in_flight := [one for one in self.requests if one.in_flight]:
            one = data.draw(st.sampled_from(in_flight))
            state = one.state

            def ask() -> RetryAfter | GiveUp:
                return state.after_failure(kind, request_sent=False, now=self.now, random=self.random)

            self.judge(one, ask, covered=kind is not FailureKind.OVERFLOW)
            self.end_try(one)

    @rule(data=st.data())
    def hedge(self, data: st.DataObject) -> None:
        """A span runs out and the try goes on; the hedge is sent at once."""
        if in_flight := [one for one in self.requests if one.in_flight]:
            one = data.draw(st.sampled_from(in_flight))
            state = one.state
            self.judge(one, lambda: state.after_soft_timeout(now=self.now, random=self.random), covered=True)
            one.tries += one.holds_place

    def judge(self, one: NaiveRequest, ask: Callable[[], RetryAfter | GiveUp], *, covered: bool) -> None:
        one.holds_place = False
        places = sum(other.holds_place for other in self.requests)
        room = self.has_room(places)
        granted = one.state.retries
        decision = ask()
        if not covered:
            assert decision is NOT_RETRIABLE
        elif one.tries > self.retries_max:
            assert decision is RETRY_LIMIT_EXCEEDED
        elif not room:
            assert decision is RETRY_OVERFLOW
            one.tries += 1  # as in Envoy, a refused one counts: a hedge may be asked for again
        else:
            assert isinstance(decision, RetryAfter)
            one.holds_place = True
            self.spent_at.append(self.second)
        assert one.state.retries == granted + one.holds_place <= self.retries_max

    def end_try(self, one: NaiveRequest) -> None:
        self.breaker.release_request()
        one.in_flight = False
        if not one.holds_place:
            one.state.close()
            self.requests.remove(one)

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        if waiting := [one for one in self.requests if not one.in_flight]:
            one = data.draw(st.sampled_from(waiting))
            assert self.breaker.admit_request()
            one.in_flight = True
            one.tries += 1

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.requests:
            one = data.draw(st.sampled_from(self.requests))
            if one.in_flight:
                self.breaker.release_request()
            one.state.close()
            one.state.close()
            self.requests.remove(one)

    @invariant()
    def places_are_those_of_requests_in_retry(self) -> None:
        if not hasattr(self, "requests"):
            return
        assert self.breaker.retries == sum(one.holds_place for one in self.requests)
        assert self.breaker.requests == sum(one.in_flight for one in self.requests)


TestRetriesUnderABudget = RetriesUnderABudget.TestCase
TestRetriesUnderABudget.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def close_without_release(self: RetryState) -> None:
    self._holds_place = False


def close_again_and_again(self: RetryState) -> None:
    if self.retries and self._breaker.retries:
        self._breaker.release_retry()


def grant_without_close(
    self: RetryState, delay_s: float | None, now: float, random: random.Random
) -> RetryAfter | GiveUp:
    if self._left <= 0:
        return RETRY_LIMIT_EXCEEDED
    self._left -= 1
    if not self._breaker.admit_retry(self._limit(now)):
        return RETRY_OVERFLOW
    self._holds_place = True
    self.retries += 1
    return RetryAfter(0.0)


def one_place_more(self: RetryBudget, active: int) -> int:
    return max(int(self.percent / 100.0 * active), self.concurrency_min) + 1


def withdraws_without_paying(self: RateBudget, now: float) -> bool:
    self._forget(int(now * self._slots_per_s))
    return self._balance >= 100_000


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (RetryState, "close", close_without_release),  # places leak: breaker.retries stays above those of the model
        (RetryState, "close", close_again_and_again),  # a place given back twice: another request's is gone
        (RetryState, "_grant", grant_without_close),  # one request holds two places
        (RetryBudget, "limit", one_place_more),  # RetryAfter where the model says UO
        (RateBudget, "withdraw", withdraws_without_paying),  # RetryAfter where the model says UO
    ],
)
def test_planted_bugs_are_found(
    owner: type, name: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, bug)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            RetriesUnderABudget,
            settings=settings(
                derandomize=True,
                database=None,
                max_examples=150,
                stateful_step_count=30,
                deadline=None,
                phases=[Phase.generate],
            ),
        )
