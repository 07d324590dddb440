"""CPU time of one simulated host among all that run in this process: that of its tasks' steps, by Trio's instruments."""

import time
from collections.abc import Callable

import trio


class CpuOfHost(trio.abc.Instrument):
    """Adds up the CPU time of every task that descends from a host's own; what the simulated network does is nobody's."""

    def __init__(self, host: str, *, clock_ns: Callable[[], int] = time.thread_time_ns) -> None:
        self._prefix = f"{host}/"
        self._clock_ns = clock_ns
        self._total_ns = 0
        self._began_ns = -1  # of the step that runs now, if it is the host's
        self._owned: dict[trio.lowlevel.Task, bool] = {}

    def cpu_s(self) -> float:
        """Return the CPU seconds so far, the part of a step that is running included."""
        running_ns = self._clock_ns() - self._began_ns if self._began_ns >= 0 else 0
        return (self._total_ns + running_ns) / 1e9

    def coroutines(self) -> list[object]:
        """Return what the host's tasks run, in the order of their first steps."""
        return [task.coro for task, owned in self._owned.items() if owned]

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        owned = self._owned.get(task)
        if owned is None:
            owned = self._owned[task] = self._is_owned(task)
        if owned:
            self._began_ns = self._clock_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began_ns >= 0:
            self._total_ns += self._clock_ns() - self._began_ns
            self._began_ns = -1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._owned.pop(task, None)

    def _is_owned(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task.name.startswith(self._prefix):
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return False
