"""Levels: the endpoints of one priority, ready to be picked from.

What a level picks with is made at its first pick: a priority that gets no traffic costs nothing, several changes in a row
cost one, and what was made before goes on where nothing has changed.
"""

from collections.abc import Sequence
from typing import Generic

from mesh.model.randomness import Random
from mesh.policy.load_balancing.hashed_weights import HashedWeights, weigh_hosts, weigh_localities
from mesh.policy.load_balancing.host import HostT, LoadBalancer
from mesh.policy.load_balancing.localities import LocalityTurns, effective_weights, split_by_locality
from mesh.policy.load_balancing.maglev import MaglevTable
from mesh.policy.load_balancing.making import KeptBalancer, keep_or_make
from mesh.policy.load_balancing.ring_hash import HashRing
from mesh.policy.load_balancing.strategy import Balancer, LoadBalancing


class Level(Generic[HostT]):
    """The endpoints of one priority: all of them in panic, else the `usable` ones, which are in the same order."""

    __slots__ = ("_hosts", "_localities", "panicking")

    def __init__(self, hosts: Sequence[HostT], usable: Sequence[HostT], *, panicking: bool) -> None:
        self.panicking = panicking
        self._hosts = tuple(hosts if panicking else usable)
        self._localities = split_by_locality(hosts, self._hosts)


class BalancedLevel(Level[HostT]):
    """A level whose balancer looks at its hosts alone."""

    __slots__ = ("_config", "_kept", "_random", "_turns", "balancer")

    def __init__(
        self,
        config: LoadBalancing,
        hosts: Sequence[HostT],
        usable: Sequence[HostT],
        random: Random,
        *,
        panicking: bool,
        previous: "BalancedLevel[HostT] | None",
    ) -> None:
        super().__init__(hosts, usable, panicking=panicking)
        self._config = config
        self._random = random
        self.balancer: LoadBalancer[HostT] | None = None  # not made yet, or there is no host
        # What was made last, at this level or before it.
        self._kept: KeptBalancer[HostT] | None = None if previous is None else previous._kept
        self._turns: LocalityTurns[HostT] | None = None if previous is None else previous._turns

    def pick(self, now: float, request_hash: int, attempt: int) -> HostT | None:
        """Return a host; None: there is none."""
        balancer = self.balancer
        if balancer is None:
            if not self._hosts:
                return None
            balancer = self.balancer = self._make(now)
        return balancer.pick(now)

    def _make(self, now: float) -> LoadBalancer[HostT]:
        # In panic localities do not count, as in Envoy; on rings and tables they do.
        if not self.panicking and effective_weights(self._localities, self._config.overprovisioning_percent):
            self._turns = LocalityTurns(self._config, self._localities, self._random, self._turns, now=now)
            self._kept = None
            return self._turns
        self._kept = keep_or_make(self._config, self._hosts, self._random, self._kept, now=now)
        self._turns = None
        return self._kept.balancer


class HashedLevel(Level[HostT]):
    """A level whose hosts own parts of a ring or table."""

    __slots__ = ("_config", "_owners", "_table", "_weights")

    def __init__(
        self,
        config: LoadBalancing,
        hosts: Sequence[HostT],
        usable: Sequence[HostT],
        *,
        panicking: bool,
        previous: "HashedLevel[HostT] | None",
    ) -> None:
        super().__init__(hosts, usable, panicking=panicking)
        self._config = config
        self._owners: Sequence[HostT] | None = None  # whom the table's indexes mean; None: not made yet
        # What was made last, at this level or before it.
        self._weights: HashedWeights | None = None if previous is None else previous._weights
        self._table: HashRing | MaglevTable | None = None if previous is None else previous._table

    def pick(self, now: float, request_hash: int, attempt: int) -> HostT | None:
        """Return the host that `request_hash` belongs to; None: there is none."""
        if len(self._hosts) < 2:
            return self._hosts[0] if self._hosts else None
        owners = self._owners
        if owners is None:
            owners = self._owners = self._make()
        assert self._table is not None, "made with the owners"
        return owners[self._table.find(request_hash, attempt)]

    def _make(self) -> Sequence[HostT]:
        owners, weights = weigh_localities(self._localities) if self._localities else weigh_hosts(self._hosts)
        if not owners:  # All that is usable is in localities of no weight.
            owners, weights = weigh_hosts(self._hosts)
        if weights != self._weights:
            self._weights, self._table = weights, _make_table(self._config, weights)
        return owners


def _make_table(config: LoadBalancing, weights: HashedWeights) -> HashRing | MaglevTable:
    if config.balancer is Balancer.MAGLEV:
        return MaglevTable(weights.labels, weights.weights, config.table_size)
    return HashRing(config, weights.labels, weights.weights)
