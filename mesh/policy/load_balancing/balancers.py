"""Load balancing: choose one endpoint of a cluster. Pure: chance is an argument.

Source: Envoy `config.cluster.v3.Cluster.LbPolicy`, source/common/upstream/edf_scheduler.h,
source/extensions/load_balancing_policies/{common,least_request,round_robin,random}.

A balancer is made for a fixed set of hosts and remade when membership, health or weights change, which is rare; so
`pick` costs O(1), O(log n) with unequal weights. Which hosts go in is `healthy_or_panic`'s to say.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from mesh.model.randomness import Random
from mesh.policy.load_balancing.strategy import Balancer, LoadBalancing


class Host(Protocol):
    """What a balancer looks at: requests in flight to the host, and its weight (1 or more)."""

    @property
    def active(self) -> int: ...
    @property
    def weight(self) -> int: ...


H = TypeVar("H")
HostT = TypeVar("HostT", bound=Host)
PickedT_co = TypeVar("PickedT_co", covariant=True)


class LoadBalancer(Protocol[PickedT_co]):
    """Chooses among the hosts that it was made for. It does not count the request: that is the caller's."""

    def pick(self) -> PickedT_co: ...


def make_balancer(config: LoadBalancing, hosts: Sequence[HostT], random: Random) -> LoadBalancer[HostT]:
    """Return a balancer over `hosts`, of which there is at least one."""
    assert hosts, "no host to balance over: answer 503, flag UH"
    if len(hosts) == 1:
        return RoundRobin(hosts, random)  # Nothing to choose, so nothing to draw.
    if config.balancer is Balancer.RANDOM:
        return RandomBalancer(hosts, random)  # Weights do not count, as in Envoy.
    equal = all(host.weight == hosts[0].weight for host in hosts)
    if config.balancer is Balancer.ROUND_ROBIN:
        return RoundRobin(hosts, random) if equal else EarliestDeadlineFirst(hosts, _static_weight, random)
    if equal:
        return LeastRequest(hosts, random, choice_count=config.choice_count)
    return EarliestDeadlineFirst(hosts, _least_request_weight(config.active_request_bias), random)


class RoundRobin(Generic[H]):
    """One after the other, from a random start, so that many proxies do not begin with the same host."""

    __slots__ = ("_hosts", "_next")

    def __init__(self, hosts: Sequence[H], random: Random) -> None:
        self._hosts = tuple(hosts)
        self._next = random.randrange(len(hosts)) if len(hosts) > 1 else 0

    def pick(self) -> H:
        """Return the next host."""
        index = self._next
        host = self._hosts[index]
        index += 1
        self._next = index if index < len(self._hosts) else 0
        return host


class RandomBalancer(Generic[H]):
    """Each host with the same chance."""

    __slots__ = ("_count", "_draw", "_hosts")

    def __init__(self, hosts: Sequence[H], random: Random) -> None:
        self._hosts = tuple(hosts)
        self._count = len(hosts)
        self._draw = random.random

    def pick(self) -> H:
        """Return a random host."""
        return self._hosts[int(self._draw() * self._count)]


class LeastRequest(Generic[HostT]):
    """The least busy of `choice_count` hosts drawn at random; the same host may be drawn twice, the first drawn wins a tie.

    Source: Mitzenmacher 2001, "The power of two choices"; Envoy unweightedHostPickNChoices.
    """

    __slots__ = ("_count", "_draw", "_hosts", "_more")

    def __init__(self, hosts: Sequence[HostT], random: Random, *, choice_count: int = 2) -> None:
        self._hosts = tuple(hosts)
        self._count = len(hosts)
        self._draw = random.random
        self._more = range(max(choice_count, 2) - 2)  # Envoy refuses fewer than two.

    def pick(self) -> HostT:
        """Return the chosen host."""
        hosts, count, draw = self._hosts, self._count, self._draw
        best = hosts[int(draw() * count)]
        other = hosts[int(draw() * count)]
        if other.active < best.active:
            best = other
        for _ in self._more:
            other = hosts[int(draw() * count)]
            if other.active < best.active:
                best = other
        return best


class EarliestDeadlineFirst(Generic[H]):
    """Weighted turns: a host of weight w is due every 1/w of virtual time; the one due first is picked, ties in order of entry.

    The weight is read again at each pick. Virtual time is the deadline of the last pick; it starts at a random instant,
    as if picks had been going on, so that many proxies do not begin with the same host.
    """

    __slots__ = ("_entered", "_queue", "_weight")

    def __init__(self, hosts: Sequence[H], weight: Callable[[H], float], random: Random) -> None:
        weights = [weight(host) for host in hosts]
        assert all(value > 0.0 for value in weights), "weights are positive"
        # Whole weights repeat after one unit of virtual time; smaller ones after one turn of the smallest.
        start = random.random() * max(1.0, 1.0 / min(weights))
        turns = [int(start * value) for value in weights]
        # Hosts stand in the queue in the order of their last turn, as they would had they been picked.
        order = sorted(range(len(hosts)), key=lambda index: (turns[index] / weights[index], index))
        # (deadline, number of entry, host); the numbers differ, so hosts are never compared.
        self._queue = [
            ((turns[index] + 1) / weights[index], number, hosts[index]) for number, index in enumerate(order)
        ]
        heapq.heapify(self._queue)
        self._entered = len(hosts)
        self._weight = weight

    def pick(self) -> H:
        """Return the host that is due."""
        deadline, _, host = self._queue[0]
        heapq.heapreplace(self._queue, (deadline + 1.0 / self._weight(host), self._entered, host))
        self._entered += 1
        return host


def _static_weight(host: Host) -> float:
    return host.weight


def _least_request_weight(bias: float) -> Callable[[Host], float]:
    """Return the weight that falls as a host gets busy: weight / (active + 1)^bias; bias 0 is round robin."""
    if bias == 1.0:
        return lambda host: host.weight / (host.active + 1)
    return lambda host: host.weight / (host.active + 1) ** bias


@attrs.frozen
class Selection(Generic[H]):
    """The hosts to balance over. Empty: answer 503, flag UH. `panic`: healthy or not, since too few are healthy."""

    hosts: tuple[H, ...]
    panic: bool


def healthy_or_panic(hosts: Iterable[H], is_healthy: Callable[[H], bool], panic_percent: float) -> Selection[H]:
    """Return the healthy hosts, or all of them while fewer than `panic_percent` are healthy; 0 never panics.

    Source: Envoy LoadBalancerBase::isHostSetInPanic, recalculatePerPriorityPanic: it never panics either while the healthy
    hosts, over-provisioned by 1.4, cover the load (72 % healthy and more), however high the threshold.
    """
    everyone = tuple(hosts)
    healthy = tuple(host for host in everyone if is_healthy(host))
    few = 100.0 * len(healthy) < min(panic_percent, 100.0) * len(everyone)
    if few and 140 * len(healthy) < 100 * len(everyone):
        return Selection(everyone, True)
    return Selection(healthy, False)
