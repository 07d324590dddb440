"""Circuit breaking against a naive model that keeps a list of what is open instead of counting."""

import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mesh.policy.circuit_breaking import CircuitBreaker, CircuitBreakingLimits

RESOURCES = ("request", "pending", "connection", "retry")
LIMIT_NAMES = {
    "request": "requests_max",
    "pending": "pending_requests_max",
    "connection": "connections_max",
    "retry": "retries_max",
}
COUNT_NAMES = {
    "request": "requests",
    "pending": "pending_requests",
    "connection": "connections",
    "retry": "retries",
}
GAUGE_NAMES = {
    "request": ("rq", "rq"),
    "pending": ("rq_pending", "pending"),
    "connection": ("cx", "cx"),
    "retry": ("rq_retry", "retries"),
}


def admit(breaker: CircuitBreaker, resource: str) -> bool:
    return bool(getattr(breaker, f"admit_{resource}")())


def release(breaker: CircuitBreaker, resource: str) -> None:
    getattr(breaker, f"release_{resource}")()


@pytest.mark.parametrize("resource", RESOURCES)
def test_admits_up_to_its_limit_and_again_after_a_release(resource: str) -> None:
    limits = attrs.evolve(CircuitBreakingLimits(), **{LIMIT_NAMES[resource]: 2})
    breaker = CircuitBreaker(limits)
    assert [admit(breaker, resource) for _ in range(4)] == [True, True, False, False]
    assert getattr(breaker, f"{resource}_overflows") == 2
    release(breaker, resource)
    assert admit(breaker, resource)
    assert not admit(breaker, resource)


@pytest.mark.parametrize("resource", RESOURCES)
def test_limit_of_zero_admits_nothing(resource: str) -> None:
    """Recorded from Envoy: with max_pending_requests 0 all of 5 requests were answered 503 UO and no connection was made."""
    breaker = CircuitBreaker(attrs.evolve(CircuitBreakingLimits(), **{LIMIT_NAMES[resource]: 0}))
    assert [admit(breaker, resource) for _ in range(5)] == [False] * 5


@pytest.mark.parametrize("resource", RESOURCES)
def test_releasing_what_was_not_admitted_is_a_bug(resource: str) -> None:
    with pytest.raises(AssertionError, match="not admitted"):
        release(CircuitBreaker(), resource)


def test_a_host_may_have_its_first_connection_above_the_limit() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(connections_max=1))
    assert breaker.admit_connection(first_of_host=True)
    assert not breaker.admit_connection()
    assert breaker.admit_connection(first_of_host=True)
    assert breaker.connections == 2
    assert breaker.connection_overflows == 2  # Envoy counts the allowance as an overflow too.


def test_lowered_limit_closes_nothing_and_admits_nothing() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(requests_max=3))
    assert [breaker.admit_request() for _ in range(3)] == [True] * 3
    breaker.replace_limits(CircuitBreakingLimits(requests_max=1))
    assert breaker.requests == 3
    assert not breaker.admit_request()
    breaker.release_request()
    breaker.release_request()
    assert not breaker.admit_request()
    breaker.release_request()
    assert breaker.admit_request()


def test_budget_limit_replaces_the_breakers_own() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=0))
    assert not breaker.admit_retry()
    assert [breaker.admit_retry(2) for _ in range(3)] == [True, True, False]
    breaker = CircuitBreaker(CircuitBreakingLimits(retries_max=100))
    assert not breaker.admit_retry(0)


def test_gauges_say_what_is_exhausted_and_what_is_left() -> None:
    """With a limit of 0 a breaker is open from the start, and counts above a lowered limit leave nothing, not less."""
    limits = CircuitBreakingLimits(connections_max=2, requests_max=1, pending_requests_max=0, retries_max=3)
    breaker = CircuitBreaker(limits)
    for admitted in (breaker.admit_connection(), breaker.admit_connection(first_of_host=True), breaker.admit_retry()):
        assert admitted
    breaker.replace_limits(attrs.evolve(limits, connections_max=1))
    assert dict(breaker.gauges()) == {
        "cx_open": 1,
        "remaining_cx": 0,
        "rq_open": 0,
        "remaining_rq": 1,
        "rq_pending_open": 1,
        "remaining_pending": 0,
        "rq_retry_open": 0,
        "remaining_retries": 2,
    }


