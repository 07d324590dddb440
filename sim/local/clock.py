"""The clock of the simulated network where time is real: its events happen when the reactor's clock has reached them."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from mesh.runtime.environment import Reactor
from sim.clock import NS_PER_S, Event

_EARLY_NS = 1_000  # Seconds as a float round by less; an event is never late for it.


class ReactorClock:
    """What `sim.network` needs of a clock, on the reactor of a real process.

    Its users push onto `heap` themselves, after they have counted up `sequence`: so that is where an event is noticed.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.heap: list[Event] = []
        self._reactor = reactor
        self._sequence = 0
        self._looking = False  # `_run` is to be called at the end of this turn, or runs
        self._armed_ns = 0  # when a timer calls it; 0: none does

    @property
    def now_ns(self) -> int:
        return round(self._reactor.now() * NS_PER_S)

    @property
    def now_s(self) -> float:
        return self._reactor.now()

    @property
    def sequence(self) -> int:
        return self._sequence

    @sequence.setter
    def sequence(self, number: int) -> None:
        self._sequence = number
        if not self._looking:
            self._looking = True
            self._reactor.call_soon(self._run)

    def push(self, due_ns: int, callback: Callable[[Any], object], argument: Any) -> None:
        """Call `callback(argument)` at `due_ns`, or at the end of this turn when that is past."""
        self.sequence = number = self._sequence + 1
        heappush(self.heap, (due_ns, number, callback, argument))

    def _on_timer(self) -> None:
        self._armed_ns = 0
        self._run()

    def _run(self) -> None:
        heap, due_ns = self.heap, self.now_ns + _EARLY_NS
        self._looking = True
        try:
            while heap and heap[0][0] <= due_ns:
                _, _, callback, argument = heappop(heap)
                callback(argument)
        finally:
            self._looking = False
            if heap:
                self._arm(heap[0][0])

    def _arm(self, due_ns: int) -> None:
        if not self._armed_ns or due_ns < self._armed_ns:
            self._armed_ns = due_ns
            self._reactor.call_at(due_ns / NS_PER_S, self._on_timer)
