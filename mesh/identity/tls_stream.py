"""TlsStream: a Trio stream that protects another one, with half-close, which trio.SSLStream does not offer.

For control traffic; the request path uses `tls_connection`. Does not shake hands (`tls`).
"""

import operator

import trio
from trio.abc import HalfCloseableStream

from mesh.identity.tls_session import CHUNK_BYTES, SCRATCH_BYTES, TlsSession
from mesh.model.errors import MeshError
from mesh.model.names import SpiffeId

RECEIVE_BYTES = 65536


class TlsStream(HalfCloseableStream):
    """Errors are Trio's; the cause of a BrokenResourceError says what TLS objected to (RefusedByPeer: our certificate)."""

    def __init__(
        self, transport: HalfCloseableStream, session: TlsSession, *, peer: SpiffeId | None, alpn: str | None
    ) -> None:
        self.transport = transport
        self.peer = peer
        self.alpn = alpn
        self._session = session
        self._plain = b""  # decrypted, not yet received
        self._receiving = False
        self._sending = False
        self._cut_short = False  # a record did not go out whole: nothing may follow it
        self._ended = False
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = SCRATCH_BYTES if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            if self._closed:
                raise trio.ClosedResourceError
            if not self._plain:
                self._plain = await self._receive_plain()
            else:
                await trio.lowlevel.checkpoint()
        finally:
            self._receiving = False
        data, self._plain = self._plain[:size], self._plain[size:]
        return data

    async def _receive_plain(self) -> bytes:
        session = self._session
        try:
            data = session.take() if session.ready else None
            if data is not None:
                await trio.lowlevel.checkpoint()
            while data is None:
                encrypted = await self.transport.receive_some(RECEIVE_BYTES)
                data = session.feed(bytes(encrypted)) if encrypted else session.finish()
        except MeshError as error:
            raise trio.BrokenResourceError(str(error)) from error
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        await self._send([view[begin : begin + CHUNK_BYTES] for begin in range(0, len(view), CHUNK_BYTES)])

    async def _send(self, chunks: list[memoryview]) -> None:
        self._check_sendable()
        self._sending = True
        try:
            if not chunks:
                await trio.lowlevel.checkpoint()
            for chunk in chunks:
                await self._send_records(self._session.encrypt(chunk))
        except MeshError as error:
            raise trio.BrokenResourceError(str(error)) from error
        finally:
            self._sending = False

    async def _send_records(self, records: bytes) -> None:
        self._cut_short = True
        await self.transport.send_all(records)
        self._cut_short = False

    def _check_sendable(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._closed or self._ended:
            raise trio.ClosedResourceError
        if self._cut_short:
            raise trio.BrokenResourceError("an earlier record was not sent whole")

    async def wait_send_all_might_not_block(self) -> None:
        self._check_sendable()
        self._sending = True
        try:
            await self.transport.wait_send_all_might_not_block()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._closed:
            raise trio.ClosedResourceError
        if self._ended:
            await trio.lowlevel.checkpoint()
            return
        self._check_sendable()
        self._keep_what_came()
        self._sending = self._ended = True
        try:
            await self._send_records(self._session.end())
            await self.transport.send_eof()
        finally:
            self._sending = False

    def _keep_what_came(self) -> None:
        """Decrypt all that is here: OpenSSL takes data that it finds while it ends for an error."""
        try:
            while self._session.ready and (data := self._session.take()):
                self._plain += data
        except MeshError:
            pass  # `take` raises it again when its turn comes.

    async def aclose(self) -> None:
        """Send a close_notify if the transport takes it, and close; wait for nothing from the peer."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if not (self._sending or self._ended or self._cut_short):
                await self.transport.send_all(self._session.end())
        except (trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            pass
        finally:
            await self.transport.aclose()
