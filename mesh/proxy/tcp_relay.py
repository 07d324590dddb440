"""Opaque TCP: bytes both ways between two connections until both directions have ended."""

import math

import attrs

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded
from mesh.runtime.environment import Connection, Reactor
from mesh.runtime.pump import Signal


class _Direction:
    """One way of a relay. A direction that ends passes the end on; one that breaks breaks both connections."""

    __slots__ = ("bytes", "failed", "finished", "source", "target")

    def __init__(self, source: Connection, target: Connection) -> None:
        self.source = source
        self.target = target
        self.bytes = 0
        self.finished = False
        self.failed = False

    async def run(self, ended: Signal) -> None:
        try:
            while data := await self.source.receive():
                self.bytes += len(data)
                await self.target.send(data)
            await self.target.send_eof()
        except (BrokenConnection, ClosedConnection, DeadlineExceeded):
            self.failed = True
        finally:
            self.finished = True
            ended.wake_all()


@attrs.frozen
class Relayed:
    """What went through, and whether it was the upstream that broke."""

    bytes_up: int
    bytes_down: int
    upstream_broke: bool


async def relay(downstream: Connection, upstream: Connection, *, reactor: Reactor, idle_s: float) -> Relayed:
    """Relay until both directions have ended or one breaks.

    `idle_s`: end when no byte has gone either way for so long; 0: never. Half-closed connections stay open the other way.
    """
    pump = reactor.current
    assert pump is not None
    forth, back = _Direction(downstream, upstream), _Direction(upstream, downstream)
    ended = Signal(reactor)

    pumps = [reactor.start(way.run(ended), name="relay") for way in (forth, back)]
    try:
        seen = -1
        while not ((forth.finished and back.finished) or forth.failed or back.failed):
            pump.set_deadline(reactor.now() + idle_s if idle_s else math.inf)
            try:
                await ended.wait()
            except DeadlineExceeded:
                if forth.bytes + back.bytes == seen:
                    break
                seen = forth.bytes + back.bytes
    finally:
        for other in pumps:
            other.cancel()
        pump.set_deadline(math.inf)
        if forth.failed or back.failed:
            downstream.abort()
            upstream.abort()
    return Relayed(forth.bytes, back.bytes, back.failed and not forth.failed)
