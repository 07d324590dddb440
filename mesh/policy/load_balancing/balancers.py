"""Balancers that treat hosts as equal or look at how busy they are. Pure: time and chance are arguments.

Source: Envoy source/extensions/load_balancing_policies/{common,least_request,round_robin,random};
linkerd2-proxy `linkerd/pool/p2c`.

A balancer is made for a fixed set of hosts and remade when membership, health or weights change, which is rare; so
`pick` costs O(1). Weights are for `turns`.
"""

from collections.abc import Sequence
from typing import Generic

from mesh.model.randomness import Random
from mesh.policy.load_balancing.host import H, HostT


class RoundRobin(Generic[H]):
    """One after the other, from a random start, so that many proxies do not begin with the same host."""

    __slots__ = ("_hosts", "_next")

    def __init__(self, hosts: Sequence[H], random: Random) -> None:
        self._hosts = tuple(hosts)
        self._next = random.randrange(len(hosts)) if len(hosts) > 1 else 0

    def pick(self, now: float, /) -> H:
        """Return the next host."""
        index = self._next
        host = self._hosts[index]
        index += 1
        self._next = index if index < len(self._hosts) else 0
        return host

    def go_on_from(self, previous: "RoundRobin[H]") -> None:
        """Begin where `previous` would have: with its next host that is here too."""
        index_by_host = {host: index for index, host in enumerate(self._hosts)}
        for host in previous._hosts[previous._next :] + previous._hosts[: previous._next]:
            if host in index_by_host:
                self._next = index_by_host[host]
                return


class RandomBalancer(Generic[H]):
    """Each host with the same chance."""

    __slots__ = ("_count", "_draw", "_hosts")

    def __init__(self, hosts: Sequence[H], random: Random) -> None:
        self._hosts = tuple(hosts)
        self._count = len(hosts)
        self._draw = random.random

    def pick(self, now: float, /) -> H:
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

    def pick(self, now: float, /) -> HostT:
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


class LeastLatency(Generic[HostT]):
    """The cheaper of two different hosts drawn at random, by latency x (requests under way + 1); the first wins a tie.

    Weights do not count, as in Linkerd. Hosts have a `latency`, and there are at least two of them.
    """

    __slots__ = ("_count", "_draw", "_hosts")

    def __init__(self, hosts: Sequence[HostT], random: Random) -> None:
        assert len(hosts) > 1, "two different hosts are drawn"
        self._hosts = tuple(hosts)
        self._count = len(hosts)
        self._draw = random.random

    def pick(self, now: float, /) -> HostT:
        """Return the chosen host."""
        hosts, draw = self._hosts, self._draw
        first = int(draw() * self._count)
        second = int(draw() * (self._count - 1))
        if second >= first:  # One index is taken: those from it on move up by one.
            second += 1
        one, other = hosts[first], hosts[second]
        return one if _cost(one, now) <= _cost(other, now) else other


def _cost(host: HostT, now: float) -> float:
    assert host.latency is not None, "the selector gives each host its latency"
    return host.latency.at(now) * (host.active + 1)
