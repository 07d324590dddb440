"""The reactor on real sockets: one Trio task that drives all pumps of this process from its own epoll.

Trio waits for one file descriptor, that of the epoll; sockets are registered there once. What costs idiomatic Trio two
`epoll_ctl` and two task switches a request costs nothing here (measured: 57 to 30 us a proxied request).

A turn is what runs between two looks at the clock: a batch of at most 64 events, or the timers that are due. The
callbacks of `call_soon` run at its end. After 1 ms of turns Trio's other tasks get their chance.

Does not speak TLS or any protocol, and runs nothing outside Trio's thread.
"""

import math
import select
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import trio
from structlog.typing import FilteringBoundLogger

from mesh.model.errors import ClosedConnection, MeshError
from mesh.model.names import Address
from mesh.runtime.environment import Connection, ReactorListener
from mesh.runtime.pump import Pump, PumpCancelled, park
from mesh.runtime.real.listening import listen_on
from mesh.runtime.real.sockets import Serve, SocketConnection, SocketListener, start_connecting
from mesh.runtime.timers import TimerHeap

T = TypeVar("T")

_EVENTS_MAX = 64  # A batch bounds what Trio's other tasks wait: measured p99 of 5 ms with 256.
_TURNS_S = 0.001
_LINGER_S = 0.001
_TIMERS_MAX = 64


class _Source(Protocol):
    """What is registered in the epoll."""

    def on_events(self, events: int) -> None: ...
    def discard(self) -> None: ...


class _ReactorPump(Pump):
    """A pump that the reactor knows of: it is cancelled with the reactor, its crash logged, its connection closed."""

    __slots__ = ("connection", "owner")

    def __init__(
        self, owner: "EpollReactor", coroutine: Coroutine[Any, Any, None], name: str, connection: Connection | None
    ) -> None:
        super().__init__(owner, coroutine, name)
        self.owner = owner
        self.connection = connection

    def timer_is_stale(self, when: float, callback: Callable[[], None]) -> bool:
        return self.done or (callback == self._on_timer and self._armed != when)

    def abandon(self) -> None:
        """End a pump that parked when it was cancelled."""
        try:
            self.coroutine.close()
        except RuntimeError:
            pass  # It parked again.
        self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self.done = True
        if isinstance(error, PumpCancelled):
            error = None
        self.owner.on_pump_done(self, error)
        if self._on_done is not None:
            self._on_done(self, error)


class _TrioCall:
    """A Trio task on behalf of a parked pump."""

    __slots__ = ("arguments", "done", "error", "function", "pump", "reactor", "result", "scope")

    def __init__(
        self, reactor: "EpollReactor", function: Callable[..., Awaitable[Any]], arguments: tuple[object, ...]
    ) -> None:
        assert reactor.current is not None, "only pumps call Trio through the reactor"
        self.reactor = reactor
        self.pump = reactor.current
        self.function = function
        self.arguments = arguments
        self.scope = trio.CancelScope()
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    async def run(self) -> None:
        try:
            with self.scope:
                self.result = await self.function(*self.arguments)
        except Exception as error:
            self.error = error  # The pump's to handle: it is raised where the pump is parked.
        if not self.scope.cancel_called:
            self.done = True
            self.reactor.run_turn(self.pump.resume)
        elif self.error is not None:
            self.reactor.log.warning("call.failed", function=repr(self.function), exc_info=self.error)


