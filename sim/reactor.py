"""The reactor of one simulated host: resumes pumps straight from the clock's events, without Trio's scheduler."""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import outcome
import trio

from mesh.model.errors import ClosedConnection, ConnectFailed, MeshError
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Pump, PumpCancelled, park
from sim.clock import NS_PER_S, SimClock, ns_at_or_after
from sim.network.connection import SimConnection
from sim.network.fabric import SimNetwork
from sim.network.host import Listener, NetworkHost
from sim.network.socket import Socket
from sim.network.streams import BACKLOG_MAX
from sim.processor import Processor

T = TypeVar("T")


class HostPump(Pump):
    """A pump that tells its reactor when it has ended, whoever else wants to know."""

    __slots__ = ()

    reactor: "SimReactor"

    def resume(self) -> None:
        """Step the pump, when its host may run it."""
        # What Pump.resume does, and not a call of it: eight steps a hop come through here.
        if self.done:
            return
        reactor = self.reactor
        if reactor.gate is not None:
            reactor.gate.step(self)
            return
        previous, reactor.current = reactor.current, self
        try:
            self.coroutine.send(None)
        except StopIteration:
            self._finish(None)
        except BaseException as error:
            self._finish(error)
        finally:
            reactor.current = previous

    def _finish(self, error: BaseException | None) -> None:
        self.reactor.pump_ended(self, error)
        if self._on_done is None:
            error = None  # The reactor has dealt with it.
        super()._finish(error)


