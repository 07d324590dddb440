"""A world of memory streams, a dictionary for a disk and Trio's mock clock: enough to run a control plane and sidecars."""

import random
from collections.abc import Sequence
from typing import Any, cast

import attrs
import structlog
import trio
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger
from trio.abc import HalfCloseableStream
from trio.testing import memory_stream_pair

from mesh.model.errors import ConfigError, ConnectFailed, Violation
from mesh.model.names import Address
from mesh.model.randomness import Random, stream_seed
from mesh.runtime.environment import Environment, Reactor, StreamListener, Tls

EPOCH_S = 1_800_000_000.0


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def read(self, path: str) -> bytes:
        await trio.lowlevel.checkpoint()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    async def write(self, path: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.files[path] = data

    async def sync(self, path: str) -> None:
        await trio.lowlevel.checkpoint()

    async def rename(self, source: str, target: str) -> None:
        await trio.lowlevel.checkpoint()
        self.files[target] = self.files.pop(source)

    async def delete(self, path: str) -> None:
        await trio.lowlevel.checkpoint()
        del self.files[path]

    async def list(self, folder: str) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))


class MemoryListener:
    def __init__(self, network: "MemoryNetwork", address: Address) -> None:
        self.address = address
        self.network = network
        self.send, self.receive = trio.open_memory_channel[HalfCloseableStream](100)

    async def accept(self) -> HalfCloseableStream:
        return await self.receive.receive()

    async def aclose(self) -> None:
        self.network.listeners.pop(self.address, None)
        await self.receive.aclose()


class MemoryNetwork:
    """One network for all hosts. `cut` breaks every connection to one, as a host that loses its network would."""

    def __init__(self) -> None:
        self.listeners: dict[Address, MemoryListener] = {}
        self.streams: list[tuple[Address, HalfCloseableStream]] = []  # with the address that was connected to
        self.sizes: list[int] = []  # of every write
        self.stalled = False  # connections stay open and carry nothing

    async def connect(self, address: Address) -> HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        listener = self.listeners.get(address)
        if listener is None:
            raise ConnectFailed
        ours, theirs = memory_stream_pair()
        ends = [_Stallable(ours, self), _Stallable(theirs, self)]
        self.streams += [(address, end) for end in ends]
        await listener.send.send(ends[1])
        return ends[0]

    async def listen(self, address: Address) -> StreamListener:
        await trio.lowlevel.checkpoint()
        if address in self.listeners:
            raise ConfigError([Violation(message=f"{address} is in use")])
        self.listeners[address] = MemoryListener(self, address)
        return self.listeners[address]

    async def resolve(self, name: str) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return [name]

    async def cut(self, address: Address) -> None:
        """Break every connection to an address."""
        for _, stream in [entry for entry in self.streams if entry[0] == address]:
            await trio.aclose_forcefully(stream)
        self.streams = [entry for entry in self.streams if entry[0] != address]


class _Stallable(HalfCloseableStream):
    def __init__(self, stream: HalfCloseableStream, network: MemoryNetwork) -> None:
        self._stream = stream
        self._network = network

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._network.sizes.append(len(data))
        if self._network.stalled:
            await trio.lowlevel.checkpoint()
        else:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class SeededRandomness:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.streams: dict[tuple[str | int, ...], random.Random] = {}

    def stream(self, *key: str | int) -> Random:
        if key not in self.streams:
            self.streams[key] = random.Random(stream_seed(self.seed, key))
        return self.streams[key]


@attrs.define(eq=False)
class MemoryWorld:
    """Hosts on one network; `events` holds every log line as a dictionary."""

    network: MemoryNetwork = attrs.field(factory=MemoryNetwork)
    disks: dict[str, MemoryDisk] = attrs.field(factory=dict)
    events: list[EventDict] = attrs.field(factory=list)

    def environment(self, host: str) -> Environment:
        """Return a host's environment; its disk outlives it."""

        def capture(_: WrappedLogger, level: str, event: EventDict) -> EventDict:
            self.events.append({**event, "level": level})
            raise structlog.DropEvent

        log = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0))
        return Environment(
            host=host,
            network=self.network,
            reactor=cast(Reactor, None),
            tls=cast(Tls, None),
            randomness=SeededRandomness(7),
            disk=self.disks.setdefault(host, MemoryDisk()),
            wall_clock=lambda: EPOCH_S + trio.current_time(),
            log=cast(FilteringBoundLogger, log.bind(host=host)),
        )

    def named(self, event: str, **fields: Any) -> list[EventDict]:
        """Return the log lines of one name with these fields."""
        return [
            line
            for line in self.events
            if line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        ]
