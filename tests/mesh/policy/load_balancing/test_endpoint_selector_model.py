"""The selector over hosts that come, go, fall ill and recover, against rules read off lists."""

import random
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mesh.policy.load_balancing import Balancer, LoadBalancing, SlowStart, levels, localities, priorities, selector
from mesh.policy.load_balancing.balancers import RoundRobin
from mesh.policy.load_balancing.hashed_weights import weigh_hosts
from tests.mesh.policy.load_balancing.balanced_host import UNTIL_FOUND, BalancedHost, selector_over

HASHING = (Balancer.RING_HASH, Balancer.MAGLEV)
configs = st.builds(
    LoadBalancing,
    balancer=st.sampled_from(Balancer),
    slow_start=st.sampled_from([None, None, SlowStart(window_s=5.0)]),
    ring_size_min=st.just(64),
    table_size=st.just(251),
    panic_percent=st.sampled_from([0.0, 50.0, 50.0, 100.0]),
    fail_traffic_on_panic=st.sampled_from([False, False, True]),
    overprovisioning_percent=st.sampled_from([100.0, 140.0, 140.0]),
)
places = st.sampled_from([("", 0), ("", 0), ("a", 1), ("b", 3)])


class SelectorAgainstLists(RuleBasedStateMachine):
    """The model knows who may be picked, which key leads where on a selector without a past, and whose turn it is."""

    @initialize(config=configs, count=st.integers(1, 6), plain=st.booleans())
    def begin(self, config: LoadBalancing, count: int, plain: bool) -> None:
        self.plain = plain  # only turns of equal hosts, of which the model knows the order
        self.config = LoadBalancing(balancer=Balancer.ROUND_ROBIN) if plain else config
        self.hosts = [BalancedHost(f"h{index}") for index in range(count)]
        self.added = count
        self.now = 0.0
        self.panic_picks = 0
        self.turns: list[BalancedHost] = []  # in the order in which they are due, as of the last pick
        self.selector = selector_over(self.hosts, self.config)

    def rebuild(self) -> None:
        self.selector = selector_over(self.hosts, self.config, seed=self.added, now=self.now, previous=self.selector)

    # What the model says.

    def levels(self) -> dict[int, list[BalancedHost]]:
        return {
            priority: [host for host in self.hosts if host.priority == priority]
            for priority in sorted({host.priority for host in self.hosts})
        }

    def health(self, level: Sequence[BalancedHost]) -> int:
        return min(100, int(self.config.overprovisioning_percent) * sum(host.usable for host in level) // len(level))

    def panics(self, level: Sequence[BalancedHost]) -> bool:
        enough = sum(map(self.health, self.levels().values())) >= 100
        return not enough and 100 * sum(host.usable for host in level) / len(level) < self.config.panic_percent

    def percents(self, omitted: frozenset[int]) -> dict[int, int]:
        """Hand out a hundred percents one level after the other."""
        found = self.levels()
        if all(map(self.panics, found.values())):
            parts = {priority: 100 * len(level) // len(self.hosts) for priority, level in found.items()}
            first = next(iter(parts))
        else:
            parts = self.parts({priority: self.health(level) for priority, level in found.items()})
            first = next(
                (priority for priority, level in found.items() if any(host.usable for host in level)), min(found)
            )
        left = {priority: 0 if priority in omitted else self.health(level) for priority, level in found.items()}
        if omitted and any(left.values()):
            parts, first = self.parts(left), next(priority for priority, health in left.items() if health)
        parts[first] += 100 - sum(parts.values())
        return parts

    def parts(self, healths: dict[int, int]) -> dict[int, int]:
        covered, rest = min(100, sum(healths.values())), 100
        parts = {}
        for priority, health in healths.items():
            parts[priority] = min(rest, health * 100 // covered) if covered else 0
            rest -= parts[priority]
        return parts

    def candidates(self, level: Sequence[BalancedHost]) -> list[BalancedHost]:
        if self.panics(level):
            return [] if self.config.fail_traffic_on_panic else list(level)
        usable = [host for host in level if host.usable]
        weight_by_place: dict[str, int] = {}
        for host in level:
            weight_by_place.setdefault(host.locality, host.locality_weight)
        return [host for host in usable if weight_by_place[host.locality]] or usable

    # What happens.

    @rule(
        keys=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=4),
        attempt=st.integers(0, 3),
        omitted=st.frozensets(st.integers(0, 2), max_size=2),
    )
    def pick(self, keys: list[int], attempt: int, omitted: frozenset[int]) -> None:
        for key in keys:
            self.pick_one(key, attempt, omitted)

    def pick_one(self, key: int, attempt: int, omitted: frozenset[int]) -> None:
        found, percents = self.levels(), self.percents(omitted) if self.hosts else {}
        serving = [priority for priority, percent in percents.items() if percent]
        if self.config.balancer in HASHING and self.hosts:
            reached = [priority for priority in found for _ in range(percents[priority])]
            serving = [reached[key % 100]]
        picked = self.selector.pick(self.now, key, attempt, omitted)
        allowed = [host for priority in serving for host in self.candidates(found[priority])]
        assert (
            picked in allowed
            if picked
            else any(not self.candidates(found[priority]) for priority in serving) or not found
        )
        if len(serving) == 1:
            self.panic_picks += self.panics(found[serving[0]])
            assert self.selector.panic_picks == self.panic_picks
        self.panic_picks = self.selector.panic_picks
        if self.config.balancer in HASHING:
            assert selector_over(self.hosts, self.config).pick(self.now, key, attempt, omitted) is picked
        if picked:
            self.take_turn(picked, allowed)

    def take_turn(self, picked: BalancedHost, members: list[BalancedHost]) -> None:
        """Whoever stays keeps his place among those who stay."""
        if not self.plain:
            return
        due = next((host for host in self.turns if host in members), None)
        assert due is None or picked is due
        at = members.index(picked) + 1
        self.turns = members[at:] + members[:at]

    @rule(priority=st.sampled_from([0, 0, 1, 2]), weight=st.sampled_from([1, 1, 1, 4]), place=places)
    def add_host(self, priority: int, weight: int, place: tuple[str, int]) -> None:
        if len(self.hosts) < 9:
            name, locality_weight = place
            if self.plain:
                priority, weight, name, locality_weight = 0, 1, "", 0
            host = BalancedHost(
                f"h{self.added}", weight, priority=priority, locality=name, locality_weight=locality_weight
            )
            host.healthy_since = self.now
            self.hosts.insert(self.added % (len(self.hosts) + 1), host)
            self.added += 1
            self.rebuild()

    @precondition(lambda self: self.hosts)
    @rule(data=st.data())
    def remove_host(self, data: st.DataObject) -> None:
        self.hosts.remove(data.draw(st.sampled_from(self.hosts)))
        self.rebuild()

    @precondition(lambda self: self.hosts)
    @rule(data=st.data())
    def fall_ill_or_recover(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(self.hosts))
        host.usable = not host.usable
        host.healthy_since = self.now
        self.rebuild()

    @precondition(lambda self: self.hosts and not self.plain)
    @rule(data=st.data(), weight=st.integers(1, 4))
    def weigh_anew(self, data: st.DataObject, weight: int) -> None:
        data.draw(st.sampled_from(self.hosts)).weight = weight
        self.rebuild()

    @rule()
    def same_again(self) -> None:
        self.rebuild()

    @precondition(lambda self: not self.plain)
    @rule(config=configs)
    def configure(self, config: LoadBalancing) -> None:
        self.config = config
        self.rebuild()

    @rule(seconds=st.floats(0.1, 4.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def panic_is_what_the_lists_say(self) -> None:
        if hasattr(self, "hosts"):
            assert self.selector.panicking == any(map(self.panics, self.levels().values()))

    @invariant()
    def latencies_are_there_where_they_are_asked_for(self) -> None:
        if hasattr(self, "hosts"):
            for host in self.hosts:
                assert (host.latency is not None) == (self.config.balancer is Balancer.PEAK_EWMA)


TestSelectorAgainstLists = SelectorAgainstLists.TestCase
TestSelectorAgainstLists.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def forget_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundRobin, "go_on_from", lambda self, previous: None)


def omit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ignoring(counts: Sequence[priorities.HostCounts], omitted: object, **spans: float) -> object:
        return priorities.percents_without(counts, (), overprovisioning_percent=spans["overprovisioning_percent"])

    monkeypatch.setattr(selector, "percents_without", ignoring)


def keep_who_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(config: LoadBalancing, hosts: object, random_: object, kept: object, *, now: float) -> object:
        return kept or localities.keep_or_make(config, hosts, random_, None, now=now)  # type: ignore[type-var, arg-type]

    monkeypatch.setattr(levels, "keep_or_make", lazy)


def keep_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def made_once(self: levels.HashedLevel[BalancedHost]) -> Sequence[BalancedHost]:
        owners, weights = weigh_hosts(self._hosts)
        if self._weights is None:
            self._weights, self._table = weights, levels._make_table(self._config, weights)
        return [owners[index % len(owners)] for index in range(len(self._weights.labels))]

    monkeypatch.setattr(levels.HashedLevel, "_make", made_once)


def always_overprovision_by_140(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(
        counts: Sequence[priorities.HostCounts], *, panic_percent: float, **spans: float
    ) -> priorities.PriorityLoads:
        return priorities.priority_loads(counts, panic_percent=panic_percent, overprovisioning_percent=140.0)

    monkeypatch.setattr(selector, "priority_loads", fixed)


def panic_when_one_level_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    def eager(
        counts: Sequence[priorities.HostCounts], *, panic_percent: float, **spans: float
    ) -> priorities.PriorityLoads:
        over = spans["overprovisioning_percent"]
        loads = priorities.priority_loads(counts, panic_percent=panic_percent, overprovisioning_percent=over)
        low = tuple(100 * level.usable < panic_percent * level.total for level in counts)
        return attrs.evolve(loads, panicking=low)  # although others carry the load

    monkeypatch.setattr(selector, "priority_loads", eager)


@pytest.mark.parametrize(
    "plant",
    [
        forget_turns,
        omit_nothing,
        keep_who_left,
        keep_a_table,
        always_overprovision_by_140,
        panic_when_one_level_is_low,
    ],
)
def test_planted_bugs_are_found(plant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(plant)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SelectorAgainstLists, settings=settings(UNTIL_FOUND, max_examples=300))


def test_a_seed_says_all() -> None:
    """The same hosts, the same draws: the same picks, in any process."""
    hosts = [BalancedHost(f"h{index}", 1 + index % 3, priority=index % 2) for index in range(8)]
    for balancer in Balancer:
        config = LoadBalancing(balancer=balancer)
        runs = []
        for _ in range(2):
            made = selector_over(hosts, config, seed=5)
            chance = random.Random(3)
            runs.append([made.pick(0.0, chance.getrandbits(64)) for _ in range(50)])
        assert runs[0] == runs[1]
