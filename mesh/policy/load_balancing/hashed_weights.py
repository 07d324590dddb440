"""Hashed weights: what share of a ring or table each host gets, with the weights of localities taken in.

Pure. Source: Envoy source/extensions/load_balancing_policies/common/thread_aware_lb_impl.cc `normalizeWeights`. Unlike turns over
localities, a locality's weight does not fall with the share of its hosts that are usable.
"""

from collections.abc import Sequence

import attrs

from mesh.policy.load_balancing.host import HostT
from mesh.policy.load_balancing.localities import Locality


@attrs.frozen
class HashedWeights:
    """Hosts by the labels that are hashed, in their order, and their weights, which are positive and make at most 1."""

    labels: tuple[str, ...]
    weights: tuple[float, ...]


def weigh_hosts(hosts: Sequence[HostT]) -> tuple[Sequence[HostT], HashedWeights]:
    """Return `hosts` with the weights that they have themselves."""
    return hosts, HashedWeights(tuple(host.label for host in hosts), _normalized(hosts, 1.0))


def weigh_localities(localities: Sequence[Locality[HostT]]) -> tuple[Sequence[HostT], HashedWeights]:
    """Return the usable hosts of `localities`: each locality's weight, divided by the weights of its usable hosts."""
    total = sum(locality.weight for locality in localities)
    hosts: list[HostT] = []
    weights: list[float] = []
    for locality in localities:
        if locality.weight:
            hosts += locality.usable
            weights += _normalized(locality.usable, locality.weight / total)
    return hosts, HashedWeights(tuple(host.label for host in hosts), tuple(weights))


def _normalized(hosts: Sequence[HostT], share: float) -> tuple[float, ...]:
    total = sum(host.weight for host in hosts)
    # Multiplied first, as Envoy does: how a ring's points are rounded depends on the last bit.
    return tuple(host.weight * share / total for host in hosts)
