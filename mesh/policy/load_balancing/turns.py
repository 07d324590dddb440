"""Weighted turns: earliest deadline first, as Envoy's scheduler does it, and the weights that go in.

Pure: chance is an argument. Source: Envoy source/common/upstream/edf_scheduler.h, least_request_lb.cc `hostWeight`.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Generic

from mesh.model.randomness import Random
from mesh.policy.load_balancing.host import H, Host
from mesh.policy.load_balancing.strategy import Balancer, LoadBalancing


class EarliestDeadlineFirst(Generic[H]):
    """Weighted turns: a host of weight w is due every 1/w of virtual time; the one due first is picked, ties in order of entry.

    The weight is read again at each pick, which costs O(log n). Virtual time is the deadline of the last pick; it starts at
    a random instant, as if picks had been going on, so that many proxies do not begin with the same host.
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

    def pick(self, now: float, /) -> H:
        """Return the host that is due."""
        deadline, _, host = self._queue[0]
        heapq.heapreplace(self._queue, (deadline + 1.0 / self._weight(host), self._entered, host))
        self._entered += 1
        return host


def turn_weight(config: LoadBalancing) -> Callable[[Host], float]:
    """Return what weighs a host; for least request it falls as the host gets busy: weight / (active + 1)^bias."""
    bias = config.active_request_bias
    if config.balancer is not Balancer.LEAST_REQUEST or bias == 0.0:
        return _static_weight
    if bias == 1.0:
        return _weight_while_busy
    return lambda host: host.weight / (host.active + 1) ** bias


def _static_weight(host: Host) -> float:
    return host.weight


def _weight_while_busy(host: Host) -> float:
    return host.weight / (host.active + 1)
