"""A request's body on its way upstream: kept for replay while it is small, streamed when it is not all there.

Bounded: past `REPLAY_BYTES_MAX` nothing is kept and the request can no longer be retried.
"""

import math
from collections.abc import Callable

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded, RemoteProtocolError
from mesh.protocol.http1 import BodyReader
from mesh.proxy.downstream import Downstream, DownstreamGone
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Pump

REPLAY_BYTES_MAX = 65_536  # Linkerd's limit for replayed bodies.


class RequestStalled(Exception):
    """Thrown into the exchange when its client sends no body bytes for the stream idle timeout."""


class BadBody(Exception):
    """Thrown into the exchange when the client's body breaks the protocol; `cause` says how."""

    def __init__(self, cause: RemoteProtocolError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class RequestBody:
    """The body of one request. `kept` is what has come so far, for this try and the next.

    `on_part` is called for each part that comes from the client, `on_complete` for the last; both before it goes upstream.
    """

    __slots__ = (
        "_downstream",
        "_reader",
        "bytes_received",
        "complete",
        "kept",
        "on_complete",
        "on_part",
        "pump",
        "replayable",
    )

    def __init__(self, downstream: Downstream | None, reader: BodyReader | None, kept: bytes) -> None:
        self._downstream = downstream
        self._reader = reader  # None: the body is complete
        self.pump: Pump | None = None  # that streams what has not come yet
        self.kept = kept
        self.complete = reader is None
        self.replayable = True
        self.bytes_received = len(kept)
        self.on_part: Callable[[], None] | None = None
        self.on_complete: Callable[[], None] | None = None

    @property
    def delivered(self) -> bool:
        """Has all of it gone upstream? Else the upstream would take the next request on its connection for the rest."""
        return self.complete and (self.pump is None or self.pump.done)

    def stream_to(self, upstream: Connection, waiting: Pump, *, idle_s: float) -> None:
        """Stream the rest in a pump of its own; what goes wrong on the client's side is thrown into `waiting`."""
        assert self._downstream is not None
        self.pump = self._downstream.reactor.start(self._stream(upstream, waiting, idle_s), name="request-body")

    def stop(self) -> None:
        """End the streaming pump: its try is over."""
        pump, self.pump = self.pump, None
        if pump is not None:
            pump.cancel()

    async def _stream(self, upstream: Connection, waiting: Pump, idle_s: float) -> None:
        downstream = self._downstream
        assert downstream is not None
        me = downstream.reactor.current
        assert me is not None
        while not self.complete:
            me.set_deadline(downstream.reactor.now() + idle_s if idle_s else math.inf)
            try:
                part = self._accept(await downstream.receive())
            except DownstreamGone as error:
                self._fail(waiting, error)
                return
            except RemoteProtocolError as error:
                self._fail(waiting, BadBody(error))
                return
            except DeadlineExceeded:
                self._fail(waiting, RequestStalled())
                return
            me.set_deadline(math.inf)
            self._report()
            try:
                await upstream.send(part)
            except (BrokenConnection, ClosedConnection):
                return  # The pump that waits for the response sees it too, and judges it.

    def _report(self) -> None:
        report = self.on_part
        if self.complete and self._downstream is not None:
            self._downstream.watch()
            report = self.on_complete
        if report is not None:
            report()

    def _accept(self, data: bytes) -> bytes:
        assert self._reader is not None and self._downstream is not None
        part, self.complete, rest = self._reader.feed(data)
        if rest:
            self._downstream.put_back(rest)
        self.bytes_received += len(part)
        if self.replayable and self.bytes_received <= REPLAY_BYTES_MAX:
            self.kept += part
        else:
            self.replayable = False
            self.kept = b""
        return part

    def _fail(self, waiting: Pump, error: Exception) -> None:
        assert self._downstream is not None
        mine = self._downstream.reactor.current

        def throw() -> None:
            if self.pump is mine:  # Else the try has ended meanwhile, and `waiting` waits for something else.
                waiting.throw(error)

        self._downstream.reactor.call_soon(throw)


NO_BODY = RequestBody(None, None, b"")  # What most requests have; nothing in it ever changes.
