"""Pumps: the coroutines of the request path, driven by a reactor instead of Trio's scheduler.

A pump is an ordinary `async def` that awaits nothing but a `Connection`, a `Signal` and the reactor's own `connect`,
`sleep` and `call_trio`. It must not await Trio primitives. It runs until it parks; what it waits for resumes it.
Resumes may be spurious (a wake-up that was overtaken by a deadline): whoever parks checks its condition in a loop.

One deadline a pump, set with two stores: the timer behind it is armed lazily, at most once per span, and re-armed when
it fires early. So a deadline per request costs nothing in the timer heap.
"""

import math
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from mesh.model.errors import DeadlineExceeded

if TYPE_CHECKING:
    from mesh.runtime.environment import Reactor


class PumpCancelled(BaseException):
    """Thrown into a pump that is to end. Like trio.Cancelled: clean up without parking, and let it pass."""


@types.coroutine
def park() -> Generator[None, None, None]:
    """Give control back to the reactor until someone resumes this pump. The caller registered itself with that someone."""
    yield


class Pump:
    """One running coroutine and its deadline."""

    __slots__ = ("_armed", "_on_done", "coroutine", "deadline", "done", "name", "reactor")

    def __init__(self, reactor: "Reactor", coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.reactor = reactor
        self.coroutine = coroutine
        self.name = name
        self.done = False
        self.deadline = math.inf
        self._armed = math.inf  # invariant: a timer is pending at `_armed`, and _armed <= deadline
        self._on_done: Callable[[Pump, BaseException | None], None] | None = None

    def on_done(self, callback: "Callable[[Pump, BaseException | None], None]") -> None:
        """Call back once when the pump has ended: with its exception, or None."""
        self._on_done = callback

    def resume(self) -> None:
        """Step the pump; called by whatever it waited for. It must not be the one that is running."""
        if self.done:
            return
        reactor = self.reactor
        previous, reactor.current = reactor.current, self
        try:
            self.coroutine.send(None)
        except StopIteration:
            self._finish(None)
        except BaseException as error:
            self._finish(error)
        finally:
            reactor.current = previous

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the pump is parked. It must not be the one that is running."""
        if self.done:
            return
        assert not getattr(self.coroutine, "cr_running", False), "a pump was thrown into while it ran"
        reactor = self.reactor
        previous, reactor.current = reactor.current, self
        try:
            self.coroutine.throw(error)
        except StopIteration:
            self._finish(None)
        except BaseException as raised:
            self._finish(raised)
        finally:
            reactor.current = previous

    def cancel(self) -> None:
        """End the pump where it is parked."""
        self.throw(PumpCancelled())

    def set_deadline(self, when: float) -> None:
        """Raise DeadlineExceeded in this pump if it is parked at `when` (seconds of the reactor's clock; inf: never)."""
        self.deadline = when
        if when < self._armed:
            self._armed = when
            self.reactor.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        now = self.reactor.now()
        if self.done or self._armed > now:
            return  # A later timer took over from this one.
        self._armed = math.inf
        if self.deadline <= now:
            self.deadline = math.inf
            self.throw(DeadlineExceeded())
        elif self.deadline < math.inf:
            self._armed = self.deadline
            self.reactor.call_at(self.deadline, self._on_timer)

    def _finish(self, error: BaseException | None) -> None:
        self.done = True
        if isinstance(error, PumpCancelled):
            error = None
        if self._on_done is not None:
            self._on_done(self, error)
        elif error is not None:
            raise error


class _Waiter:
    __slots__ = ("pump", "woken")

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.woken = False


class Signal:
    """Pumps wait here, first in first out, until somebody wakes them. Wakes at the end of the turn, never in between."""

    __slots__ = ("_reactor", "_waiting")

    def __init__(self, reactor: "Reactor") -> None:
        self._reactor = reactor
        self._waiting: deque[_Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Park until woken. The pump's deadline applies."""
        pump = self._reactor.current
        assert pump is not None, "only pumps wait for a Signal"
        waiter = _Waiter(pump)
        self._waiting.append(waiter)
        try:
            while not waiter.woken:
                await park()
        except BaseException:
            if waiter.woken:
                self.wake()  # Woken and ended within one turn: the wake-up belongs to the next in line.
            else:
                self._waiting.remove(waiter)
            raise

    def wake(self, count: int = 1) -> None:
        """Resume the `count` pumps that have waited longest."""
        while count > 0 and self._waiting:
            waiter = self._waiting.popleft()
            waiter.woken = True
            self._reactor.call_soon(waiter.pump.resume)
            count -= 1

    def wake_all(self) -> None:
        """Resume all pumps that wait now."""
        self.wake(len(self._waiting))
