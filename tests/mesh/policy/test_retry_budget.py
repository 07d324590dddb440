"""Budgets of retries: shares, reserves, and what is forgotten when."""

import random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mesh.policy.retry_budget import RateBudget, RetryBudget


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


def withdrawals(budget: RateBudget, now: float) -> int:
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def test_a_reserve_comes_back_when_its_withdrawals_are_forgotten() -> None:
    budget = RateBudget(20.0, 0.5)
    assert withdrawals(budget, 0.0) == 5
    assert not budget.withdraw(9.9)
    assert withdrawals(budget, 11.0) == 5


@pytest.mark.parametrize(
    ("percent", "deposits", "retries"), [(20.0, 14, 2), (20.0, 15, 3), (30.0, 10, 3), (150.0, 3, 4)]
)
def test_requests_pay_their_share_exactly(percent: float, deposits: int, retries: int) -> None:
    budget = RateBudget(percent, 0.0)
    for _ in range(deposits):
        budget.deposit(1.0)
    assert withdrawals(budget, 2.0) == retries


@pytest.mark.parametrize(
    ("paid_at", "asked_at", "left"), [(0.0, 10.9, True), (0.0, 11.0, False), (0.9, 10.9, True), (0.9, 11.0, False)]
)
def test_a_deposit_counts_for_ten_to_eleven_seconds(paid_at: float, asked_at: float, left: bool) -> None:
    budget = RateBudget(100.0, 0.0)
    budget.deposit(paid_at)
    assert budget.withdraw(asked_at) is left


def test_retries_that_outlive_their_requests_are_a_debt() -> None:
    budget = RateBudget(100.0, 0.0)
    for _ in range(3):
        budget.deposit(0.0)
    assert withdrawals(budget, 5.0) == 3
    budget.deposit(12.0)  # the requests are forgotten, the retries not yet
    assert not budget.withdraw(12.0)
    assert budget.withdraw(16.0)


def test_a_long_pause_costs_no_more_than_a_short_one() -> None:
    budget = RateBudget(100.0, 0.1)
    budget.deposit(3.0)
    assert withdrawals(budget, 1e9) == 1
    assert not budget.withdraw(1e9 - 5.0)  # a clock that steps back forgets nothing


class RateBudgetOverTime(RuleBasedStateMachine):
    """Requests and retries at any instants, against all events ever, looked through one by one."""

    @initialize(percent=st.sampled_from([0, 10, 20, 33, 100, 150]), reserve=st.integers(0, 3))
    def open(self, percent: int, reserve: int) -> None:
        self.percent, self.reserve = percent, reserve
        self.budget = RateBudget(float(percent), reserve / 10.0)
        self.now = 0.0
        self.deposits: list[float] = []
        self.retries: list[float] = []

    @rule(quarters=st.one_of(st.integers(0, 8), st.integers(30, 60)))
    def wait(self, quarters: int) -> None:
        self.now += quarters / 4.0

    @rule(count=st.integers(1, 12))
    def deposit(self, count: int) -> None:
        for _ in range(count):
            self.budget.deposit(self.now)
            self.deposits.append(self.now)

    @rule()
    def withdraw(self) -> None:
        start = self.now // 1.0 - 10.0
        paid = sum(at >= start for at in self.deposits)
        spent = sum(at >= start for at in self.retries)
        allowed = self.percent * paid + 100 * (self.reserve - spent) >= 100
        assert self.budget.withdraw(self.now) is allowed
        if allowed:
            self.retries.append(self.now)
            self.check_every_window()

    @rule()
    def withdraw_all(self) -> None:
        for _ in range(50):
            self.withdraw()

    def check_every_window(self) -> None:
        """No ten seconds hold more retries than the requests of at most eleven, and the reserve, allow."""
        spent = sum(at > self.now - 10.0 for at in self.retries)
        paid = sum(at > self.now - 11.0 for at in self.deposits)
        assert spent <= self.reserve + self.percent * paid / 100.0


TestRateBudgetOverTime = RateBudgetOverTime.TestCase
TestRateBudgetOverTime.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def never_forgets(self: RateBudget, slot: int) -> None:
    self._slot = max(self._slot, slot)


def forgets_a_slot_early(self: RateBudget, slot: int) -> None:
    amounts = self._amounts
    for passed in range(self._slot + 1, min(slot, self._slot + len(amounts)) + 1):
        turn = (passed + 1) % len(amounts)
        self._balance -= amounts[turn]
        amounts[turn] = 0
    self._slot = max(self._slot, slot)


def pays_like_tower(self: RateBudget, now: float) -> bool:
    """Tower cuts off what a retry costs: at 33 % it is three requests' share and no more, at 150 % two thirds."""
    self._forget(int(now * self._slots_per_s))
    if self._balance < 99_000:
        return False
    self._add(-99_000, now)
    return True


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("_forget", never_forgets),  # True where the model says False: old requests still pay
        ("_forget", forgets_a_slot_early),  # the other way round
        ("withdraw", pays_like_tower),  # three requests at 33 % pay for a retry
    ],
)
def test_planted_bugs_are_found(name: str, bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateBudget, name, bug)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            RateBudgetOverTime,
            settings=settings(
                derandomize=True, database=None, max_examples=150, deadline=None, phases=[Phase.generate]
            ),
        )


def test_balance_is_exact_after_a_million_events() -> None:
    budget, draws = RateBudget(20.0, 0.0), random.Random(1)
    now = 0.0
    for _ in range(100_000):
        now += draws.random() * 0.01
        if draws.random() < 0.5:
            budget.deposit(now)
        else:
            budget.withdraw(now)
    assert sum(budget._amounts) == budget._balance
