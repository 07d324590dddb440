"""Locks within one instance: one writer, or any number of readers, first come, first served. For pumps."""

from collections import deque

from mesh.runtime.environment import Reactor
from mesh.runtime.pump import Signal


class _Turn:
    """Somebody who waits for the lock."""

    __slots__ = ("given", "shared", "signal")

    def __init__(self, reactor: Reactor, shared: bool) -> None:
        self.shared = shared
        self.given = False
        self.signal = Signal(reactor)


class ReadWriteLock:
    """A reader that came after a waiting writer waits too, so that no writer starves. Whoever acquires releases."""

    def __init__(self, reactor: Reactor) -> None:
        self.readers = 0
        self.writing = False
        self._reactor = reactor
        self._queue: deque[_Turn] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def acquire(self, *, shared: bool) -> None:
        """Wait for one's turn. The pump's deadline applies."""
        if not self._queue and self._admits(shared):
            self._take(shared)
            return
        turn = _Turn(self._reactor, shared)
        self._queue.append(turn)
        try:
            await turn.signal.wait()
        except BaseException:
            if turn.given:  # Given and ended within one turn of the reactor.
                self.release(shared=shared)
            else:
                self._queue.remove(turn)
                self._hand_on()
            raise

    def release(self, *, shared: bool) -> None:
        """Give it back, to the next in line."""
        if shared:
            self.readers -= 1
        else:
            self.writing = False
        self._hand_on()

    def _admits(self, shared: bool) -> bool:
        return not self.writing and (shared or not self.readers)

    def _take(self, shared: bool) -> None:
        if shared:
            self.readers += 1
        else:
            self.writing = True

    def _hand_on(self) -> None:
        while self._queue and self._admits(self._queue[0].shared):
            turn = self._queue.popleft()
            self._take(turn.shared)
            turn.given = True
            turn.signal.wake()


class Locks:
    """The locks of one instance by name, made when first asked for."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._by_name: dict[str, ReadWriteLock] = {}

    def named(self, name: str) -> ReadWriteLock:
        lock = self._by_name.get(name)
        if lock is None:
            lock = self._by_name[name] = ReadWriteLock(self._reactor)
        return lock
