"""Make Trio's scheduler repeatable: the only file that touches Trio's private names.

Trio has no public API for this (python-trio/trio#2675). Its minor version is pinned in pyproject.toml and
tests/sim/kernel/test_scheduling.py fails when one of the names changes its meaning.

With `_ALLOW_DETERMINISTIC_SCHEDULING` Trio sorts each batch of runnable tasks by age and has `_r` shuffle it. Our `_r`
keeps or reverses the batch, by one coin per virtual instant: the order of two tasks then depends on the seed and the
instant alone, never on which other tasks happen to be runnable. So an unused host changes nobody's order.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import trio
import trio._core._run as trio_run

from mesh.model.randomness import stream_seed


class Instant(Protocol):
    """Whatever knows the current virtual time, in nanoseconds."""

    now_ns: int
    withhold: Callable[[list[Any]], None] | None  # takes tasks out of a batch; they come back by `requeue`


class Runner(Protocol):
    """What a clock has to see of Trio's run loop."""

    runq: "deque[object]"  # the runnable tasks
    waiting_for_idle: Any  # true while a task waits in wait_all_tasks_blocked


class InstantCoin:
    """Stands in for Trio's `random.Random`: keeps or reverses all batches of one virtual instant."""

    def __init__(self, seed: int, instant: Instant) -> None:
        self._seed = stream_seed(seed, ("scheduling",)) >> 68  # 60 bits: the hash of such an int is the int.
        self._instant = instant

    def shuffle(self, batch: list[object]) -> None:
        """Order a batch; Trio runs it from its end."""
        if self._instant.withhold is not None:
            self._instant.withhold(batch)
        # The hash of a tuple of ints does not depend on PYTHONHASHSEED.
        if len(batch) > 1 and hash((self._seed, self._instant.now_ns)) & 64:
            batch.reverse()


@contextmanager
def deterministic_scheduling(seed: int, instant: Instant) -> Iterator[None]:
    """Order Trio's tasks by seed and virtual instant within the block; everything is put back afterwards."""
    module = cast(Any, trio_run)
    before = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r
    module._ALLOW_DETERMINISTIC_SCHEDULING = True
    module._r = InstantCoin(seed, instant)
    try:
        yield
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING, module._r = before


def current_runner() -> Runner:
    """Return the run loop of the current `trio.run`; for clocks, which see it before any task does."""
    return cast(Runner, trio_run.GLOBAL_RUN_CONTEXT.runner)


def requeue(task: trio.lowlevel.Task) -> None:
    """Let a task run that was taken out of a batch. What it was woken with is still with it."""
    current_runner().runq.append(task)


def tasks_within(root: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Return a task and all tasks below it, in no particular order."""
    yield root
    for nursery in root.child_nurseries:
        for child in nursery.child_tasks:
            yield from tasks_within(child)


def deadlines_within(root: trio.lowlevel.Task) -> dict[trio.CancelScope, float]:
    """Return the scopes of a task and of all tasks below it that have a deadline, with that deadline."""
    deadlines: dict[trio.CancelScope, float] = {}
    outside = cast(Any, root.parent_nursery)._cancel_status
    for task in tasks_within(root):
        status = cast(Any, task)._cancel_status
        while status is not None and status is not outside:
            if status._scope.deadline < math.inf:
                deadlines[status._scope] = status._scope.deadline
            status = status._parent
    return deadlines
