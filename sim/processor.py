"""What lets the code of a simulated host run: at full speed, slowly, or not at all.

At full speed code takes no virtual time and nothing here is asked: reactor and clock have no gate then.

Paused, as SIGSTOP, a long garbage collection or a starved virtual CPU do it: no pump, callback or task of the host takes a
step. Its kernel goes on: it acknowledges, takes bytes until the window is full and connections until the backlog is. At
the end pumps and tasks see what has arrived first, then the timers that are late, and Trio's deadlines last.

Slow by a factor f: one core serves what the host has to do, in the order in which it came up. A step of a pump takes
(f - 1) * PUMP_STEP_S, a step of a task (f - 1) * TASK_STEP_S, a handshake (f - 1) * HANDSHAKE_S. Beyond what that core can do,
steps queue, and so do the timers behind them. What an application's work takes is its service's affair.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from mesh.runtime.pump import Pump
from sim.clock import NS_PER_S, SimClock
from sim.scheduling import deadlines_within, requeue

PUMP_STEP_S = 28e-6  # A proxied request takes 57 us and two steps. Source: mesh/runtime/reactor.py, measured.
TASK_STEP_S = 100e-6  # Between a wake-up (some 12 us) and the build of a configuration (milliseconds).
HANDSHAKE_S = 900e-6  # One side of a full mutual handshake, measured with OpenSSL 3.0.

Step = tuple[Callable[[Any], object], Any]


class Processor:
    """Owns what a host's code waits for when it may not run at once. One a host; a power cut empties it."""

    def __init__(self, clock: SimClock, withholding: "Withholding") -> None:
        self.late = 0  # steps so far that did not run when they would have
        self.root: trio.lowlevel.Task | None = None  # above all tasks of the current incarnation
        self.on_gate: Callable[[Processor | None], None] = lambda gate: None  # told when the gate comes or goes
        self._clock = clock
        self._withholding = withholding
        self._pauses = 0
        self._factors: list[float] = []
        self._excess = 0.0  # the product of the factors, less 1
        self._busy_until_ns = 0
        self._pumps: dict[Pump, None] = {}  # that have a step to come
        self._events: deque[Step] = deque()  # since the pause, in order of arrival
        self._timers: deque[Step] = deque()  # that came due since
        self._stopped: list[trio.lowlevel.Task] = []  # by the pause
        self._queued: dict[trio.lowlevel.Task, None] = {}  # for the slow core
        self._served: dict[trio.lowlevel.Task, None] = {}  # by the slow core: their next step is paid for
        self._deadlines: dict[trio.CancelScope, float] = {}  # of the host's scopes, during a pause

    # The operator's side.

    @property
    def gate(self) -> "Processor | None":
        """What every step has to ask; None at full speed."""
        return self if self._pauses or self._factors else None

    @property
    def paused(self) -> bool:
        return self._pauses > 0

    @property
    def slow(self) -> bool:
        return bool(self._factors)

    def pause(self) -> None:
        """Stop. Pauses count: the host goes on when each has had its `resume`."""
        self._pauses += 1
        if self._pauses == 1:
            self._gate_changed()
            if self.root is not None:
                self._deadlines = deadlines_within(self.root)
                for scope in self._deadlines:
                    scope.deadline = math.inf

    def resume(self) -> None:
        """Take one pause back; at the last one everything comes, late."""
        assert self._pauses, "not paused"
        self._pauses -= 1
        if self._pauses:
            return
        self._gate_changed()
        for entry in (*self._events, *self._timers):
            self._clock.push(self._clock.now_ns, self._replay, entry)
        self._events.clear()
        self._timers.clear()
        self._requeue_tasks()
        for scope, deadline in self._deadlines.items():
            scope.deadline = deadline
        self._deadlines = {}

    def slow_down(self, factor: float) -> None:
        """Be slower by a factor, on top of others."""
        self._factors.append(factor)
        self._gate_changed()

    def speed_up(self, factor: float) -> None:
        """Take one `slow_down` back; what waits for the core still does."""
        self._factors.remove(factor)
        self._gate_changed()

    def end_life(self) -> None:
        """Forget the host's incarnation: its tasks may run, to end."""
        self.root = None
        self._pauses = 0
        self._pumps.clear()
        self._events.clear()
        self._timers.clear()
        self._deadlines = {}
        self._requeue_tasks()
        self._busy_until_ns = 0
        self._gate_changed()

    # The code's side.

    def step(self, pump: Pump) -> None:
        """Let a pump take a step, when it may."""
        if pump not in self._pumps:
            self._pumps[pump] = None
            self.late += 1
            self._admit(pump)

    def accept(self, run: Callable[[Any], object], argument: object) -> None:
        """Do what a new connection asks for, when that may be."""
        self.late += 1
        if self._pauses:
            self._events.append((run, argument))
        else:
            self._clock.push(self._after(PUMP_STEP_S), self._replay, (run, argument))

    def soon(self, run: Callable[[Any], object], argument: object) -> None:
        """Go on with a turn that has had its step."""
        self._replay((run, argument))

    def timer(self, run: Callable[[Any], object], argument: object) -> None:
        """Do what is due, after what came up before it."""
        if self._pauses:
            self.late += 1
            self._timers.append((run, argument))
        elif self._busy_until_ns > self._clock.now_ns:
            self._clock.push(self._busy_until_ns, self._replay, (run, argument))
        else:
            run(argument)

    def withholds(self, task: trio.lowlevel.Task) -> bool:
        """Say whether a task of this host may not take its step now; it is queued again when it may."""
        if self._pauses:
            self.late += 1
            self._stopped.append(task)
            return True
        if not self._factors:
            return False
        if task in self._served:
            del self._served[task]
            return False
        self.late += 1
        self._queued[task] = None
        self._clock.push(self._after(TASK_STEP_S), self._serve, task)
        return True

    def spend(self, seconds: float) -> None:
        """Take this much of the core at full speed, before the next step."""
        if self._factors:
            self._after(seconds)

    # Its inside.

    def _gate_changed(self) -> None:
        factor = math.prod(self._factors)
        self._excess = max(0.0, factor - 1.0)
        gate = self.gate
        self.on_gate(gate)
        self._withholding.set(self, active=gate is not None)

    def _after(self, seconds: float) -> int:
        """Return when the core is through with something that takes so long at full speed."""
        begin_ns = max(self._busy_until_ns, self._clock.now_ns)
        self._busy_until_ns = begin_ns + round(seconds * self._excess * NS_PER_S)
        return self._busy_until_ns

    def _admit(self, pump: Pump) -> None:
        if self._pauses:
            self._events.append((self._admit, pump))
        elif self._factors:
            self._clock.push(self._after(PUMP_STEP_S), self._run, pump)
        else:
            self._run(pump)

    def _run(self, pump: Pump) -> None:
        if self._pauses:
            self._events.append((self._admit, pump))
        elif pump in self._pumps:
            del self._pumps[pump]
            Pump.resume(pump)

    def _replay(self, entry: Step) -> None:
        if self._pauses:
            self._events.append(entry)
        else:
            run, argument = entry
            run(argument)

    def _serve(self, task: trio.lowlevel.Task) -> None:
        if task in self._queued:
            del self._queued[task]
            if self._factors:
                self._served[task] = None
            requeue(task)

    def _requeue_tasks(self) -> None:
        stopped, self._stopped = self._stopped, []
        for task in stopped:
            requeue(task)
        if self.root is None:
            queued, self._queued = self._queued, {}
            self._served.clear()
            for task in queued:
                requeue(task)


class Withholding:
    """Keeps tasks of gated hosts out of Trio's batches. One a world; the clock knows of it only while it is needed."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._gated: dict[Processor, None] = {}

    def set(self, processor: Processor, *, active: bool) -> None:
        """Ask a processor about its tasks from now on, or no longer."""
        if active:
            self._gated[processor] = None
        else:
            self._gated.pop(processor, None)
        self._clock.withhold = self._filter if self._gated else None

    def _filter(self, batch: list[trio.lowlevel.Task]) -> None:
        by_root = {processor.root: processor for processor in self._gated if processor.root is not None}
        if by_root:
            batch[:] = [task for task in batch if not _is_withheld(task, by_root)]


def _is_withheld(task: trio.lowlevel.Task, by_root: dict[trio.lowlevel.Task, Processor]) -> bool:
    above: trio.lowlevel.Task | None = task
    while above is not None:
        processor = by_root.get(above)
        if processor is not None:
            return processor.withholds(task)
        above = above.parent_nursery.parent_task if above.parent_nursery is not None else None
    return False
