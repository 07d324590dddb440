"""Pumps over connections in memory: a reactor without sockets or time, and pairs of connections that record what they carry."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from mesh.model.errors import BrokenConnection, ClosedConnection
from mesh.model.names import Address, SpiffeId
from mesh.runtime.pump import Pump, park

CLIENT = Address("10.0.0.1", 40000)
SERVER = Address("10.0.0.2", 443)


class MemoryReactor:
    """Steps pumps until none can go on; time stands still."""

    def __init__(self) -> None:
        self.current: Pump | None = None
        self._soon: deque[Callable[[], None]] = deque()

    def now(self) -> float:
        return 0.0

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        raise NotImplementedError

    def spin(self) -> None:
        """Go on until everybody is parked."""
        while self._soon:
            self._soon.popleft()()

    def run(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run coroutines side by side; return their results or exceptions. A pump that never ends is a failure."""
        results: dict[int, Any] = {}

        async def keep(number: int, coroutine: Coroutine[Any, Any, Any]) -> None:
            try:
                results[number] = await coroutine
            except Exception as error:
                results[number] = error

        for number, coroutine in enumerate(coroutines):
            Pump(self, keep(number, coroutine), f"test {number}").resume()  # type: ignore[arg-type]
        self.spin()
        assert len(results) == len(coroutines), f"parked for ever: {set(range(len(coroutines))) - set(results)}"
        return [results[number] for number in range(len(coroutines))]


class MemoryConnection:
    """One end. `sent` are the sizes of all sends; `room` bounds what the peer has not taken; `bite` what one receive takes."""

    def __init__(self, reactor: MemoryReactor, local: Address, remote: Address) -> None:
        self.local, self.remote = local, remote
        self.peer: SpiffeId | None = None
        self.secure = False
        self.sni = ""
        self.other: MemoryConnection
        self.sent: list[int] = []
        self.wire = bytearray()
        self.room = 1 << 18
        self.bite = 1 << 18
        self.closed = self.aborted = False
        self._reactor = reactor
        self._inbox = bytearray()
        self._eof = self._broken = self._sent_eof = False
        self._reader: Pump | None = None
        self._writer: Pump | None = None
        self._watcher: Callable[[], None] | None = None

    def receive_now(self) -> bytes | None:
        if self.closed:
            raise ClosedConnection
        if self._inbox:
            data = bytes(self._inbox[: self.bite])
            del self._inbox[: self.bite]
            if self.other._writer is not None:
                self._reactor.call_soon(self.other._writer.resume)
            return data
        if self._broken:
            raise BrokenConnection
        return b"" if self._eof else None

    async def receive(self) -> bytes:
        while (data := self.receive_now()) is None:
            assert self._reader is None, "two pumps receive"
            self._reader = self._reactor.current
            try:
                await park()
            finally:
                self._reader = None
        return data

    async def send(self, data: bytes) -> None:
        rest = bytes(data)
        while True:
            if self.closed or self._sent_eof:
                raise ClosedConnection
            if self._broken or self.other.closed:
                raise BrokenConnection
            size = self.room - len(self.other._inbox)
            if size > 0:
                self.sent.append(len(rest[:size]))
                self.wire += rest[:size]
                self.other._inbox += rest[:size]
                rest = rest[size:]
                self._reactor.call_soon(self.other._on_arrival)
            if not rest:
                return
            assert self._writer is None, "two pumps send"
            self._writer = self._reactor.current
            try:
                await park()
            finally:
                self._writer = None

    def _on_arrival(self) -> None:
        if self._reader is not None:
            self._reader.resume()
        elif self._watcher is not None:
            self._watcher()

    async def send_eof(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self._sent_eof:
            self._sent_eof = self.other._eof = True
            self._reactor.call_soon(self.other._on_arrival)

    def unread(self, data: bytes) -> None:
        self._inbox[:0] = data

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._watcher = callback
        if callback is not None and (self._inbox or self._eof):
            self._reactor.call_soon(self._on_arrival)

    def close(self) -> None:
        if self.closed:
            return
        self._end()
        self._retire()

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = self.other._broken = True
            self._reactor.call_soon(self.other._on_arrival)
            self._retire()

    def _retire(self) -> None:
        self.closed = True
        for pump in (self._reader, self._writer, self.other._writer):
            if pump is not None:
                self._reactor.call_soon(pump.resume)


def memory_pair(reactor: MemoryReactor) -> tuple[MemoryConnection, MemoryConnection]:
    """Return the client's and the server's end."""
    client = MemoryConnection(reactor, CLIENT, SERVER)
    server = MemoryConnection(reactor, SERVER, CLIENT)
    client.other, server.other = server, client
    return client, server