class SimReactor:
    """Drives the pumps of one incarnation of a host. Implements `mesh.runtime.environment.Reactor`.

    `start_task(function, name)` runs a Trio task beside the pumps.
    `on_crash(name, error)` hears of pumps that ended with something else than a MeshError: a bug of ours.
    `on_failed(name, error)` hears of those that ended with a MeshError, which ends only their connection.
    """

    def __init__(
        self,
        *,
        clock: SimClock,
        network: SimNetwork,
        host: NetworkHost,
        start_task: Callable[[Callable[[], Awaitable[None]], str], None],
        on_crash: Callable[[str, BaseException], None],
        on_failed: Callable[[str, MeshError], None],
    ) -> None:
        self.current: Pump | None = None
        self.pumps: dict[Pump, SimConnection | None] = {}  # with the connection that ends with the pump
        self.gate: Processor | None = None  # what each step asks while the host is paused or slow
        self._clock = clock
        self._network = network
        self._host = host
        self._start_task = start_task
        self._on_crash = on_crash
        self._on_failed = on_failed
        self._soon: deque[Callable[[], None]] = deque()
        self._listeners: list[Listener] = []
        self._dead = False

    def now(self) -> float:
        """Seconds of virtual time."""
        return self._clock.now_ns / NS_PER_S

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at `when`, outside any pump."""
        due_ns, late_ns = ns_at_or_after(when), self._host.late_ns
        if late_ns is not None:
            due_ns += late_ns()
        self._clock.push(due_ns, self._call_due, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back at the end of this turn, outside any pump."""
        if not self._soon:
            self._clock.push(self._clock.now_ns, self._call_all, None)
        self._soon.append(callback)

    def start(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Pump:
        """Run a coroutine as a pump, its first step at once."""
        return self._start(coroutine, name, None)

    def listen(
        self, address: Address, serve: Callable[[Connection], Coroutine[Any, Any, None]]
    ) -> "SimReactorListener":
        """Accept connections, one pump each. Raises: ConfigError."""

        def accept(socket: Socket) -> None:
            connection = SimConnection(self, socket)
            self._start(serve(connection), f"serve {listener.address} to {socket.remote}", connection)

        unaccepted = AcceptQueue(self, accept)
        listener = self._host.listen(address, unaccepted.add, unaccepted.has_room)
        self._listeners.append(listener)
        return SimReactorListener(listener)

    async def connect(self, address: Address) -> Connection:
        """From a pump: open a connection. Raises: ConnectFailed, DeadlineExceeded."""
        pump = self.current
        assert pump is not None, "only pumps connect"
        if self._dead:
            raise ConnectFailed
        self._network.require_ip(address)
        results: list[Socket | ConnectFailed] = []

        def done(result: Socket | ConnectFailed) -> None:
            results.append(result)
            pump.resume()

        handshake = self._network.connect(self._host, address, done)
        try:
            while not results:
                await park()
        except BaseException:
            handshake.cancel()
            if results and isinstance(results[0], Socket):
                results[0].close()
            raise
        result = results[0]
        if isinstance(result, ConnectFailed):
            raise result
        return SimConnection(self, result)

    async def sleep(self, seconds: float) -> None:
        """From a pump: park for a while."""
        pump = self.current
        assert pump is not None, "only pumps sleep"
        clock = self._clock
        due_ns = clock.now_ns + (round(seconds * NS_PER_S) if seconds > 0.0 else 0)
        if self._host.late_ns is not None:
            due_ns += self._host.late_ns()
        clock.push(due_ns, HostPump.resume, pump)  # A power cut has ended the pump; then this does nothing.
        await park()
        while clock.now_ns < due_ns:
            await park()

    async def call_trio(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """From a pump: run an async function as a Trio task and park until its result."""
        pump = self.current
        assert pump is not None, "only pumps call Trio"
        scope = trio.CancelScope()
        results: list[outcome.Outcome[T]] = []

        async def task() -> None:
            with scope:
                results.append(await outcome.acapture(function, *arguments))
                if isinstance(results[0], outcome.Error) and not isinstance(results[0].error, Exception):
                    results.pop().unwrap()  # Cancelled is Trio's own.
            self.call_soon(pump.resume)

        self._start_task(task, f"call_trio of {pump.name}")
        try:
            while not results:
                await park()
        except BaseException:
            scope.cancel()
            raise
        return results[0].unwrap()

    async def run(self) -> None:
        """Stay until cancelled; then cancel every pump and close every connection.

        The host drives its pumps by itself, so this is for code that ends its reactor with a Trio scope.
        """
        try:
            await trio.sleep_forever()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop listening, cancel every pump and close every connection."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self.die()
        for socket in list(self._host.sockets):
            socket.close()

    def die(self) -> None:
        """End all pumps: they clean up, but their timers and calls no longer run. For a power cut: after the network's."""
        self._dead = True
        self._soon.clear()
        self._cancel_pumps()

    def pump_ended(self, pump: Pump, error: BaseException | None) -> None:
        """Forget a pump, close its connection and tell about its error. Part of HostPump."""
        connection = self.pumps.pop(pump, None)
        if connection is not None:
            connection.close()
        if isinstance(error, MeshError):
            self._on_failed(pump.name, error)
        elif error is not None and not isinstance(error, PumpCancelled):
            self._on_crash(pump.name, error)

    def call(self, callback: Callable[[], None]) -> None:
        """Call somebody's callback, outside any pump: its errors are its own, and after a power cut it is not called."""
        if self.gate is not None:
            self.gate.soon(self._call, callback)
        else:
            self._call(callback)

    def _call_due(self, callback: Callable[[], None]) -> None:
        if self.gate is not None:
            self.gate.timer(self._call, callback)
        else:
            self._call(callback)

    def _call(self, callback: Callable[[], None]) -> None:
        if self._dead:
            return
        try:
            callback()
        except Exception as error:
            self._on_crash(repr(callback), error)

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str, connection: SimConnection | None) -> Pump:
        if self._dead:
            coroutine.close()
            raise ClosedConnection("the reactor has ended")
        pump = HostPump(self, coroutine, name)
        self.pumps[pump] = connection
        Pump.resume(pump)
        return pump

    def _cancel_pumps(self) -> None:
        for pump in list(self.pumps):
            if getattr(pump.coroutine, "cr_running", False):
                # It is stepping right now and has caused this; it ends as soon as it parks.
                self._clock.push(self._clock.now_ns, self._cancel, pump)
            else:
                self._cancel(pump)

    def _cancel(self, pump: Pump) -> None:
        pump.cancel()
        if not pump.done:
            self._on_crash(pump.name, RuntimeError("the pump parked while it was cancelled"))
            self.pumps.pop(pump, None)

    def _call_all(self, _: object) -> None:
        soon = self._soon
        for _ in range(len(soon)):
            if soon:  # A callback may have cut the power, which empties the queue.
                self.call(soon.popleft())


class AcceptQueue:
    """Connections that the kernel has taken and the host has not: none, while the host may run."""

    def __init__(self, reactor: SimReactor, accept: Callable[[Socket], None]) -> None:
        self._reactor = reactor
        self._accept = accept
        self._waiting = 0

    def has_room(self) -> bool:
        return self._waiting < BACKLOG_MAX

    def add(self, socket: Socket) -> None:
        """Hand a connection over, or keep it until the host may run."""
        gate = self._reactor.gate
        if gate is None:
            self._accept(socket)
        else:
            self._waiting += 1
            gate.accept(self._hand_over, socket)

    def _hand_over(self, socket: Socket) -> None:
        self._waiting -= 1
        if socket.dead:
            return  # The power went meanwhile.
        self._accept(socket)


class SimReactorListener:
    """Implements `mesh.runtime.environment.ReactorListener`."""

    def __init__(self, listener: Listener) -> None:
        self.address = listener.address
        self._listener = listener

    def close(self) -> None:
        """Stop accepting; safe to repeat."""
        self._listener.close()
