"""Virtual time: Trio's clock with an event heap of its own.

Trio asks its clock how long to sleep whenever no task can run. This clock runs due events right there, moves time to
the next event or deadline, and never really sleeps. Events are plain calls: deliver a segment, resume a pump, wake a
task. They run outside any task, in the order of (time, order of scheduling).

All events of one instant run before the tasks that they woke: one pass of Trio's loop serves many wake-ups.
The clock never raises inside Trio's loop, which would kill it. It tells `on_failure` about a deadlock (nothing can ever
happen), a livelock (time does not advance) or an event that raised, and whoever listens ends the run.
"""

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import trio

from sim.scheduling import Runner, current_runner

NS_PER_S = 1_000_000_000
FOREVER_NS = 1 << 62
EVENTS_PER_TURN = 20_000  # Then Trio gets a pass: for Ctrl-C, and for tasks that other threads of thought woke.
EVENTS_PER_INSTANT_MAX = 2_000_000
PASSES_PER_INSTANT_MAX = 2_000_000
EVENTS_PER_HOUSEKEEPING = 1 << 16
IDLE_PASSES_MAX = 10  # Trio's own start and end wake tasks through a pipe, which takes a pass.

Event = tuple[int, int, Callable[[Any], object], Any]  # time in ns, sequence, callback, its argument


class SimulationStuck(Exception):
    """The simulated program's: the run cannot go on. The message names what waits."""


class SimDeadlock(SimulationStuck):
    """Nothing is scheduled and no task can run, so nothing can ever happen."""


class SimLivelock(SimulationStuck):
    """Events or tasks go round without virtual time advancing."""


def raise_failure(error: Exception) -> None:
    """Raise after all: for a clock that nobody watches."""
    raise error


def ns_at_or_after(seconds: float) -> int:
    """Return the first nanosecond whose float seconds are not before `seconds`; FOREVER_NS for inf and the like."""
    if seconds > 4e9:
        return FOREVER_NS
    if seconds <= 0:
        return 0
    ns = round(seconds * NS_PER_S)
    # The product may have been rounded down. A deadline must not be in the future when the clock stands at it.
    return ns if ns / NS_PER_S >= seconds else ns + 1


class SimClock(trio.abc.Clock):
    """Time of one simulated run, in integer nanoseconds since its start; `current_time` gives float seconds."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.heap: list[Event] = []
        self.sequence = 0  # events scheduled so far; ties in time run in this order
        self.on_failure: Callable[[Exception], None] = raise_failure
        self.withhold: Callable[[list[Any]], None] | None = None  # see sim.processor
        self.on_housekeeping: Callable[[], None] = lambda: None  # called about every EVENTS_PER_HOUSEKEEPING events
        self._runner: Runner | None = None
        self._housekeeping_at = EVENTS_PER_HOUSEKEEPING
        self._instant_sequence = 0  # `sequence` when the current instant began
        self._deadline = 0.0  # Trio's next one, as of the last pass
        self._deadline_ns = 0
        self._idle_passes = 0
        self._passes_ns = 0
        self._passes = 0

    @property
    def events_run(self) -> int:
        """Count the events that have happened."""
        return self.sequence - len(self.heap)

    @property
    def now_s(self) -> float:
        """The current time in seconds."""
        return self.now_ns / NS_PER_S

    def push(self, due_ns: int, callback: Callable[[Any], object], argument: Any) -> None:
        """Call `callback(argument)` at `due_ns`, or at once after the current event when that is past."""
        self.sequence = sequence = self.sequence + 1
        heappush(self.heap, (due_ns if due_ns > self.now_ns else self.now_ns, sequence, callback, argument))

    def start_clock(self) -> None:
        """Part of Trio's interface."""
        self._runner = current_runner()

    def current_time(self) -> float:
        """Return the time in seconds. Trio's loop reads it once a pass, which shows tasks that spin in one instant."""
        now_ns = self.now_ns
        if now_ns != self._passes_ns:
            self._passes_ns, self._passes = now_ns, 0
        self._passes += 1
        if self._passes > PASSES_PER_INSTANT_MAX:
            self._passes = 0
            self.on_failure(SimLivelock(f"tasks run without end at {self.now_s} s of virtual time"))
        return now_ns / NS_PER_S

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Run events until a task can run or Trio's next deadline is due; see the module's text."""
        runner = self._runner
        assert runner is not None
        runnable = runner.runq
        # A task in wait_all_tasks_blocked must wake before time moves, and only Trio can see that it may.
        idle = bool(runner.waiting_for_idle)
        if deadline != self._deadline:
            self._deadline, self._deadline_ns = deadline, ns_at_or_after(deadline)
        limit_ns = self.now_ns if idle else self._deadline_ns
        try:
            self._run_events(runnable, limit_ns)
            if self.sequence >= self._housekeeping_at:
                self._keep_house()
        except Exception as error:
            self.on_failure(error)
        if runnable or (self.heap and self.heap[0][0] <= limit_ns):
            self._idle_passes = 0
            return 0.0
        if idle:
            return math.inf
        if limit_ns == FOREVER_NS:
            self._idle()
            return 0.0
        self._idle_passes = 0
        if limit_ns > self.now_ns:
            self.now_ns = limit_ns
            self._instant_sequence = self.sequence
        return 0.0

    def _run_events(self, runnable: deque[object], limit_ns: int) -> None:
        """Run events up to a time, but no instant further once a task can run, and not too many in a row."""
        heap, now_ns = self.heap, self.now_ns
        for _ in range(EVENTS_PER_TURN):
            if not heap:
                break
            due_ns = heap[0][0]
            if due_ns != now_ns:
                if runnable or due_ns > limit_ns:
                    break
                self.now_ns = now_ns = due_ns
                self._instant_sequence = self.sequence
            _, _, callback, argument = heappop(heap)
            callback(argument)

    def _idle(self) -> None:
        self._idle_passes += 1
        if self._idle_passes > IDLE_PASSES_MAX:
            self._idle_passes = 0
            self.on_failure(SimDeadlock(f"nothing can happen any more at {self.now_s} s of virtual time"))

    def _keep_house(self) -> None:
        self._housekeeping_at = self.sequence + EVENTS_PER_HOUSEKEEPING
        self.on_housekeeping()
        if self.sequence - self._instant_sequence > EVENTS_PER_INSTANT_MAX:
            self._instant_sequence = self.sequence
            self.on_failure(SimLivelock(f"events follow one another without end at {self.now_s} s of virtual time"))
