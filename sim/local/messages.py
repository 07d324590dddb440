"""What the runner and the processes of a scenario say to each other, over one Unix socket a process. Layout: length, msgpack.

Moments are seconds of the kernel's monotonic clock, which all processes of a machine share.
"""

import struct
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import msgspec
import trio
from trio.abc import Stream

from sim.local.places import Place
from sim.local.standing import Standing

_LENGTH = struct.Struct(">I")
_RECEIVE_BYTES = 1 << 18


class Welcome(msgspec.Struct, tag=True, frozen=True):
    """How it stands: who is where, who has no power, which entries of the timeline are active on links."""

    places: tuple[Place, ...]
    off: tuple[str, ...]
    begun: tuple[int, ...]


class Know(msgspec.Struct, tag=True, frozen=True):
    """There are more hosts."""

    places: tuple[Place, ...]


class Power(msgspec.Struct, tag=True, frozen=True):
    """A host has lost its power, or got it. Answered by Done."""

    name: str
    on: bool
    number: int


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Begin an entry of the timeline on this process's links. `entry`: its number."""

    entry: int


class End(msgspec.Struct, tag=True, frozen=True):
    """End it."""

    entry: int


class Spare(msgspec.Struct, tag=True, frozen=True):
    """Leave these hosts, and the ways between them, alone."""

    entry: int
    core: tuple[str, ...]


class Behave(msgspec.Struct, tag=True, frozen=True):
    """To an application: all that is wrong with it from now on, each as the name of its kind and its fields."""

    ailments: tuple[tuple[str, dict[str, Any]], ...]


class Go(msgspec.Struct, tag=True, frozen=True):
    """To users: begin at this moment, stop beginning `until_s` later."""

    origin: float
    until_s: float


class Look(msgspec.Struct, tag=True, frozen=True):
    """Report now. `number`: of the look, for the answer."""

    number: int


ToProcess: TypeAlias = Welcome | Know | Power | Begin | End | Spare | Behave | Go | Look


class Hello(msgspec.Struct, tag=True, frozen=True):
    """From a process that has started: what it runs (`sidecar`, `service`, `users`) and where."""

    name: str
    role: str


class Done(msgspec.Struct, tag=True, frozen=True):
    """It has been done."""

    number: int


class Report(msgspec.Struct, tag=True, frozen=True, omit_defaults=True):
    """What was seen since the last report. Rows: see `sim.local.reporting`."""

    records: list[Any] = []
    journeys: list[Any] = []
    visits: list[Any] = []
    begun: int = 0  # journeys, in all
    tally: dict[str, Any] = {}
    busy: int = 0  # journeys or requests under way now
    touched: int = 0  # requests that an application's ailments have touched, in all
    bit: tuple[int, ...] = ()  # entries that have touched something, in all
    places: tuple[int, int, int] = (0, 0, 0)  # of an application: busy, at work, waiting
    events: list[Any] = []  # log lines of level info and above: (moment, event, level, fields)
    standing: Standing | None = None  # of a sidecar, as of this moment
    late: int = 0  # how often the process was held back, in all
    look: int = 0  # the look that this answers


FromProcess: TypeAlias = Hello | Done | Report


class Channel:
    """One end of the socket. One task receives; sends are whole messages, one after the other."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def send(self, message: ToProcess | FromProcess) -> None:
        """Send a message. Raises: trio.BrokenResourceError, trio.ClosedResourceError."""
        body = msgspec.msgpack.encode(message)
        async with self._sending:
            await self._stream.send_all(_LENGTH.pack(len(body)) + body)

    async def receive(self, kind: Any) -> AsyncIterator[Any]:
        """Yield the messages of a union of kinds until the other end closes or breaks."""
        decoder = msgspec.msgpack.Decoder(kind)
        buffer = b""
        while True:
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            buffer += data
            start = 0
            while len(buffer) - start >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(buffer, start)
                if len(buffer) - start - _LENGTH.size < size:
                    break
                start += _LENGTH.size
                message = decoder.decode(buffer[start : start + size])
                start += size
                yield message
            buffer = buffer[start:]

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()
