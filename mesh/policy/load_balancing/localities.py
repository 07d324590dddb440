"""Localities: endpoints of one priority share its traffic by the weights of the places that they are in.

Pure. Source: Envoy LocalityWrr::effectiveLocalityWeight, docs "Locality weighted load balancing".
"""

from collections.abc import Sequence
from typing import Generic

import attrs

from mesh.model.randomness import Random
from mesh.policy.load_balancing.host import HostT
from mesh.policy.load_balancing.making import KeptBalancer, keep_or_make
from mesh.policy.load_balancing.strategy import LoadBalancing
from mesh.policy.load_balancing.turns import EarliestDeadlineFirst


@attrs.frozen
class Locality(Generic[HostT]):
    """One place: its weight, how many hosts are there, and those of them that are usable."""

    name: str
    weight: int
    total: int
    usable: tuple[HostT, ...]


def split_by_locality(hosts: Sequence[HostT], usable: Sequence[HostT]) -> tuple[Locality[HostT], ...]:
    """Return the localities of `hosts`, sorted by name; none where no host has a weight for its locality.

    The weight of a locality is that of its first host: configuration gives all of them the same. `usable`: those of `hosts`
    that are, in the same order.
    """
    if not any(host.locality_weight for host in hosts):
        return ()
    by_name: dict[str, list[HostT]] = {}
    for host in hosts:
        by_name.setdefault(host.locality, []).append(host)
    usable_by_name: dict[str, list[HostT]] = {name: [] for name in by_name}
    for host in usable:
        usable_by_name[host.locality].append(host)
    return tuple(
        Locality(name, members[0].locality_weight, len(members), tuple(usable_by_name[name]))
        for name, members in sorted(by_name.items())
    )


def effective_weights(localities: Sequence[Locality[HostT]], overprovisioning_percent: float) -> dict[str, float]:
    """Return the weight of each locality that gets anything: less than its own only when too few hosts are usable."""
    weights = {
        locality.name: locality.weight
        * min(100.0, overprovisioning_percent * len(locality.usable) / locality.total)
        / 100.0
        for locality in localities
    }
    return {name: weight for name, weight in weights.items() if weight > 0.0}


class LocalityTurns(Generic[HostT]):
    """Weighted turns over localities, each with a balancer of its own over its usable hosts."""

    __slots__ = ("_balancers", "_kept", "_turns", "_weights")

    def __init__(
        self,
        config: LoadBalancing,
        localities: Sequence[Locality[HostT]],
        random: Random,
        previous: "LocalityTurns[HostT] | None",
        *,
        now: float,
    ) -> None:
        self._weights = effective_weights(localities, config.overprovisioning_percent)
        assert self._weights, "no locality gets anything: balance over the hosts themselves"
        kept = {} if previous is None else previous._kept
        self._kept: dict[str, KeptBalancer[HostT]] = {
            locality.name: keep_or_make(config, locality.usable, random, kept.get(locality.name), now=now)
            for locality in localities
            if locality.name in self._weights
        }
        self._balancers = {name: kept.balancer for name, kept in self._kept.items()}
        if previous is not None and previous._weights == self._weights:
            self._turns: EarliestDeadlineFirst[str] = previous._turns
        else:
            self._turns = EarliestDeadlineFirst(tuple(self._weights), self._weights.__getitem__, random)

    def pick(self, now: float, /) -> HostT:
        """Return the host whose turn it is in the locality whose turn it is."""
        return self._balancers[self._turns.pick(now)].pick(now)
