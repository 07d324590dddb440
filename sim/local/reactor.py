"""The real reactor with two differences: its timers are exact, and what leaves for another host crosses the scenario's links.

An application on real hosts has neither the one nor the other; here the links stand in for the wires between hosts that
share one machine, and a sleep of 2 ms stands for work of 2 ms.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from structlog.typing import FilteringBoundLogger

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.reactor import EpollReactor
from sim.local.timer import KernelTimer

if TYPE_CHECKING:
    from sim.local.links import ProcessLinks


class LinkedReactor(EpollReactor):
    """See the module's text. `links` is set once they are made, before anything connects."""

    def __init__(self, *, log: FilteringBoundLogger) -> None:
        super().__init__(log=log)
        self.links: ProcessLinks | None = None
        self._due_at = math.inf  # when the kernel's timer ends
        self._timer = KernelTimer(self, self._on_timer)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._timers.add(when, callback)
        if when < self._due_at:
            self._set_timer(when)

    async def connect(self, address: Address) -> Connection:
        if self.links is not None and self.links.is_far(address):
            return await self.links.connect(address)
        return await super().connect(address)

    def call(self, callback: Callable[[], None]) -> None:
        """Call somebody's callback, outside any pump; what simulated connections ask of their reactor."""
        self._call(callback)

    def _on_timer(self) -> None:
        self._due_at = math.inf
        self._run_timers()
        if self._timers.next_at < self._due_at:
            self._set_timer(self._timers.next_at)

    def _set_timer(self, when: float) -> None:
        self._due_at = when
        self._timer.set(when - trio.current_time())
