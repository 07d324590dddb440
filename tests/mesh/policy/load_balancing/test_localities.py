"""Localities: shares by effective weights, each with turns of its own."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.load_balancing.localities import Locality, effective_weights, split_by_locality
from tests.mesh.policy.load_balancing.balanced_host import BalancedHost, selector_over

TURNS = LoadBalancing(balancer=Balancer.ROUND_ROBIN)


def hosts_in(*places: tuple[str, int, int, int]) -> list[BalancedHost]:
    """Each place: name, weight, usable hosts, all hosts."""
    return [
        BalancedHost(f"{name}{index}", locality=name, locality_weight=weight, usable=index < usable)
        for name, weight, usable, total in places
        for index in range(total)
    ]


def localities_of(hosts: list[BalancedHost]) -> tuple[Locality[BalancedHost], ...]:
    return split_by_locality(hosts, [host for host in hosts if host.usable])


def shares(hosts: list[BalancedHost], count: int, config: LoadBalancing = TURNS) -> dict[str, int]:
    selector = selector_over(hosts, config)
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(count):
        picked = selector.pick(0.0)
        assert picked is not None
        counts[picked.locality] += 1
    return dict(counts)


@pytest.mark.parametrize(
    ("usable", "weight"),
    # So many of a hundred hosts.
    [(100, 2.0), (72, 2.0), (70, 2 * 0.98), (69, 2 * 0.966), (50, 2 * 0.7), (25, 2 * 0.35), (0, None)],
)
def test_a_locality_weighs_less_when_too_few_of_its_hosts_are_usable(usable: int, weight: float | None) -> None:
    weights = effective_weights(localities_of(hosts_in(("x", 1, 1, 1), ("y", 2, usable, 100))), 140.0)
    assert weights.get("y") == (pytest.approx(weight) if weight is not None else None)
    assert weights["x"] == 1.0


def test_overprovisioning_says_how_many_are_too_few() -> None:
    localities = localities_of(hosts_in(("x", 10, 8, 10)))
    assert effective_weights(localities, 100.0) == {"x": pytest.approx(8.0)}
    assert effective_weights(localities, 125.0) == {"x": 10.0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5))
def test_shares_are_proportional_to_effective_weights(places: list[tuple[int, int, int]]) -> None:
    hosts = hosts_in(*((f"z{index}", weight, up, up + down) for index, (weight, up, down) in enumerate(places)))
    expected = effective_weights(localities_of(hosts), 140.0)
    panicking = not any(host.usable for host in hosts) or selector_over(hosts, TURNS).panicking
    if not hosts or not expected or panicking:
        return
    counts = shares(hosts, 400)
    total = sum(expected.values())
    for name, weight in expected.items():
        assert abs(counts.get(name, 0) - 400 * weight / total) <= len(expected) + 1
    assert counts.keys() <= expected.keys()


def test_localities_of_no_weight_get_nothing_while_others_serve() -> None:
    assert shares(hosts_in(("x", 0, 2, 2), ("y", 1, 1, 1)), 20) == {"y": 20}
    # Nobody of weight is usable: then any usable host is better than none.
    assert shares(hosts_in(("x", 0, 4, 4), ("y", 1, 0, 1)), 20) == {"x": 20}


def test_in_panic_localities_do_not_count() -> None:
    assert shares(hosts_in(("x", 9, 1, 6), ("y", 1, 0, 2)), 80) == {"x": 60, "y": 20}


def test_turns_go_on_within_a_locality_and_among_them_when_another_priority_changes() -> None:
    hosts = hosts_in(("x", 1, 3, 3), ("y", 2, 3, 3))
    spare = BalancedHost("spare", priority=1)
    whole = selector_over([*hosts, spare], TURNS)
    expected = [whole.pick(0.0) for _ in range(40)]
    selector = selector_over([*hosts, spare], TURNS)
    picked = []
    for step in range(40):
        picked.append(selector.pick(0.0))
        spare.usable = step % 2 == 0
        selector = selector_over([*hosts, spare], TURNS, seed=step, previous=selector)
    assert picked == expected
