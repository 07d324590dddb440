"""Slow start: hosts that have just become healthy get their share bit by bit, for caches to fill and code to get warm.

Pure: time is an argument. Source: Envoy `common.v3.SlowStartConfig`, EdfLoadBalancerBase::applySlowStartFactor.
"""

import math
from collections.abc import Callable, Sequence
from typing import Generic

from mesh.model.randomness import Random
from mesh.policy.load_balancing.host import Host, HostT, LoadBalancer
from mesh.policy.load_balancing.strategy import SlowStart
from mesh.policy.load_balancing.turns import EarliestDeadlineFirst

_AGE_S_MIN = 0.001


def slow_start_factor(config: SlowStart, age_s: float) -> float:
    """Return the share of its weight that a host gets `age_s` after it became healthy: more than 0, at most 1."""
    if age_s >= config.window_s:
        return 1.0
    ramp = math.pow(max(age_s, _AGE_S_MIN) / config.window_s, 1.0 / config.aggression)
    return min(max(ramp, config.weight_percent_min / 100.0), 1.0)


def slow_start_end(config: SlowStart | None, hosts: Sequence[Host]) -> float:
    """Return when the last of `hosts` has its whole share; -inf: all have it always."""
    if config is None or config.window_s <= 0.0:
        return -math.inf
    return max(host.healthy_since for host in hosts) + config.window_s


class SlowStartTurns(Generic[HostT]):
    """Weighted turns until the last host's window has passed, then whatever `settle` makes: it ends by itself."""

    __slots__ = ("_config", "_ends_at", "_now", "_settle", "_settled", "_turns", "_weight")

    def __init__(
        self,
        config: SlowStart,
        hosts: Sequence[HostT],
        weight: Callable[[Host], float],
        random: Random,
        *,
        now: float,
        settle: Callable[[], LoadBalancer[HostT]],
    ) -> None:
        self._config = config
        self._ends_at = slow_start_end(config, hosts)
        self._now = now
        self._weight = weight
        self._settle = settle
        self._settled: LoadBalancer[HostT] | None = None
        self._turns = EarliestDeadlineFirst(hosts, self._weight_now, random)

    def pick(self, now: float, /) -> HostT:
        """Return the host that is due."""
        if self._settled is not None:
            return self._settled.pick(now)
        if now >= self._ends_at:
            self._settled = self._settle()
            return self._settled.pick(now)
        self._now = now
        return self._turns.pick(now)

    def _weight_now(self, host: HostT) -> float:
        return self._weight(host) * slow_start_factor(self._config, self._now - host.healthy_since)