class EpollReactor:
    """See `mesh.runtime.environment.Reactor`. Ready for listeners and pumps before `run`; one `run` in its life."""

    def __init__(self, *, log: FilteringBoundLogger) -> None:
        self.current: Pump | None = None
        self.log = log
        self._epoll = select.epoll()
        self._sources: dict[int, _Source] = {}  # by file descriptor
        self._arrivals: list[tuple[int, _Source]] = []
        self._pumps: dict[_ReactorPump, None] = {}
        self._soon: deque[Callable[[], None]] = deque()
        self._timers = TimerHeap(_timer_is_stale)
        # Sleeps until the next timer; its deadline is moved when an earlier one comes.
        self._alarm = trio.CancelScope()
        self._turn_at: float | None = None  # the clock as the current turn saw it; None between turns
        self._nursery: trio.Nursery | None = None
        self._calls: list[_TrioCall] = []  # made before `run`
        self._closed = False

    # What pumps and their callers use.

    def now(self) -> float:
        now = self._turn_at
        return trio.current_time() if now is None else now

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._timers.add(when, callback)
        if when < self._alarm.deadline:
            self._alarm.deadline = when

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)
        if self._turn_at is None:
            self._alarm.deadline = -math.inf

    def start(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Pump:
        return self._start(coroutine, name, None)

    def listen(self, address: Address, serve: Serve, *, reuse_port: bool = False) -> ReactorListener:
        """Accept connections, one pump each. `reuse_port`: other processes may listen there too.

        Raises: ConfigError naming the address when it is taken or not ours.
        """
        return SocketListener(self, listen_on(address, reuse_port=reuse_port), serve)

    async def connect(self, address: Address) -> Connection:
        connection = start_connecting(self, address)
        try:
            await connection.connected()
        except BaseException:
            connection.abort()
            raise
        return connection

    async def sleep(self, seconds: float) -> None:
        pump = self.current
        assert pump is not None, "only pumps sleep on the reactor"
        due = self.now() + seconds
        self.call_at(due, pump.resume)
        await park()
        while self.now() < due:
            await park()

    async def call_trio(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        call = _TrioCall(self, function, arguments)
        if self._nursery is None:
            self._calls.append(call)
        else:
            self._nursery.start_soon(call.run)
        try:
            while not call.done:
                await park()
        except BaseException:
            call.scope.cancel()
            raise
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    # What Trio runs.

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for call in self._calls:
                nursery.start_soon(call.run)
            self._calls.clear()
            nursery.start_soon(self._serve_timers)
            try:
                await self._serve_sockets()
            finally:
                self.close()

    def close(self) -> None:
        """Cancel all pumps and close all sockets. `run` does it when it ends; safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self._nursery = None
        for pump in list(self._pumps):
            self._cancel(pump)
        for source in [*self._sources.values(), *(source for _, source in self._arrivals)]:
            source.discard()
        self._soon.clear()
        self._timers.clear()
        self._epoll.close()

    async def _serve_sockets(self) -> None:
        poll, sources, arrivals, soon = self._epoll.poll, self._sources, self._arrivals, self._soon
        current_time, wait_readable = trio.current_time, trio.lowlevel.wait_readable
        epoll_fd = self._epoll.fileno()
        while True:
            await wait_readable(epoll_fd)
            try:
                self._turn_at = turns_began = current_time()
                while True:
                    if arrivals:
                        sources.update(arrivals)
                        arrivals.clear()
                    events = poll(0, _EVENTS_MAX)
                    if not events and not soon:
                        # Under load the next event comes at once: waiting for it here saves the way through Trio's own
                        # epoll and scheduler. Trio's other tasks wait as long as they would for a turn.
                        events = poll(_LINGER_S, _EVENTS_MAX)
                        if not events:
                            break
                        self._turn_at = current_time()
                    self._dispatch(events)
                    if soon:
                        self._run_soon()
                    self._turn_at = now = current_time()
                    if now - turns_began > _TURNS_S:
                        self._turn_at = None
                        await trio.lowlevel.checkpoint()
                        self._turn_at = turns_began = current_time()
            finally:
                self._turn_at = None

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        get = self._sources.get
        for fd, mask in events:
            source = get(fd)
            if source is None:
                continue  # Closed earlier in this batch.
            try:
                source.on_events(mask)
            except Exception as error:
                self._callback_crashed(source.on_events, error)

    async def _serve_timers(self) -> None:
        while True:
            next_at = -math.inf if self._soon else self._timers.next_at
            with trio.CancelScope(deadline=next_at) as self._alarm:
                await trio.sleep_forever()
            self.run_turn(self._run_timers)

    def run_turn(self, callback: Callable[[], None]) -> None:
        """Run a callback as a turn of its own; called by Trio tasks, between the turns of sockets."""
        assert self._turn_at is None, "turns do not nest"
        if self._closed:
            return
        self._turn_at = trio.current_time()
        try:
            callback()
            self._run_soon()
        finally:
            self._turn_at = None
        if self._soon:
            self._alarm.deadline = -math.inf

    def _run_timers(self) -> None:
        now = self.now()
        for _ in range(_TIMERS_MAX):
            callback = self._timers.pop_due(now)
            if callback is None:
                return
            self._call(callback)

    def _run_soon(self) -> None:
        # Only those that are there: pumps that wake one another must not keep the turn from ending.
        for _ in range(len(self._soon)):
            self._call(self._soon.popleft())

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._callback_crashed(callback, error)

    # What pumps and sockets report.

    def start_serving(self, serve: Serve, connection: SocketConnection, *, name: str) -> None:
        """Start the pump of an accepted connection."""
        self._start(serve(connection), name, connection)

    def register(self, fd: int, source: _Source, mask: int) -> None:
        """Report the events of a file descriptor to `source` from the next turn on."""
        self._epoll.register(fd, mask)
        # Events of the current batch may still be about the previous owner of this number.
        self._arrivals.append((fd, source))

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Forget a file descriptor that is about to be closed, which takes it out of the epoll."""
        if self._sources.pop(fd, None) is None:
            self._arrivals[:] = [arrival for arrival in self._arrivals if arrival[0] != fd]

    def on_pump_done(self, pump: _ReactorPump, error: BaseException | None) -> None:
        """Take note that a pump has ended."""
        self._pumps.pop(pump, None)
        if pump.connection is not None:
            pump.connection.close()
        if error is None:
            return
        if isinstance(error, MeshError):
            self.log.debug("pump.failed", pump=pump.name, error=str(error), kind=type(error).__name__)
        elif isinstance(error, Exception):
            self.log.error("pump.crashed", pump=pump.name, exc_info=error)
        else:
            raise error  # An interrupt is for the whole process.

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str, connection: Connection | None) -> Pump:
        if self._closed:
            coroutine.close()
            raise ClosedConnection("the reactor has ended")
        pump = _ReactorPump(self, coroutine, name, connection)
        self._pumps[pump] = None
        pump.resume()
        return pump

    def _cancel(self, pump: _ReactorPump) -> None:
        pump.cancel()
        if not pump.done:
            self.log.error("pump.parked_while_cancelled", pump=pump.name)
            pump.abandon()

    def _callback_crashed(self, callback: Callable[..., None], error: Exception) -> None:
        self.log.error("callback.crashed", callback=repr(callback), exc_info=error)


def _timer_is_stale(when: float, callback: Callable[[], None]) -> bool:
    owner = getattr(callback, "__self__", None)
    return isinstance(owner, _ReactorPump) and owner.timer_is_stale(when, callback)
