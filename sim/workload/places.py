"""The places of one instance: so many requests served at once, so many waiting, the rest refused. For pumps."""

from mesh.runtime.environment import Reactor
from mesh.runtime.pump import Signal


class Places:
    """First come, first served. Whoever enters leaves in a `finally`."""

    __slots__ = ("_waiting", "busy", "concurrency", "queue", "working")

    def __init__(self, reactor: Reactor, *, concurrency: int, queue: int) -> None:
        self.concurrency = concurrency
        self.queue = queue
        self.busy = 0
        self.working = 0  # of those that are busy, or of their parallel steps: at work, waiting for nobody
        self._waiting = Signal(reactor)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take_free(self) -> bool:
        """Take a place if one is free. Invariant: nobody waits while one is."""
        if self.busy < self.concurrency:
            self.busy += 1
            return True
        return False

    async def enter(self) -> bool:
        """Take a place, waiting for it in the queue; False at once when the queue is full."""
        if self.take_free():
            return True
        if len(self._waiting) >= self.queue:
            return False
        # Whoever leaves hands its place over, so `busy` already counts us when we wake.
        await self._waiting.wait()
        return True

    def leave(self) -> None:
        """Give the place to the first in the queue, or free it."""
        if self.busy >= self.concurrency and self._waiting:
            self._waiting.wake()
        else:
            self.busy -= 1
