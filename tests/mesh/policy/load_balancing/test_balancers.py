"""Balancers against naive models that draw from a twin generator and scan lists."""

import collections
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mesh.policy.load_balancing import Balancer, LoadBalancing, PeakEwma
from mesh.policy.load_balancing.balancers import LeastLatency, LeastRequest, RandomBalancer, RoundRobin
from mesh.policy.load_balancing.host import LoadBalancer
from mesh.policy.load_balancing.making import make_balancer
from mesh.policy.load_balancing.turns import EarliestDeadlineFirst
from tests.mesh.policy.load_balancing.balanced_host import UNTIL_FOUND, BalancedHost, ScriptedRandom, hosts_of


def picks(balancer: LoadBalancer[BalancedHost], count: int) -> list[str]:
    return [balancer.pick(0.0).name for _ in range(count)]


@pytest.mark.parametrize(
    ("balancer", "weights", "kind"),
    [
        (Balancer.ROUND_ROBIN, (1, 1, 1), RoundRobin),
        (Balancer.ROUND_ROBIN, (3, 3), RoundRobin),
        (Balancer.ROUND_ROBIN, (3, 1), EarliestDeadlineFirst),
        (Balancer.LEAST_REQUEST, (1, 1), LeastRequest),
        (Balancer.LEAST_REQUEST, (2, 1), EarliestDeadlineFirst),
        (Balancer.RANDOM, (2, 1), RandomBalancer),
        (Balancer.PEAK_EWMA, (2, 1), LeastLatency),
        (Balancer.RANDOM, (7,), RoundRobin),
        (Balancer.LEAST_REQUEST, (7,), RoundRobin),
    ],
)
def test_balancer_fits_the_weights(balancer: Balancer, weights: tuple[int, ...], kind: type) -> None:
    assert type(make_balancer(LoadBalancing(balancer=balancer), hosts_of(*weights), random.Random(1))) is kind


def test_single_host_is_picked_without_a_draw() -> None:
    balancer = make_balancer(LoadBalancing(), hosts_of(1), ScriptedRandom())
    assert picks(balancer, 3) == ["u0"] * 3


def test_balancing_over_no_host_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="UH"):
        make_balancer(LoadBalancing(), [], random.Random(1))


def test_round_robin_turns_evenly_from_a_random_start() -> None:
    """Recorded from Envoy: u2 u0 u1 u2 u0 u1 ..."""
    starts = set()
    for seed in range(20):
        sequence = picks(RoundRobin(hosts_of(1, 1, 1), random.Random(seed)), 12)
        starts.add(sequence[0])
        first = int(sequence[0][1])
        assert sequence == [f"u{(first + turn) % 3}" for turn in range(12)]
    assert starts == {"u0", "u1", "u2"}


@pytest.mark.parametrize(
    ("active", "draws", "choice_count", "picked"),
    [
        ((5, 1, 0), (0.0, 0.4), 2, "u1"),  # 0 and 1: the less busy
        ((1, 5, 0), (0.0, 0.4), 2, "u0"),
        ((2, 2, 0), (0.4, 0.0), 2, "u1"),  # a tie goes to the first drawn
        ((5, 0, 0), (0.0, 0.1), 2, "u0"),  # with replacement: the busiest drawn twice is picked
        ((5, 4, 3), (0.0, 0.4, 0.9), 3, "u2"),
        ((5, 4, 4), (0.9, 0.4, 0.0), 3, "u2"),
        ((5, 4, 3), (0.0, 0.4), 1, "u1"),  # fewer than two choices are none
    ],
)
def test_least_request_keeps_the_less_busy_of_what_it_drew(
    active: tuple[int, ...], draws: tuple[float, ...], choice_count: int, picked: str
) -> None:
    hosts = hosts_of(1, 1, 1)
    for host, count in zip(hosts, active, strict=True):
        host.active = count
    config = LoadBalancing(choice_count=choice_count)
    assert make_balancer(config, hosts, ScriptedRandom(*draws)).pick(0.0).name == picked


@pytest.mark.parametrize("start", [0.0, 0.2, 0.5, 0.7, 0.99])
def test_weights_3_to_1_give_turns_3_to_1(start: float) -> None:
    """Recorded from Envoy: u0 u1 u0 u0 u0 u1 u0 u0 ..., 60 and 20 of 80."""
    balancer = make_balancer(LoadBalancing(balancer=Balancer.ROUND_ROBIN), hosts_of(3, 1), ScriptedRandom(start))
    sequence = picks(balancer, 80)
    assert abs(collections.Counter(sequence)["u0"] - 60) <= 1
    for first in range(0, 76):
        assert collections.Counter(sequence[first : first + 4])["u1"] <= 2
        assert 1 <= collections.Counter(sequence[first : first + 5])["u1"] <= 2


