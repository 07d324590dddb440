"""The Trio face of the simulated network: `mesh.runtime.environment.Network` of one host, with Trio streams.

Keeps Trio's rules for streams: every call is a checkpoint, misuse by two tasks raises BusyResourceError, a broken
stream stays broken. `trio.testing.check_half_closeable_stream` passes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import outcome
import trio
from trio.abc import HalfCloseableStream
from trio.lowlevel import Abort, RaiseCancelT, Task, checkpoint, current_task, reschedule, wait_task_rescheduled

from mesh.model.errors import ClosedConnection, ConnectFailed, MeshError
from mesh.model.names import Address
from sim.network.dns import Question
from sim.network.fabric import SimNetwork
from sim.network.host import NetworkHost
from sim.network.socket import RECEIVE_BYTES_MAX, Socket

T = TypeVar("T")

BACKLOG_MAX = 128  # connections that nobody has accepted yet; beyond it SYNs are ignored


class SimStream(HalfCloseableStream):
    """A socket for Trio tasks."""

    def __init__(self, socket: Socket) -> None:
        self.local = socket.local
        self.remote = socket.remote
        self._socket = socket
        self._receiver: Task | None = None
        self._sender: Task | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes, b"" at the end of the stream."""
        if max_bytes is None:
            max_bytes = RECEIVE_BYTES_MAX
        elif not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be an integer")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiver is not None:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiver = current_task()
        socket = self._socket
        try:
            if socket.buffer or socket.ended or socket.error is not None:
                await checkpoint()
            # Only this task takes from the buffer, but a checkpoint may see the stream closed.
            while not socket.buffer:
                if socket.ended or socket.error is not None:
                    return self._end()
                socket.reader = self._wake_receiver
                await wait_task_rescheduled(self._abort_receive)
        finally:
            self._receiver = None
        return socket.take(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand all of `data` over."""
        self._begin_sending()
        try:
            await checkpoint()
            socket = self._socket
            if type(data) is not bytes:
                data = bytes(data)
            if not data or not socket.send_now(data):
                start = 0
                while True:
                    self._check_sending()
                    start += socket.send_part(data, start)
                    if start == len(data):
                        return
                    await self._wait_for_room()
        finally:
            self._sender = None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the window has room."""
        self._begin_sending()
        try:
            await checkpoint()
            self._check_sending()
            await self._wait_for_room()
            self._check_sending()
        finally:
            self._sender = None

    async def send_eof(self) -> None:
        """End our direction; safe to repeat."""
        self._begin_sending()
        try:
            await checkpoint()
            if self._socket.error is not None:
                self._check_sending()
            self._socket.send_end()
        finally:
            self._sender = None

    async def aclose(self) -> None:
        """Close both directions; what was sent still arrives."""
        self._socket.close()
        await checkpoint()

    def abort(self) -> None:
        """Drop everything; the peer sees a reset."""
        self._socket.abort()

    def _end(self) -> bytes:
        try:
            return self._socket.take_end()
        except MeshError as error:
            raise _translated(error) from error

    def _begin_sending(self) -> None:
        if self._sender is not None:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sender = current_task()

    def _check_sending(self) -> None:
        try:
            self._socket.refuse_to_send()
        except MeshError as error:
            raise _translated(error) from error

    async def _wait_for_room(self) -> None:
        socket = self._socket
        while socket.send_limit <= socket.sent and socket.send_limit >= 0:
            socket.writer = self._wake_sender
            await wait_task_rescheduled(self._abort_send)

    def _wake_receiver(self) -> None:
        self._socket.reader = None
        assert self._receiver is not None
        reschedule(self._receiver)

    def _abort_receive(self, _: RaiseCancelT) -> Abort:
        self._socket.reader = None
        return Abort.SUCCEEDED

    def _wake_sender(self) -> None:
        self._socket.writer = None
        assert self._sender is not None
        reschedule(self._sender)

    def _abort_send(self, _: RaiseCancelT) -> Abort:
        self._socket.writer = None
        return Abort.SUCCEEDED


class SimStreamListener:
    """A listening socket for Trio tasks; implements `mesh.runtime.environment.StreamListener`."""

    def __init__(self, network_host: NetworkHost, address: Address) -> None:
        self._accepted: deque[Socket] = deque()
        self._waiting: deque[Task] = deque()
        self._closed = False
        self._listener = network_host.listen(address, self._on_connection, self._has_room)
        self.address = self._listener.address

    async def accept(self) -> HalfCloseableStream:
        """Return the next connection."""
        await checkpoint()
        while not self._accepted:
            if self._closed:
                raise trio.ClosedResourceError("the listener was closed")
            task = current_task()
            self._waiting.append(task)

            def abort(_: RaiseCancelT, task: Task = task) -> Abort:
                self._waiting.remove(task)
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        return SimStream(self._accepted.popleft())

    async def aclose(self) -> None:
        """Stop listening; connections that nobody accepted are reset."""
        self._closed = True
        self._listener.close()
        while self._accepted:
            self._accepted.popleft().abort()
        while self._waiting:
            reschedule(self._waiting.popleft())
        await checkpoint()

    def _on_connection(self, socket: Socket) -> None:
        self._accepted.append(socket)
        if self._waiting:
            reschedule(self._waiting.popleft())

    def _has_room(self) -> bool:
        return len(self._accepted) < BACKLOG_MAX


class HostNetwork:
    """The network as the Trio tasks of one incarnation of a host see it."""

    def __init__(self, network: SimNetwork, host: NetworkHost) -> None:
        self._network = network
        self._host = host
        self._incarnation = host.incarnation

    async def connect(self, address: Address) -> HalfCloseableStream:
        """Open a stream to an IP address or a name (its first address). Raises: ConnectFailed."""
        await checkpoint()
        self._check_power()
        ip = self._at_hand(address.host) or (await self._ask(address.host))[0]
        result: Socket | ConnectFailed = await _called_back(
            lambda done: self._network.connect(self._host, Address(ip, address.port), done)
        )
        if isinstance(result, ConnectFailed):
            raise result
        return SimStream(result)

    async def listen(self, address: Address) -> SimStreamListener:
        """Listen. Raises: ConfigError."""
        await checkpoint()
        self._check_power()
        return SimStreamListener(self._host, address)

    async def resolve(self, name: str) -> Sequence[str]:
        """Return the IP addresses of a name. Raises: ConnectFailed."""
        await checkpoint()
        address = self._at_hand(name)
        return (address,) if address is not None else await self._ask(name)

    def _at_hand(self, name: str) -> str | None:
        return self._host.ip if name == self._host.name else self._network.at_hand(name)

    async def _ask(self, name: str) -> tuple[str, ...]:
        """Ask the resolver of this zone. Raises: ConnectFailed."""

        def ask(done: Callable[[tuple[str, ...] | ConnectFailed], None]) -> Question:
            question = Question(self._network, self._host, name, done)
            question.start()
            return question

        result: tuple[str, ...] | ConnectFailed = await _called_back(ask)
        if isinstance(result, ConnectFailed):
            raise result
        return result

    def _check_power(self) -> None:
        if not self._host.up or self._host.incarnation != self._incarnation:
            raise ConnectFailed


def _translated(error: MeshError) -> Exception:
    if isinstance(error, ClosedConnection):
        return trio.ClosedResourceError(str(error))
    return trio.BrokenResourceError(str(error))


class _Cancellable(Protocol):
    """What calls back once, unless it is cancelled."""

    def cancel(self) -> None: ...


async def _called_back(begin: Callable[[Callable[[T], None]], _Cancellable]) -> T:
    """Park this task until what `begin` begins has called back; return what it said."""
    task = current_task()
    begun = begin(lambda result: reschedule(task, outcome.Value(result)))

    def abort(_: RaiseCancelT) -> Abort:
        begun.cancel()
        return Abort.SUCCEEDED

    result: T = await wait_task_rescheduled(abort)
    return result
