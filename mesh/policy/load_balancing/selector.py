"""Endpoint selector: which endpoint of a cluster gets a request. Priority first, then locality, then the balancer.

Pure: time and chance are arguments. Source: Envoy source/extensions/load_balancing_policies/common/load_balancer_impl.cc
`choosePriority`, `hostSourceToUse`; thread_aware_lb_impl.cc for those that hash.

It is made for what endpoints are now and remade when membership, health or weights change; `pick` costs O(1), O(log n)
with unequal weights or a ring. Does not count requests and does not say which endpoints are usable: its caller does.
"""

from collections.abc import Callable, Sequence
from typing import Generic

from mesh.model.randomness import Random
from mesh.policy.load_balancing.host import HostT, LoadBalancer
from mesh.policy.load_balancing.levels import BalancedLevel, HashedLevel
from mesh.policy.load_balancing.peak_ewma import PeakEwma
from mesh.policy.load_balancing.priorities import HostCounts, percents_without, priority_loads
from mesh.policy.load_balancing.strategy import Balancer, LoadBalancing

_HASHING = (Balancer.RING_HASH, Balancer.MAGLEV)
_HASH_BITS = 64
_OMISSIONS_MAX = 64
_NONE_OMITTED: frozenset[int] = frozenset()

AnyLevel = BalancedLevel[HostT] | HashedLevel[HostT]


