"""Priorities: how much of the traffic each level of endpoints gets, and which levels panic.

Pure. Source: Envoy LoadBalancerBase::{recalculatePerPriorityState, recalculatePerPriorityPanic, recalculateLoadInTotalPanic,
distributeLoad}, docs "Priority levels" and "Panic threshold". There are no degraded hosts here.
"""

from collections.abc import Collection, Sequence

import attrs


@attrs.frozen
class HostCounts:
    """How many hosts a level has, and how many of them are usable."""

    usable: int
    total: int


@attrs.frozen
class PriorityLoads:
    """Of each level its percentage of the traffic, which make 100 together, and whether it uses all its hosts in panic."""

    percents: tuple[int, ...]
    panicking: tuple[bool, ...]


def priority_loads(
    levels: Sequence[HostCounts], *, panic_percent: float, overprovisioning_percent: float
) -> PriorityLoads:
    """Return what each of `levels` gets; there is at least one, in the order in which they are preferred.

    Healthy enough to carry all load, no level panics, however few of its hosts are usable. Where all panic, health says
    nothing any more, and hosts share alike.
    """
    healths = _healths(levels, overprovisioning_percent)
    covered = min(100, sum(healths))
    threshold = min(panic_percent, 100.0)
    panicking = tuple(covered < 100 and 100.0 * level.usable < threshold * level.total for level in levels)
    if all(panicking):
        return PriorityLoads(_by_host_counts(levels), panicking)
    if covered:
        return PriorityLoads(_distributed(healths, covered), panicking)
    # No level's health is a whole percent. All to the first that has a host left; where none has, there is none to find.
    first = next((index for index, level in enumerate(levels) if level.usable), 0)
    return PriorityLoads(tuple(100 if index == first else 0 for index in range(len(levels))), panicking)


def percents_without(
    levels: Sequence[HostCounts], omitted: Collection[int], *, overprovisioning_percent: float
) -> tuple[int, ...] | None:
    """Return each level's percentage when the `omitted` ones (indices) get nothing; None: then nobody could take it.

    Source: Envoy PreviousPrioritiesRetryPriority::adjustForAttemptedPriorities.
    """
    healths = [
        0 if index in omitted else health for index, health in enumerate(_healths(levels, overprovisioning_percent))
    ]
    covered = min(100, sum(healths))
    return _distributed(healths, covered) if covered else None


def _healths(levels: Sequence[HostCounts], overprovisioning_percent: float) -> list[int]:
    return [
        min(100, int(overprovisioning_percent * level.usable / level.total)) if level.total else 0 for level in levels
    ]


def _distributed(healths: Sequence[int], covered: int) -> tuple[int, ...]:
    percents, rest = [], 100
    for health in healths:
        percents.append(min(rest, health * 100 // covered))
        rest -= percents[-1]
    # What whole percents lose goes to the first level that can take it.
    percents[next(index for index, health in enumerate(healths) if health)] += rest
    return tuple(percents)


def _by_host_counts(levels: Sequence[HostCounts]) -> tuple[int, ...]:
    total = sum(level.total for level in levels)
    percents = [100 * level.total // total for level in levels]
    percents[next(index for index, level in enumerate(levels) if level.total)] += 100 - sum(percents)
    return tuple(percents)
