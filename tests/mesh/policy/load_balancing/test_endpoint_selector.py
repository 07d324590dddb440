"""The selector, case by case; the rules in all their combinations are for the model."""

import collections
import random

import attrs
import pytest

from mesh.policy.load_balancing import Balancer, EndpointSelector, LoadBalancing, PeakEwma, maglev
from mesh.policy.load_balancing.levels import BalancedLevel
from mesh.policy.load_balancing.ring_hash import HashRing
from tests.mesh.policy.load_balancing.balanced_host import (
    BalancedHost,
    ScriptedRandom,
    hosts_of,
    is_usable,
    selector_over,
)

TURNS = LoadBalancing(balancer=Balancer.ROUND_ROBIN)
MAGLEV = LoadBalancing(balancer=Balancer.MAGLEV, table_size=251)


def names(selector: EndpointSelector[BalancedHost], count: int) -> list[str]:
    return [host.name if (host := selector.pick(0.0)) else "" for _ in range(count)]


def in_priorities(*usable_by_priority: tuple[int, int]) -> list[BalancedHost]:
    return [
        BalancedHost(f"p{priority}-{index}", priority=priority, usable=index < usable)
        for priority, (usable, total) in enumerate(usable_by_priority)
        for index in range(total)
    ]


def shares(hosts: list[BalancedHost], config: LoadBalancing = TURNS, count: int = 2000) -> dict[int, float]:
    selector = selector_over(hosts, config)
    picked = [selector.pick(0.0) for _ in range(count)]
    counts = collections.Counter(host.priority for host in picked if host)
    return {priority: times / count for priority, times in sorted(counts.items())}


def test_no_host_at_all_is_no_host() -> None:
    assert selector_over([]).pick(0.0) is None
    assert selector_over([], MAGLEV).pick(0.0, 7) is None


def test_without_panic_nobody_usable_means_nobody() -> None:
    hosts = in_priorities((0, 2), (0, 1))
    selector = selector_over(hosts, attrs.evolve(TURNS, panic_percent=0.0))
    assert selector.pick(0.0) is None
    assert (selector.panicking, selector.panic_picks) == (False, 0)


def test_one_priority_that_has_all_the_load_needs_no_draw() -> None:
    hosts = in_priorities((1, 1), (1, 1))
    made = EndpointSelector(TURNS, hosts, is_usable, ScriptedRandom(), now=0.0)
    assert made.pick(0.0) is hosts[0]


def test_load_spills_by_health() -> None:
    assert shares(in_priorities((1, 2), (2, 2))) == pytest.approx({0: 0.7, 1: 0.3}, abs=0.04)
    wide = attrs.evolve(TURNS, overprovisioning_percent=200.0)
    assert shares(in_priorities((1, 2), (2, 2)), wide) == {0: 1.0}


def test_panic_uses_everyone_and_is_counted_on() -> None:
    hosts = in_priorities((1, 4))
    selector = selector_over(hosts)
    assert selector.panicking
    assert {*names(selector, 60)} == {host.name for host in hosts}
    assert selector.panic_picks == 60
    assert selector_over(hosts, previous=selector).panic_picks == 60


def test_panic_may_mean_to_fail() -> None:
    selector = selector_over(in_priorities((1, 4)), attrs.evolve(TURNS, fail_traffic_on_panic=True))
    assert names(selector, 5) == [""] * 5
    assert selector.panic_picks == 5


def test_omitted_priorities_get_nothing_unless_nobody_else_could_take_it() -> None:
    hosts = in_priorities((1, 1), (1, 1), (0, 1))
    selector = selector_over(hosts)
    assert selector.pick(0.0, omitted_priorities=frozenset({0})) is hosts[1]
    assert selector.pick(0.0, omitted_priorities=frozenset({7})) is hosts[0]
    assert selector.pick(0.0, omitted_priorities=frozenset({0, 1})) is hosts[0]


def test_a_key_chooses_its_priority_too() -> None:
    hosts = in_priorities((1, 2), (1, 1))
    selector = selector_over(hosts, MAGLEV)
    for key in range(300):
        picked = selector.pick(0.0, key)
        assert picked is (hosts[0] if key % 100 < 70 else hosts[2])


def test_without_a_key_one_is_drawn() -> None:
    hosts = hosts_of(1, 1, 1)
    assert {*names(selector_over(hosts, MAGLEV), 60)} == {"u0", "u1", "u2"}