def test_weighted_turns_start_as_if_picks_had_been_going_on() -> None:
    hosts = hosts_of(4, 2, 1)
    config = LoadBalancing(balancer=Balancer.ROUND_ROBIN)
    whole = picks(make_balancer(config, hosts, ScriptedRandom(0.0)), 28)
    # After 0.6 of a turn u0 has had its picks at 0.25 and 0.5, u1 the one at 0.5, u2 none: three of the sequence.
    assert picks(make_balancer(config, hosts, ScriptedRandom(0.6)), 25) == whole[3:]


def test_busy_hosts_get_fewer_weighted_turns() -> None:
    hosts = hosts_of(2, 1)
    hosts[0].active = 3  # weight 2 / 4
    balancer = make_balancer(LoadBalancing(), hosts, ScriptedRandom(0.0))
    assert collections.Counter(picks(balancer, 300))["u0"] == pytest.approx(100, abs=2)
    # Read again at each pick.
    hosts[0].active = 0
    assert collections.Counter(picks(balancer, 300))["u0"] == pytest.approx(200, abs=3)


@pytest.mark.parametrize(("bias", "share_of_busy"), [(0.0, 0.5), (1.0, 0.2), (2.0, 1 / 17)])
def test_bias_says_how_much_being_busy_counts(bias: float, share_of_busy: float) -> None:
    busy, idle, light = hosts_of(2, 2, 1)
    busy.active = 3
    config = LoadBalancing(active_request_bias=bias)
    counts = collections.Counter(picks(make_balancer(config, [busy, idle, light], ScriptedRandom(0.0)), 2000))
    assert counts["u0"] / (counts["u0"] + counts["u1"]) == pytest.approx(share_of_busy, abs=0.01)


def test_random_ignores_weights() -> None:
    balancer = make_balancer(LoadBalancing(balancer=Balancer.RANDOM), hosts_of(100, 1), random.Random(3))
    assert collections.Counter(picks(balancer, 1000))["u1"] == pytest.approx(500, abs=60)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(0, 1000))
def test_weighted_turns_keep_to_the_weights_and_starve_nobody(weights: list[int], seed: int) -> None:
    hosts, total = hosts_of(*weights), sum(weights)
    turns = EarliestDeadlineFirst(hosts, lambda host: host.weight, random.Random(seed))
    sequence = [turns.pick(0.0) for _ in range(3 * total)]
    for host in hosts:
        assert abs(sequence.count(host) - 3 * host.weight) <= 1
        at = [-1, *(index for index, picked in enumerate(sequence) if picked is host), len(sequence)]
        # While it waits for 1/w of virtual time, each other host has its turns of that time, and one more.
        longest = max(later - earlier for earlier, later in itertools.pairwise(at))
        assert longest <= total / host.weight + len(hosts) + 1


BALANCERS = [Balancer.ROUND_ROBIN, Balancer.LEAST_REQUEST, Balancer.RANDOM, Balancer.PEAK_EWMA]
SEED = 20