class EndpointSelector(Generic[HostT]):
    """Picks among `hosts`. `previous` is the selector in whose place this one comes: turns go on where they can.

    `panicking`: some priority uses all its hosts, since too few are usable. `panic_picks`: picks from such a priority, as
    Envoy's `lb_healthy_panic`, counted on from `previous`.
    """

    __slots__ = (
        "_by_percent",
        "_counts",
        "_fails_in_panic",
        "_hashes",
        "_levels",
        "_only",
        "_priorities",
        "_random",
        "_usual",
        "_without",
        "config",
        "panic_picks",
        "panicking",
    )

    def __init__(
        self,
        config: LoadBalancing,
        hosts: Sequence[HostT],
        is_usable: Callable[[HostT], bool],
        random: Random,
        *,
        now: float,
        previous: "EndpointSelector[HostT] | None" = None,
    ) -> None:
        self.config = config
        self._random = random
        self._hashes = config.balancer in _HASHING
        self._fails_in_panic = config.fail_traffic_on_panic
        self.panic_picks: int = 0 if previous is None else previous.panic_picks
        if config.balancer is Balancer.PEAK_EWMA:
            _keep_latencies(config.decay_s, hosts, now)
        elif previous is not None and previous.config.balancer is Balancer.PEAK_EWMA:
            for host in hosts:
                host.latency = None
        by_priority: dict[int, list[HostT]] = {}
        for host in hosts:
            by_priority.setdefault(host.priority, []).append(host)
        self._priorities = tuple(sorted(by_priority))
        groups = [by_priority[priority] for priority in self._priorities]
        usable = [tuple(filter(is_usable, group)) for group in groups]
        self._counts = [HostCounts(len(some), len(group)) for some, group in zip(usable, groups, strict=True)]
        self._levels: tuple[AnyLevel[HostT], ...] = ()
        self._by_percent: tuple[AnyLevel[HostT], ...] = ()  # 100 entries, or none where there is no host
        # The level that has all traffic, as there is in most clusters: then there is nothing to draw.
        self._only: AnyLevel[HostT] | None = None
        # Its balancer once it has one, where nothing else is to be decided: no hash, no panic.
        self._usual: LoadBalancer[HostT] | None = None
        self._without: dict[frozenset[int], tuple[AnyLevel[HostT], ...]] = {}
        self.panicking = False
        if groups:
            self._fill(groups, usable, previous if previous is not None and previous.config == config else None)

    def pick(
        self,
        now: float,
        request_hash: int | None = None,
        attempt: int = 0,
        omitted_priorities: frozenset[int] = _NONE_OMITTED,
    ) -> HostT | None:
        """Return the endpoint for one try; None: there is none, answer 503, flag UH.

        `request_hash` (64 bits) counts where the balancer hashes, and then chooses the priority too, so that a key stays with
        its endpoint; without one it is drawn. `attempt`: how many picks for this try were refused; rings and tables move on.
        `omitted_priorities` get nothing, unless nobody else could take it.
        """
        if self._usual is not None and not omitted_priorities:
            return self._usual.pick(now)
        level: AnyLevel[HostT] | None = self._only
        if self._hashes:
            if request_hash is None:
                request_hash = self._random.getrandbits(_HASH_BITS)
            if level is None or omitted_priorities:
                level = self._level_of(request_hash % 100, omitted_priorities)
        elif level is None or omitted_priorities:
            level = self._level_of(int(self._random.random() * 100), omitted_priorities)
        if level is None:
            return None
        if level.panicking:
            self.panic_picks += 1
            if self._fails_in_panic:
                return None
        host = level.pick(now, request_hash or 0, attempt)
        if level is self._only and isinstance(level, BalancedLevel) and not level.panicking:
            self._usual = level.balancer
        return host

    def _fill(
        self,
        groups: Sequence[Sequence[HostT]],
        usable: Sequence[Sequence[HostT]],
        previous: "EndpointSelector[HostT] | None",
    ) -> None:
        config = self.config
        loads = priority_loads(
            self._counts,
            panic_percent=config.panic_percent,
            overprovisioning_percent=config.overprovisioning_percent,
        )
        self.panicking = any(loads.panicking)
        before = {} if previous is None else dict(zip(previous._priorities, previous._levels, strict=True))
        self._levels = tuple(
            self._level(group, some, panicking, before.get(priority))
            for priority, group, some, panicking in zip(self._priorities, groups, usable, loads.panicking, strict=True)
        )
        self._by_percent = self._spread(loads.percents)
        if 100 in loads.percents:
            self._only = self._by_percent[0]

    def _level(
        self,
        group: Sequence[HostT],
        usable: Sequence[HostT],
        panicking: bool,
        previous: AnyLevel[HostT] | None,
    ) -> AnyLevel[HostT]:
        if self._hashes:
            assert previous is None or isinstance(previous, HashedLevel), "of the same configuration"
            return HashedLevel(self.config, group, usable, panicking=panicking, previous=previous)
        assert previous is None or isinstance(previous, BalancedLevel), "of the same configuration"
        return BalancedLevel(self.config, group, usable, self._random, panicking=panicking, previous=previous)

    def _spread(self, percents: Sequence[int]) -> tuple[AnyLevel[HostT], ...]:
        """Return the level for each of the 100 values that a draw may have."""
        return tuple(level for level, percent in zip(self._levels, percents, strict=True) for _ in range(percent))

    def _level_of(self, percent: int, omitted: frozenset[int]) -> AnyLevel[HostT] | None:
        if not self._by_percent:
            return None
        return (self._spread_without(omitted) if omitted else self._by_percent)[percent]

    def _spread_without(self, omitted: frozenset[int]) -> tuple[AnyLevel[HostT], ...]:
        """Remembered: retries omit few different sets, those of the priorities that a request has been to."""
        spread = self._without.get(omitted)
        if spread is None:
            percents = percents_without(
                self._counts,
                [index for index, priority in enumerate(self._priorities) if priority in omitted],
                overprovisioning_percent=self.config.overprovisioning_percent,
            )
            spread = self._by_percent if percents is None else self._spread(percents)
            if len(self._without) < _OMISSIONS_MAX:
                self._without[omitted] = spread
        return spread


def _keep_latencies(decay_s: float, hosts: Sequence[HostT], now: float) -> None:
    """Give each host a latency; what is known of one is kept."""
    for host in hosts:
        if host.latency is None:
            host.latency = PeakEwma(decay_s, now)
        else:
            host.latency.decay_s = decay_s
