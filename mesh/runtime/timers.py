"""Timers of the reactor: a heap of instants and callbacks. Pure: time is an argument.

A timer cannot be taken back, so a pump whose deadline moved, or which ended, leaves one behind. Those of far deadlines
would pile up over hours; they are swept when the heap has doubled since the last sweep.
"""

import heapq
import itertools
import math
from collections.abc import Callable

_SWEEP_MIN = 1024

Callback = Callable[[], None]
IsStale = Callable[[float, Callback], bool]


class TimerHeap:
    """Callbacks by instant, equal instants in the order of their arrival. `is_stale(when, callback)` tells what to sweep."""

    __slots__ = ("_entries", "_is_stale", "_sequence", "_sweep_at")

    def __init__(self, is_stale: IsStale) -> None:
        self._entries: list[tuple[float, int, Callback]] = []
        self._sequence = itertools.count()
        self._is_stale = is_stale
        self._sweep_at = _SWEEP_MIN

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next_at(self) -> float:
        """The earliest instant; inf when there is none."""
        return self._entries[0][0] if self._entries else math.inf

    def add(self, when: float, callback: Callback) -> None:
        if len(self._entries) >= self._sweep_at:
            self._sweep()
        heapq.heappush(self._entries, (when, next(self._sequence), callback))

    def pop_due(self, now: float) -> Callback | None:
        """Take out the next callback that is due at `now`."""
        if self._entries and self._entries[0][0] <= now:
            return heapq.heappop(self._entries)[2]
        return None

    def clear(self) -> None:
        self._entries.clear()

    def _sweep(self) -> None:
        self._entries = [entry for entry in self._entries if not self._is_stale(entry[0], entry[2])]
        heapq.heapify(self._entries)
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self._entries))
