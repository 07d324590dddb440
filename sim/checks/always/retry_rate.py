"""`retry-rate`: under a budget by rate, the retries of ten seconds stay within their share of the requests (S4).

A budget of `percent` and `rate_per_s_min` gives each request's share for ten seconds and, in a slot's tenth, a little longer;
besides, `rate_per_s_min` a second is always there. So of the retries whose requests began and ended within ten seconds, no
more may be there than those shares of the last twenty-one seconds, plus that reserve.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from mesh.policy.retry_budget import RetryBudget
from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_SPAN_S = 10.0
_PAID_IN_S = 21.0


@attrs.define(eq=False)
class _Account:
    """Of one proxy and cluster: looks as (moment, requests that ended since the look before, their retries)."""

    budget: RetryBudget
    looks: deque[tuple[float, int, int]] = attrs.field(factory=deque)


class RetryRate(Watcher):
    """See the module's text."""

    name: ClassVar = "retry-rate"
    about: ClassVar = "retries under a budget by rate stay within it"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._accounts: dict[tuple[str, str], _Account] = {}

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        budgets = self._budgets()
        if not budgets:
            self._accounts.clear()
            return
        requests = dict.fromkeys(budgets, 0)
        retries = dict.fromkeys(budgets, 0)
        for one in seen:
            key = one.member, one.record.cluster
            if key in requests and one.record.method:
                requests[key] += 1
                retries[key] += max(one.record.tries - 1, 0)
        for key, budget in budgets.items():
            self._judge(key, budget, (now_s, requests[key], retries[key]))

    def _budgets(self) -> dict[tuple[str, str], RetryBudget]:
        """Return the budgets by rate of clusters that have one policy, by proxy and cluster."""
        found = {}
        for view in self.proxies:
            plan = self.mesh.inspection.plans.steady(view.member)
            for cluster, policies in () if plan is None else plan.retry_policies.items():
                budget = policies[0].budget
                if len(policies) == 1 and budget is not None and budget.rate_per_s_min is not None:
                    found[view.member, cluster] = budget
        return found

    def _judge(self, key: tuple[str, str], budget: RetryBudget, look: tuple[float, int, int]) -> None:
        account = self._accounts.get(key)
        if account is None or account.budget != budget:
            account = self._accounts[key] = _Account(budget)
        looks = account.looks
        looks.append(look)
        while looks[0][0] < look[0] - _PAID_IN_S:
            looks.popleft()
        self.judged += 1
        assert budget.rate_per_s_min is not None
        retries = sum(count for at_s, _, count in looks if at_s > look[0] - _SPAN_S)
        in_flight = self._in_flight(key)
        paid = (sum(count for _, count, _ in looks) + in_flight) * budget.percent / 100.0
        allowed = paid + budget.rate_per_s_min * _PAID_IN_S
        if retries > allowed + 1.0:
            self.note(
                f"{key[0]}: {retries} retries to {key[1]} in {_SPAN_S:g} s, and {allowed:.0f} were allowed", look[0]
            )

    def _in_flight(self, key: tuple[str, str]) -> int:
        """Return how many more requests may have paid in, that have not ended yet."""
        return next((view.in_flight for view in self.proxies if view.member == key[0]), 0)
