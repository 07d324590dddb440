"""The places of an instance whose requests are Trio tasks; see `sim.workload.places` for those of pumps."""

from collections import deque

import trio


class TaskPlaces:
    """First come, first served. Whoever enters leaves in a `finally`."""

    def __init__(self, *, concurrency: int, queue: int) -> None:
        self.concurrency = concurrency
        self.queue = queue
        self.busy = 0
        self.working = 0  # Nobody can see how much foreign code computes.
        self._waiting: deque[trio.Event] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def enter(self) -> bool:
        """Take a place, waiting for it in the queue; False at once when the queue is full."""
        if self.busy < self.concurrency:
            self.busy += 1
            return True
        if len(self._waiting) >= self.queue:
            return False
        turn = trio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.leave()
            else:
                self._waiting.remove(turn)
            raise
        return True

    def leave(self) -> None:
        """Give the place to the first in the queue, or free it."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.busy -= 1