def test_tables_are_made_when_they_are_needed_and_no_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    maglev._owners.cache_clear()
    fill = maglev.fill_table
    monkeypatch.setattr(maglev, "fill_table", lambda *inputs: made.append(inputs) or fill(*inputs))
    hosts = hosts_of(1, 1, 1)
    selector = selector_over(hosts, MAGLEV)
    for _ in range(3):
        hosts[0].usable = not hosts[0].usable
        selector = selector_over(hosts, MAGLEV, previous=selector)
    assert not made
    first = [selector.pick(0.0, key) for key in range(50)]
    assert len(made) == 1
    selector = selector_over(hosts, MAGLEV, previous=selector)
    assert [selector.pick(0.0, key) for key in range(50)] == first
    assert len(made) == 1


def test_a_lone_host_needs_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HashRing, "__init__", None)
    hosts = hosts_of(1)
    assert selector_over(hosts, LoadBalancing(balancer=Balancer.RING_HASH)).pick(0.0, 5) is hosts[0]


def test_turns_go_on_when_hosts_stay_and_when_one_goes() -> None:
    hosts = hosts_of(1, 1, 1, 1)
    selector = selector_over(hosts, TURNS)
    first = int(names(selector, 1)[0][1])
    selector = selector_over(hosts, TURNS, seed=8, previous=selector)
    assert names(selector, 1) == [f"u{(first + 1) % 4}"]
    hosts[(first + 2) % 4].usable = False  # it would have been next
    selector = selector_over(hosts, TURNS, seed=9, previous=selector)
    assert names(selector, 3) == [f"u{(first + step) % 4}" for step in (3, 0, 1)]


def test_weighted_turns_go_on_when_hosts_stay() -> None:
    hosts = hosts_of(5, 1, 3)
    whole = names(selector_over(hosts, TURNS), 40)
    selector, parts = selector_over(hosts, TURNS), []
    for step in range(40):
        parts += names(selector, 1)
        selector = selector_over(hosts, TURNS, seed=step, previous=selector)
    assert parts == whole


def test_selectors_do_not_keep_their_predecessors() -> None:
    """Endpoints change for as long as the proxy runs; who is never picked from must not hold on to the past."""
    hosts = hosts_of(1, 2)
    selector = selector_over(hosts, TURNS)
    selector.pick(0.0)
    for step in range(5):
        hosts.append(BalancedHost(f"n{step}"))
        selector = selector_over(hosts, TURNS, previous=selector)
    level = selector._levels[0]
    assert isinstance(level, BalancedLevel)
    assert level._kept is not None and level._kept.hosts == tuple(hosts[:2])


def test_latency_is_kept_while_it_is_asked_for() -> None:
    config = LoadBalancing(balancer=Balancer.PEAK_EWMA, decay_s=3.0)
    hosts = hosts_of(1, 1)
    selector = selector_over(hosts, config, now=5.0)
    known = hosts[0].latency
    assert isinstance(known, PeakEwma) and (known.decay_s, known.at(5.0)) == (3.0, 0.030)
    hosts.append(BalancedHost("new"))
    selector = selector_over(hosts, attrs.evolve(config, decay_s=9.0), now=6.0, previous=selector)
    assert hosts[0].latency is known and known.decay_s == 9.0
    assert hosts[2].latency is not None
    selector_over(hosts, TURNS, previous=selector)
    assert [host.latency for host in hosts] == [None, None, None]


def test_the_slow_and_the_failing_are_avoided_by_latency() -> None:
    hosts = hosts_of(1, 1, 1)
    selector = selector_over(hosts, LoadBalancing(balancer=Balancer.PEAK_EWMA))
    for host, seconds in zip(hosts, (0.010, 0.200, 0.010), strict=True):
        assert host.latency is not None
        host.latency.record(seconds, 0.0)
    assert hosts[2].latency is not None
    hosts[2].latency.record_failure(0.001, 0.0)  # fails fast: no reason to like it
    counts = collections.Counter(names(selector, 300))
    # Of two different hosts the better one: the best wins two pairs of three, the second-best one, the worst none.
    assert counts == pytest.approx({"u0": 200, "u1": 100}, abs=30)


def test_picking_is_as_fast_among_ten_thousand() -> None:
    """Counted in draws and steps, not in seconds: no balancer looks at hosts one by one."""
    looked_at = 0

    class Watched(BalancedHost):
        def __getattribute__(self, name: str) -> object:
            nonlocal looked_at
            looked_at += 1
            return super().__getattribute__(name)

    for balancer in Balancer:
        hosts = [Watched(f"h{index}", 1 + index % 2) for index in range(10_000)]
        selector = EndpointSelector(LoadBalancing(balancer=balancer), hosts, is_usable, random.Random(1), now=0.0)
        selector.pick(0.0, 1)
        looked_at = 0
        selector.pick(0.0, 2)
        assert looked_at <= 8