class BalancingAgainstNaiveScan(RuleBasedStateMachine):
    """Hosts come, go, get busy, answer; each pick is compared with the definition read off a list.

    Planted once and found: a virtual time that restarts at each pick in EarliestDeadlineFirst (`1.0 / weight` without the
    deadline). Planted at every run: see below.
    """

    @initialize(
        balancer=st.sampled_from(BALANCERS),
        weights=st.one_of(
            st.lists(st.just(1), min_size=2, max_size=4), st.lists(st.integers(1, 4), min_size=1, max_size=5)
        ),
        choice_count=st.integers(2, 4),
    )
    def begin(self, balancer: Balancer, weights: list[int], choice_count: int) -> None:
        self.config = LoadBalancing(balancer=balancer, choice_count=choice_count)
        self.now = 0.0
        self.hosts = hosts_of(*weights)
        for host in self.hosts:
            host.latency = PeakEwma(10.0, 0.0)
        self.rebuild()

    def rebuild(self) -> None:
        self.balancer = make_balancer(self.config, self.hosts, random.Random(SEED))
        self.twin = random.Random(SEED)
        unweighted = self.config.balancer in (Balancer.RANDOM, Balancer.PEAK_EWMA)
        self.equal = len({host.weight for host in self.hosts}) == 1 or unweighted
        if len(self.hosts) == 1:
            return
        if self.config.balancer is Balancer.ROUND_ROBIN and self.equal:
            self.turn = self.twin.randrange(len(self.hosts))
        elif not self.equal:
            start = self.twin.random() * max(1.0, *[1.0 / self.weight(host) for host in self.hosts])
            self.due: list[tuple[float, BalancedHost]] = []
            for host in sorted(self.hosts, key=lambda host: int(start * self.weight(host)) / self.weight(host)):
                self.due.append(((int(start * self.weight(host)) + 1) / self.weight(host), host))

    def weight(self, host: BalancedHost) -> float:
        least_request = self.config.balancer is Balancer.LEAST_REQUEST
        return host.weight / (host.active + 1) if least_request else float(host.weight)

    @rule(times=st.integers(1, 12))
    def pick(self, times: int) -> None:
        for _ in range(times):
            picked = self.balancer.pick(self.now)
            assert picked is self.naive_pick()
            picked.active += 1

    def naive_pick(self) -> BalancedHost:
        if len(self.hosts) == 1:
            return self.hosts[0]
        if not self.equal:
            due, host = min(self.due, key=lambda entry: entry[0])  # the first of those with the same deadline
            self.due.remove((due, host))
            self.due.append((due + 1.0 / self.weight(host), host))
            return host
        if self.config.balancer is Balancer.ROUND_ROBIN:
            self.turn += 1
            return self.hosts[(self.turn - 1) % len(self.hosts)]
        if self.config.balancer is Balancer.PEAK_EWMA:
            first = self.hosts[int(self.twin.random() * len(self.hosts))]
            others = [host for host in self.hosts if host is not first]
            return min(first, others[int(self.twin.random() * len(others))], key=self.cost)
        drawn = [self.hosts[int(self.twin.random() * len(self.hosts))]]
        if self.config.balancer is Balancer.LEAST_REQUEST:
            drawn += [
                self.hosts[int(self.twin.random() * len(self.hosts))] for _ in range(self.config.choice_count - 1)
            ]
        return min(drawn, key=lambda host: host.active)  # min keeps the first of equals

    def cost(self, host: BalancedHost) -> float:
        assert host.latency is not None
        return host.latency.at(self.now) * (host.active + 1)

    @rule(data=st.data(), seconds=st.floats(0.001, 5.0))
    def finish_a_request(self, data: st.DataObject, seconds: float) -> None:
        busy = [host for host in self.hosts if host.active]
        if busy:
            host = data.draw(st.sampled_from(busy))
            host.active -= 1
            assert host.latency is not None
            host.latency.record(seconds, self.now)

    @rule(seconds=st.floats(0.0, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.hosts) < 8)
    @rule(weight=st.sampled_from([1, 1, 1, 3]))
    def add_host(self, weight: int) -> None:
        self.hosts.append(BalancedHost(f"n{len(self.hosts)}", weight, latency=PeakEwma(10.0, self.now)))
        self.rebuild()

    @precondition(lambda self: len(self.hosts) > 1)
    @rule(data=st.data())
    def remove_host(self, data: st.DataObject) -> None:
        self.hosts.remove(data.draw(st.sampled_from(self.hosts)))
        self.rebuild()


TestBalancingAgainstNaiveScan = BalancingAgainstNaiveScan.TestCase
TestBalancingAgainstNaiveScan.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def least_request_that_prefers_the_last(self: LeastRequest[BalancedHost], now: float, /) -> BalancedHost:
    one, other = (self._hosts[int(self._draw() * self._count)] for _ in range(2))
    return other if other.active <= one.active else one  # `<=` for `<`


def least_latency_of_perhaps_one(self: LeastLatency[BalancedHost], now: float, /) -> BalancedHost:
    drawn = [self._hosts[int(self._draw() * self._count)] for _ in range(2)]  # the same may be drawn twice
    return min(drawn, key=lambda host: host.latency.at(now) * (host.active + 1) if host.latency else 0.0)


def least_latency_blind_to_load(self: LeastLatency[BalancedHost], now: float, /) -> BalancedHost:
    first = int(self._draw() * self._count)
    second = int(self._draw() * (self._count - 1))
    pair = [self._hosts[first], self._hosts[second + (second >= first)]]
    return min(pair, key=lambda host: host.latency.at(now) if host.latency else 0.0)  # without `active + 1`


@pytest.mark.parametrize(
    ("kind", "pick"),
    [
        (LeastRequest, least_request_that_prefers_the_last),
        (LeastLatency, least_latency_of_perhaps_one),
        (LeastLatency, least_latency_blind_to_load),
    ],
)
def test_planted_bugs_in_picking_are_found(kind: type, pick: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "pick", pick)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(BalancingAgainstNaiveScan, settings=UNTIL_FOUND)
