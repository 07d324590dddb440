"""Slow start: shares grow with time, and then it is over."""

import collections
import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing import Balancer, LoadBalancing, SlowStart
from mesh.policy.load_balancing.making import make_balancer
from mesh.policy.load_balancing.slow_start import SlowStartTurns, slow_start_factor
from tests.mesh.policy.load_balancing.balanced_host import hosts_of

CONFIG = SlowStart(window_s=30.0)
starts = st.builds(
    SlowStart,
    window_s=st.floats(0.1, 600.0),
    aggression=st.floats(0.1, 5.0),
    weight_percent_min=st.floats(0.0, 100.0),
)


@pytest.mark.parametrize(
    ("age_s", "aggression", "factor"),
    [
        (0.0, 1.0, 0.1),
        (3.0, 1.0, 0.1),
        (15.0, 1.0, 0.5),
        (30.0, 1.0, 1.0),
        (7.5, 2.0, 0.5),
        (15.0, 0.5, 0.25),
        (99.0, 1.0, 1.0),
    ],
)
def test_share_follows_envoys_formula(age_s: float, aggression: float, factor: float) -> None:
    config = attrs.evolve(CONFIG, aggression=aggression)
    assert slow_start_factor(config, age_s) == pytest.approx(factor)


@settings(max_examples=100, deadline=None)
@given(starts, st.floats(-1.0, 700.0), st.floats(0.0, 700.0))
def test_share_never_falls_and_ends_whole(config: SlowStart, age_s: float, later_s: float) -> None:
    assert 0.0 < slow_start_factor(config, age_s) <= slow_start_factor(config, age_s + later_s) <= 1.0
    assert slow_start_factor(config, config.window_s) == 1.0


@pytest.mark.parametrize("balancer", [Balancer.ROUND_ROBIN, Balancer.LEAST_REQUEST])
def test_a_new_host_gets_its_share_bit_by_bit(balancer: Balancer) -> None:
    hosts = hosts_of(1, 1)
    hosts[1].healthy_since = 100.0
    made = make_balancer(LoadBalancing(balancer=balancer, slow_start=CONFIG), hosts, random.Random(1), now=100.0)
    shares = []
    for second in range(100, 145, 5):
        counts = collections.Counter(made.pick(second + number / 1000).name for number in range(1000))
        shares.append(counts["u1"] / 1000)
    assert shares[:6] == pytest.approx([1 / 11, 5 / 35, 10 / 40, 15 / 45, 20 / 50, 25 / 55], abs=0.05)
    assert shares[6:] == pytest.approx([0.5, 0.5, 0.5], abs=0.05)


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 4)])
def test_nothing_is_left_of_it_afterwards(weights: tuple[int, ...]) -> None:
    """The turns afterwards are those of a balancer that never knew of it: no host waits for a turn of long ago."""
    config = LoadBalancing(balancer=Balancer.ROUND_ROBIN, slow_start=SlowStart(window_s=5.0, weight_percent_min=0.0))
    hosts = hosts_of(*weights)
    hosts[0].healthy_since = 0.0
    made = make_balancer(config, hosts, random.Random(1), now=0.0)
    for _ in range(10):
        made.pick(0.0)
    counts = collections.Counter(made.pick(5.0).name for _ in range(10 * sum(weights)))
    assert counts == pytest.approx({f"u{index}": 10 * weight for index, weight in enumerate(weights)}, abs=1)


@pytest.mark.parametrize("balancer", [Balancer.RANDOM, Balancer.PEAK_EWMA])
def test_it_is_for_balancers_with_turns_only(balancer: Balancer) -> None:
    hosts = hosts_of(1, 1)
    hosts[0].healthy_since = 0.0
    config = LoadBalancing(balancer=balancer, slow_start=CONFIG)
    assert not isinstance(make_balancer(config, hosts, random.Random(1), now=0.0), SlowStartTurns)


def test_hosts_that_always_were_healthy_do_not_begin_slowly() -> None:
    config = LoadBalancing(balancer=Balancer.ROUND_ROBIN, slow_start=CONFIG)
    assert not isinstance(make_balancer(config, hosts_of(1, 1), random.Random(1), now=0.0), SlowStartTurns)
