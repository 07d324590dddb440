"""Priorities: Envoy's documented tables, and what holds for any levels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing.priorities import HostCounts, PriorityLoads, percents_without, priority_loads


def loads_of(*usable: int, total: int = 100, panic: float = 50.0, over: float = 140.0) -> PriorityLoads:
    levels = [HostCounts(count, total) for count in usable]
    return priority_loads(levels, panic_percent=panic, overprovisioning_percent=over)


@pytest.mark.parametrize(
    ("usable", "percents"),
    [
        # docs/root/intro/arch_overview/upstream/load_balancing/priority.rst
        ((100, 100), (100, 0)),
        ((72, 72), (100, 0)),
        ((71, 71), (99, 1)),
        ((50, 60), (70, 30)),
        ((25, 100), (35, 65)),
        ((0, 100), (0, 100)),
        ((100, 100, 100), (100, 0, 0)),
        ((72, 72, 100), (100, 0, 0)),
        ((71, 71, 100), (99, 1, 0)),
        ((50, 50, 100), (70, 30, 0)),
        ((25, 100, 100), (35, 65, 0)),
        ((25, 25, 100), (35, 35, 30)),
    ],
)
def test_load_spills_over_as_envoys_documentation_says(usable: tuple[int, ...], percents: tuple[int, ...]) -> None:
    loads = loads_of(*usable)
    assert loads.percents == percents
    assert not any(loads.panicking)


@pytest.mark.parametrize(
    ("usable", "percents", "panicking"),
    [
        # panic_threshold.rst, default threshold; what it rounds to 7 and 93 is 8 and 92 in the code
        ((72, 71), (100, 0), (False, False)),
        ((71, 1), (99, 1), (False, False)),
        ((50, 50), (70, 30), (False, False)),
        ((25, 65), (35, 65), (False, False)),
        ((25, 25), (50, 50), (True, True)),  # health says nothing any more: by the numbers of hosts
        ((5, 65), (8, 92), (True, False)),
    ],
)
def test_levels_panic_when_together_they_cannot_carry_the_load(
    usable: tuple[int, ...], percents: tuple[int, ...], panicking: tuple[bool, ...]
) -> None:
    assert loads_of(*usable) == PriorityLoads(percents, panicking)


def test_load_is_scaled_up_where_all_levels_together_are_too_weak() -> None:
    # 14 and 28 of 100 would leave 58 unserved; what whole percents lose goes to the first healthy level.
    assert loads_of(10, 20, panic=0.0).percents == (34, 66)
    assert loads_of(0, 10, 20, panic=0.0).percents == (0, 34, 66)


@pytest.mark.parametrize(
    ("usable", "total", "panic", "panicking"),
    [
        (10, 10, 50.0, False),
        (5, 10, 50.0, False),  # not below the threshold
        (4, 10, 50.0, True),
        (0, 10, 50.0, True),
        (0, 10, 0.0, False),  # 0 never panics: no healthy upstream
        (1, 10, 0.0, False),
        (7, 10, 90.0, True),
        (8, 10, 90.0, False),  # 1.4 x 80 % is all of the load
        (9, 10, 100.0, False),
        (1, 10, 300.0, True),
    ],
)
def test_one_level_panics_below_its_threshold(usable: int, total: int, panic: float, panicking: bool) -> None:
    assert loads_of(usable, total=total, panic=panic) == PriorityLoads((100,), (panicking,))


def test_overprovisioning_says_when_load_spills_and_when_panic_ends() -> None:
    assert loads_of(80, 100, over=100.0).percents == (80, 20)
    assert loads_of(80, 100, over=125.0).percents == (100, 0)
    assert loads_of(80, panic=90.0, over=100.0).panicking == (True,)
    assert loads_of(80, panic=90.0, over=125.0).panicking == (False,)


def test_total_panic_shares_by_numbers_of_hosts() -> None:
    levels = [HostCounts(0, 1), HostCounts(0, 1), HostCounts(1, 5)]
    loads = priority_loads(levels, panic_percent=50.0, overprovisioning_percent=140.0)
    assert loads == PriorityLoads((15, 14, 71), (True, True, True))


def test_a_last_host_among_many_still_gets_the_traffic_where_nothing_panics() -> None:
    # Its health is no whole percent, as is nobody else's.
    levels = [HostCounts(0, 10), HostCounts(1, 1000)]
    assert priority_loads(levels, panic_percent=0.0, overprovisioning_percent=140.0).percents == (0, 100)


levels_ = st.lists(
    st.integers(1, 300).flatmap(lambda total: st.builds(HostCounts, st.integers(0, total), st.just(total))),
    min_size=1,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(levels_, st.sampled_from([0.0, 1.0, 50.0, 90.0, 100.0]), st.sampled_from([100.0, 140.0, 142.5, 333.0]))
def test_loads_make_a_hundred_and_go_where_hosts_are(levels: list[HostCounts], panic: float, over: float) -> None:
    loads = priority_loads(levels, panic_percent=panic, overprovisioning_percent=over)
    assert sum(loads.percents) == 100
    assert min(loads.percents) >= 0
    if not all(loads.panicking) and any(level.usable for level in levels):
        for level, percent, panicking in zip(levels, loads.percents, loads.panicking, strict=True):
            assert not percent or level.usable or panicking
    # A level panics only where too few of its hosts are usable, and never at threshold 0.
    for level, panicking in zip(levels, loads.panicking, strict=True):
        assert not panicking or level.usable * 100 < panic * level.total


@settings(max_examples=100, deadline=None)
@given(levels_, st.frozensets(st.integers(0, 5)))
def test_omitted_levels_get_nothing(levels: list[HostCounts], omitted: frozenset[int]) -> None:
    percents = percents_without(levels, omitted, overprovisioning_percent=140.0)
    left = [level for index, level in enumerate(levels) if index not in omitted]
    assert (percents is None) == all(140 * level.usable < level.total for level in left)
    if percents is not None:
        assert sum(percents) == 100
        assert not any(percent for index, percent in enumerate(percents) if index in omitted)
