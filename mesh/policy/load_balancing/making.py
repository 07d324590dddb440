"""Making balancers: which one fits a cluster's configuration and hosts, and when the one there was may go on."""

from collections.abc import Sequence
from typing import Generic

import attrs

from mesh.model.randomness import Random
from mesh.policy.load_balancing.balancers import LeastLatency, LeastRequest, RandomBalancer, RoundRobin
from mesh.policy.load_balancing.host import HostT, LoadBalancer
from mesh.policy.load_balancing.slow_start import SlowStartTurns, slow_start_end
from mesh.policy.load_balancing.strategy import Balancer, LoadBalancing
from mesh.policy.load_balancing.turns import EarliestDeadlineFirst, turn_weight

_WITH_SLOW_START = (Balancer.ROUND_ROBIN, Balancer.LEAST_REQUEST)


def make_balancer(
    config: LoadBalancing, hosts: Sequence[HostT], random: Random, *, now: float = 0.0
) -> LoadBalancer[HostT]:
    """Return a balancer over `hosts`, of which there is at least one. Not for those that hash."""
    assert hosts, "no host to balance over: answer 503, flag UH"
    if len(hosts) == 1:
        return RoundRobin(hosts, random)  # Nothing to choose, so nothing to draw.
    slow_start = config.slow_start if config.balancer in _WITH_SLOW_START else None
    if slow_start is not None and now < slow_start_end(slow_start, hosts):
        return SlowStartTurns(
            slow_start,
            hosts,
            turn_weight(config),
            random,
            now=now,
            settle=lambda: make_balancer(attrs.evolve(config, slow_start=None), hosts, random),
        )
    if config.balancer is Balancer.RANDOM:
        return RandomBalancer(hosts, random)  # Weights do not count, as in Envoy.
    if config.balancer is Balancer.PEAK_EWMA:
        return LeastLatency(hosts, random)
    if not all(host.weight == hosts[0].weight for host in hosts):
        return EarliestDeadlineFirst(hosts, turn_weight(config), random)
    if config.balancer is Balancer.ROUND_ROBIN:
        return RoundRobin(hosts, random)
    return LeastRequest(hosts, random, choice_count=config.choice_count)


@attrs.frozen
class KeptBalancer(Generic[HostT]):
    """A balancer and what it was made for: as long as that stays, its turns go on."""

    hosts: tuple[HostT, ...]
    # (weight, healthy since) of each host; hosts themselves change in place.
    made_for: tuple[tuple[int, float], ...]
    balancer: LoadBalancer[HostT]


def keep_or_make(
    config: LoadBalancing, hosts: tuple[HostT, ...], random: Random, kept: KeptBalancer[HostT] | None, *, now: float
) -> KeptBalancer[HostT]:
    """Return what balances over `hosts`, of the same configuration as `kept`: that itself while nothing has changed."""
    made_for = tuple((host.weight, host.healthy_since) for host in hosts)
    if kept is not None and kept.hosts == hosts and kept.made_for == made_for:
        return kept
    balancer = make_balancer(config, hosts, random, now=now)
    if kept is not None and isinstance(balancer, RoundRobin) and isinstance(kept.balancer, RoundRobin):
        balancer.go_on_from(kept.balancer)
    return KeptBalancer(hosts, made_for, balancer)
