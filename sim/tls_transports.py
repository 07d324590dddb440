"""What carries the bytes after a modelled handshake: the connection below, once the server's first record is off the front.

In TLS 1.3 a server speaks first behind the handshake, with a session ticket or with the alert by which it refuses the
client. Only then is everything the transport's own.
"""

import operator
from collections.abc import Callable, Coroutine
from typing import Any

import trio
from trio.abc import HalfCloseableStream

from mesh.identity.handshake import RECEIVE_BYTES
from mesh.model.errors import MeshError
from mesh.model.names import SpiffeId
from mesh.runtime.environment import Connection
from sim import tls_wire as wire


class TicketStripper:
    """Takes the server's first record off the client's incoming bytes: a session ticket, or an alert that refuses us."""

    def __init__(self) -> None:
        self._first = bytearray()
        self.done = False

    def feed(self, data: bytes) -> bytes | None:
        """Return what came behind the ticket; None while it has not arrived whole. Raises: RefusedByPeer, BrokenConnection."""
        self._first += data
        found = wire.cut_record(self._first)
        if found is None:
            return None
        if found[0] == wire.ALERT:
            raise wire.alert_error(found[1])
        self.done = True
        return bytes(self._first)

    def finish(self) -> bytes:
        """Take the end of the stream in place of a ticket. Raises: BrokenConnection when it cuts the ticket."""
        if self._first:
            raise wire.broken("the stream was cut in the middle of a record")
        self.done = True
        return b""


class ModelledClientConnection:
    """The client's end. Its methods are those of the connection below, but for receiving until the ticket has come."""

    receive: Callable[[], Coroutine[Any, Any, bytes]]
    receive_now: Callable[[], bytes | None]
    watch: Callable[[Callable[[], None] | None], None]

    def __init__(self, raw: Connection, *, peer: SpiffeId | None, alpn: str | None) -> None:
        self.local = raw.local
        self.remote = raw.remote
        self.peer = peer
        self.secure = True
        self.sni = ""
        self.alpn = alpn
        self.send = raw.send
        self.send_eof = raw.send_eof
        self.unread = raw.unread
        self.close = raw.close
        self.abort = raw.abort
        self.receive = self._receive_first
        self.receive_now = self._receive_first_now
        self.watch = self._watch_for_first
        self._raw = raw
        self._ticket = TicketStripper()
        self._failure: MeshError | None = None
        self._watcher: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<ModelledClientConnection {self.local} - {self.remote} peer={self.peer}>"

    async def _receive_first(self) -> bytes:
        while not self._ticket.done:
            self._raise_failure()
            self._take(await self._raw.receive())
        return await self._raw.receive()

    def _receive_first_now(self) -> bytes | None:
        while not self._ticket.done:
            self._raise_failure()
            data = self._raw.receive_now()
            if data is None:
                return None
            self._take(data)
        return self._raw.receive_now()

    def _watch_for_first(self, callback: Callable[[], None] | None) -> None:
        self._watcher = callback
        if self._ticket.done:
            self._raw.watch(callback)
        else:
            self._raw.watch(None if callback is None else self._on_first)
            if callback is not None and self._failure is not None:
                callback()

    def _on_first(self) -> None:
        try:
            while not self._ticket.done:
                data = self._raw.receive_now()
                if data is None:
                    return
                self._take(data)
        except MeshError as error:
            self._failure = error
            self._raw.watch(None)
            if self._watcher is not None:
                self._watcher()
        else:
            # Reports at once what came behind the ticket.
            self._raw.watch(self._watcher)

    def _take(self, data: bytes) -> None:
        """Look for the ticket; once it is there, step aside."""
        try:
            rest = self._ticket.feed(data) if data else self._ticket.finish()
        except MeshError as error:
            self._failure = error
            raise
        if rest is None:
            return
        if rest:
            self._raw.unread(rest)
        self.receive = self._raw.receive
        self.receive_now = self._raw.receive_now
        self.watch = self._raw.watch

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)


class ModelledStream(HalfCloseableStream):
    """The same for Trio tasks, on both sides."""

    def __init__(self, transport: HalfCloseableStream, leftover: bytes, *, expects_ticket: bool) -> None:
        self.transport = transport
        self._front = leftover
        self._failure: MeshError | None = None
        self._ticket = TicketStripper() if expects_ticket else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        size = RECEIVE_BYTES if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._ticket is not None:
            await self._await_ticket(self._ticket)
        if not self._front:
            return await self.transport.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data, self._front = self._front[:size], self._front[size:]
        return data

    async def _await_ticket(self, ticket: TicketStripper) -> None:
        self._raise_failure()
        while not ticket.done:
            received, self._front = self._front, b""
            if not received:
                received = bytes(await self.transport.receive_some(RECEIVE_BYTES))
            try:
                self._front = (ticket.feed(received) if received else ticket.finish()) or b""
            except MeshError as error:
                self._failure = error
                self._raise_failure()
        self._ticket = None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise trio.BrokenResourceError(str(self._failure)) from self._failure

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.transport.send_eof()

    async def aclose(self) -> None:
        self._front = b""
        await self.transport.aclose()
