"""TlsConnection: a Connection for pumps that protects another Connection. It is on the path of every byte between sidecars.

One raw `receive` and one raw `send` a turn; records are joined on both ways. Does not shake hands (`tls`).
"""

from collections.abc import Callable

from mesh.identity.handshake import send_now
from mesh.identity.tls_session import CHUNK_BYTES, TlsSession
from mesh.model.errors import BrokenConnection, ClosedConnection, MeshError
from mesh.model.names import Address, SpiffeId
from mesh.runtime.environment import Connection


class TlsConnection:
    """See `mesh.runtime.environment.Connection`. Beyond it: `alpn`, the protocol agreed on in the handshake, or None.

    Besides BrokenConnection, `receive` may raise RefusedByPeer, which is one: a server's refusal of our certificate
    arrives after the handshake. An end without close_notify counts as the end, unless it cuts a record.
    """

    __slots__ = (
        "_closed",
        "_ended",
        "_front",
        "_raw",
        "_sending",
        "_session",
        "_watch_failure",
        "_watcher",
        "alpn",
        "local",
        "peer",
        "remote",
        "secure",
        "sni",
    )

    def __init__(
        self, raw: Connection, session: TlsSession, *, peer: SpiffeId | None, alpn: str | None, sni: str = ""
    ) -> None:
        self.local: Address = raw.local
        self.remote: Address = raw.remote
        self.peer = peer
        self.secure = True
        self.sni = sni
        self.alpn = alpn
        self._raw = raw
        self._session = session
        self._front = b""  # plaintext put back by `unread`, or that came while nobody was receiving
        self._watcher: Callable[[], None] | None = None
        self._watch_failure: MeshError | None = None
        # invariant: True while a record is on its way out, and for ever when that was cut short
        self._sending = False
        self._ended = False  # our close_notify has gone out
        self._closed = False

    def __repr__(self) -> str:
        return f"<TlsConnection {self.local} - {self.remote} peer={self.peer}{' closed' if self._closed else ''}>"

    def receive_now(self) -> bytes | None:
        data = self._known()
        while data is None:
            encrypted = self._raw.receive_now()
            if encrypted is None:
                return None
            data = self._session.feed(encrypted) if encrypted else self._session.finish()
        return data

    async def receive(self) -> bytes:
        session = self._session
        if self._front or session.ready or self._watch_failure is not None:
            data = self._known()
            if data is not None:
                return data
        while True:
            encrypted = await self._raw.receive()
            data = session.feed(encrypted) if encrypted else session.finish()
            if data is not None:
                return data

    def _known(self) -> bytes | None:
        """Return what needs no more bytes from the wire."""
        if self._closed:
            raise ClosedConnection("this side has closed the connection")
        if self._front:
            data, self._front = self._front, b""
            return data
        if self._watch_failure is not None:
            raise self._watch_failure.with_traceback(None)
        return self._session.take() if self._session.ready else None

    async def send(self, data: bytes) -> None:
        if self._ended or self._sending:
            self._refuse_to_send()
        if len(data) <= CHUNK_BYTES:
            if data:
                self._sending = True
                await self._raw.send(self._session.encrypt(data))
                self._sending = False
            return
        view = memoryview(data)
        self._sending = True
        for begin in range(0, len(view), CHUNK_BYTES):
            await self._raw.send(self._session.encrypt(view[begin : begin + CHUNK_BYTES]))
        self._sending = False

    def _refuse_to_send(self) -> None:
        if self._ended:
            raise ClosedConnection("this side has ended the stream")
        raise BrokenConnection("TLS error: an earlier record was not sent whole")

    async def send_eof(self) -> None:
        if self._closed:
            raise ClosedConnection("this side has closed the connection")
        if self._ended:
            return
        if self._sending:
            self._refuse_to_send()
        self._keep_what_came()
        self._ended = True
        await self._raw.send(self._session.end())
        await self._raw.send_eof()

    def _keep_what_came(self) -> None:
        """Decrypt all that is here: OpenSSL takes data that it finds while it ends for an error."""
        try:
            while self._session.ready and (data := self._session.take()):
                self._front += data
        except MeshError:
            pass  # `take` raises it again when its turn comes.

    def unread(self, data: bytes) -> None:
        self._front = data + self._front

    def watch(self, callback: Callable[[], None] | None) -> None:
        """See the protocol; calls back before it returns when something is here already."""
        self._watcher = callback
        if callback is None:
            self._raw.watch(None)
        elif self._session.ready or self._watch_failure is not None:
            self._report()
        else:
            self._raw.watch(self._on_raw_event)
            if self._front:
                callback()

    def _on_raw_event(self) -> None:
        """Look whether what came is more than a session ticket or half a record."""
        try:
            data = self.receive_now()
        except MeshError as error:
            self._watch_failure = error
        else:
            if data is None:
                return
            self._front = data  # b"" is the end, which the session remembers.
        self._report()

    def _report(self) -> None:
        callback = self._watcher
        if self._session.ready or self._watch_failure is not None:
            # The end or a failure: the transport's own end, which follows, is no news.
            self._watcher = None
            self._raw.watch(None)
        if callback is not None:
            callback()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._watcher = None
        if not (self._sending or self._ended):
            send_now(self._raw, self._session.end())
        self._ended = True
        self._raw.close()

    def abort(self) -> None:
        self._closed = self._ended = True
        self._watcher = None
        self._raw.abort()