class BreakerAgainstListOfOpenThings(RuleBasedStateMachine):
    """Any order of admissions, releases and new limits; at the end of each, all is given back."""

    breaker_type = CircuitBreaker

    def __init__(self) -> None:
        super().__init__()
        self.limits = CircuitBreakingLimits(connections_max=2, pending_requests_max=2, requests_max=2, retries_max=2)
        self.breaker = self.breaker_type(self.limits)
        self.open: list[str] = []
        self.refused: list[str] = []

    @rule(resource=st.sampled_from(RESOURCES))
    def admit(self, resource: str) -> None:
        expected = self.open.count(resource) < getattr(self.limits, LIMIT_NAMES[resource])
        assert admit(self.breaker, resource) == expected
        (self.open if expected else self.refused).append(resource)

    @rule()
    def admit_first_connection_of_a_host(self) -> None:
        if self.open.count("connection") >= self.limits.connections_max:
            self.refused.append("connection")
        assert self.breaker.admit_connection(first_of_host=True)
        self.open.append("connection")

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(sorted(set(self.open))))
        release(self.breaker, resource)
        self.open.remove(resource)

    @rule(most=st.tuples(*[st.integers(0, 4)] * 4))
    def replace_limits(self, most: tuple[int, int, int, int]) -> None:
        self.limits = CircuitBreakingLimits(
            connections_max=most[0], pending_requests_max=most[1], requests_max=most[2], retries_max=most[3]
        )
        self.breaker.replace_limits(self.limits)

    @invariant()
    def counts_are_what_is_open(self) -> None:
        for resource in RESOURCES:
            assert getattr(self.breaker, COUNT_NAMES[resource]) == self.open.count(resource)
            assert getattr(self.breaker, f"{resource}_overflows") == self.refused.count(resource)

    @invariant()
    def gauges_agree_with_what_would_be_admitted(self) -> None:
        gauges = dict(self.breaker.gauges())
        for resource, name in GAUGE_NAMES.items():
            left = getattr(self.limits, LIMIT_NAMES[resource]) - self.open.count(resource)
            assert (gauges[f"{name[0]}_open"], gauges[f"remaining_{name[1]}"]) == (left <= 0, max(left, 0))

    def teardown(self) -> None:
        for resource in self.open:
            release(self.breaker, resource)
        assert [getattr(self.breaker, name) for name in COUNT_NAMES.values()] == [0, 0, 0, 0]


TestBreakerAgainstListOfOpenThings = BreakerAgainstListOfOpenThings.TestCase
TestBreakerAgainstListOfOpenThings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class _OneTooMany(CircuitBreaker):
    """Planted: `<=` instead of `<`."""

    def admit_request(self) -> bool:
        admitted = self.requests <= self.limits.requests_max
        self.requests += admitted
        self.request_overflows += not admitted
        return admitted


class _Forgetful(CircuitBreaker):
    """Planted: new limits begin with counts of 0."""

    def replace_limits(self, limits: CircuitBreakingLimits) -> None:
        super().replace_limits(limits)
        self.pending_requests = 0


class _FreeFirst(CircuitBreaker):
    """Planted: a host's first connection above the limit is not counted."""

    def admit_connection(self, *, first_of_host: bool = False) -> bool:
        over = self.connections >= self.limits.connections_max
        admitted = super().admit_connection(first_of_host=first_of_host)
        self.connections -= admitted and over
        return admitted


@pytest.mark.parametrize("planted", [_OneTooMany, _Forgetful, _FreeFirst])
def test_the_machine_finds_planted_bugs(planted: type[CircuitBreaker]) -> None:
    class Machine(BreakerAgainstListOfOpenThings):
        breaker_type = planted

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Machine,
            settings=settings(
                derandomize=True, database=None, max_examples=100, deadline=None, phases=[Phase.generate]
            ),
        )
