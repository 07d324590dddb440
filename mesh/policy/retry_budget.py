"""Retry budgets: how much load retries may add to a cluster. Pure: time is an argument.

Two kinds. Envoy's bounds the retries at once, as a share of what is active: `RetryBudget.limit`, counted by the cluster's
breaker. The other bounds their rate, as a share of the requests of the last seconds: `RateBudget`, one for each cluster
and policy. Source: Envoy `config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`; Finagle's RetryBudget, tower's
TpsBudget, which Linkerd's ServiceProfile configures.
"""

import attrs


@attrs.frozen(kw_only=True)
class RetryBudget:
    """How much load retries may add. Envoy's retry_budget, or with `rate_per_s_min` tower's (Linkerd's ServiceProfile).

    Envoy's bounds the retries at once: `percent` of the active requests, but at least `concurrency_min`. The other bounds
    their rate: `percent` of the requests of the last seconds, and `rate_per_s_min` a second besides.
    """

    percent: float = attrs.field(default=20.0, converter=float)
    concurrency_min: int = 3
    rate_per_s_min: float | None = attrs.field(default=None, converter=attrs.converters.optional(float))

    def limit(self, active: int) -> int:
        """Return the most retries at once while `active` requests are in flight or pending.

        Source: Envoy RetryBudgetImpl::max, which cuts the fraction off.
        """
        share = int(self.percent / 100.0 * active)
        return share if share > self.concurrency_min else self.concurrency_min


_SLOTS = 10
# Amounts are whole numbers, so that a balance is exact however long it is kept.
_RETRY_COST = 100_000


class RateBudget:
    """What the requests of the last `ttl_s` paid in, and retries took out.

    A request pays `percent` of a retry; a retry costs one. Deposits and withdrawals are forgotten in slots of a tenth of
    `ttl_s`, each when it is at least `ttl_s` old. A reserve of `rate_per_s_min` x `ttl_s` retries is always there besides.
    """

    __slots__ = ("_amounts", "_balance", "_deposit", "_slot", "_slots_per_s")

    def __init__(self, percent: float, rate_per_s_min: float, ttl_s: float = 10.0) -> None:
        self._deposit = int(percent * (_RETRY_COST // 100))
        self._balance = int(rate_per_s_min * ttl_s * _RETRY_COST)
        self._slots_per_s = _SLOTS / ttl_s
        self._slot = 0
        # The slot being filled, and those of the last `ttl_s`.
        self._amounts = [0] * (_SLOTS + 1)

    def deposit(self, now: float) -> None:
        """Pay in for a request; not for its retries."""
        self._add(self._deposit, now)

    def withdraw(self, now: float) -> bool:
        """Pay for one retry. False: there is not enough."""
        self._forget(int(now * self._slots_per_s))
        if self._balance < _RETRY_COST:
            return False
        self._add(-_RETRY_COST, now)
        return True

    def _add(self, amount: int, now: float) -> None:
        slot = int(now * self._slots_per_s)
        if slot > self._slot:
            self._forget(slot)
        self._balance += amount
        self._amounts[self._slot % (_SLOTS + 1)] += amount

    def _forget(self, slot: int) -> None:
        """Make `slot` the one to fill: what stood in those that it pushes out counts no more."""
        amounts = self._amounts
        for passed in range(self._slot + 1, min(slot, self._slot + len(amounts)) + 1):
            turn = passed % len(amounts)
            self._balance -= amounts[turn]
            amounts[turn] = 0
        if slot > self._slot:
            self._slot = slot
