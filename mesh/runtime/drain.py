"""Draining: stop taking work, finish what is there, within a deadline. So that a rolling restart loses no request.

Pumps count their work with `enter` and `leave`, two additions each; listeners and pools learn of the drain by `on_begin`.
Does not close anything itself.
"""

import enum
import signal
from collections.abc import Awaitable, Callable

import trio
from structlog.typing import FilteringBoundLogger


class DrainState(enum.Enum):
    """Where a draining part is on its way out."""

    ACCEPTING = "accepting"
    DRAINING = "draining"
    DRAINED = "drained"


class Drain:
    """The work in flight of one part, and whether it still takes more."""

    __slots__ = ("_idle", "_on_begin", "draining", "in_flight")

    def __init__(self) -> None:
        self.draining = False  # read once a request: answer, but ask the peer to go elsewhere
        self.in_flight = 0
        self._idle = trio.Event()
        self._on_begin: list[Callable[[], None]] = []

    @property
    def state(self) -> DrainState:
        if not self.draining:
            return DrainState.ACCEPTING
        return DrainState.DRAINING if self.in_flight else DrainState.DRAINED

    def enter(self) -> None:
        """Count one piece of work; `leave` must follow."""
        self.in_flight += 1

    def leave(self) -> None:
        """Count one piece of work as finished."""
        self.in_flight -= 1
        if self.draining and not self.in_flight:
            self._idle.set()

    def on_begin(self, callback: Callable[[], None]) -> None:
        """Call back when draining begins: at once if it has. For closing listeners and idle connections."""
        if self.draining:
            callback()
        else:
            self._on_begin.append(callback)

    def begin(self) -> None:
        """Start to drain; safe to repeat."""
        if self.draining:
            return
        self.draining = True
        for callback in self._on_begin:
            callback()
        self._on_begin.clear()
        if not self.in_flight:
            self._idle.set()

    async def wait_idle(self, deadline: float) -> bool:
        """Wait until the last work has left, at most until `deadline` on Trio's clock. Return whether it has."""
        with trio.CancelScope(deadline=deadline):
            await trio.lowlevel.checkpoint()
            # Work may still arrive on connections that are open: idle is when none is left at this moment.
            while self.state is not DrainState.DRAINED:
                if self._idle.is_set():
                    self._idle = trio.Event()
                await self._idle.wait()
        return self.state is DrainState.DRAINED


async def drain_on_signal(
    finish: Callable[[], Awaitable[object]],
    *,
    log: FilteringBoundLogger,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait for SIGTERM or SIGINT, then `finish` what is under way; a second signal cuts that short.

    `finish` keeps its own deadline. When this returns, the caller cancels what still runs. Until then Ctrl-C does not
    raise KeyboardInterrupt.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        first = signal.Signals(await anext(signals))
        log.info("drain.began", signal=first.name)
        async with trio.open_nursery() as nursery:

            async def stop_at_second_signal() -> None:
                second = signal.Signals(await anext(signals))
                log.warning("drain.cut_short", signal=second.name)
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_second_signal)
            await finish()
            nursery.cancel_scope.cancel()
