"""One WebSocket over any Trio stream: whole binary messages in, whole binary messages out, errors translated.

Both ends come as a function that runs a conversation and leaves nothing behind: the reader task, the closing handshake
and the stream all end with it. Messages are bounded; one that waits unread holds back the peer.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import attrs
import h11
import trio
import wsproto.utilities
from trio.abc import HalfCloseableStream
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)

from mesh.discovery.messages import HELLO_BYTES_MAX, MESSAGE_BYTES_MAX
from mesh.model.errors import BrokenConnection, ConnectFailed, MeshError, RemoteProtocolError

CLOSE_S_MAX = 1.0
RECEIVE_BYTES = 65536


@attrs.frozen(eq=False)
class MessageSocket:
    """One open WebSocket. Any task may send, one may receive."""

    _connection: WebSocketConnection

    async def send(self, data: bytes) -> None:
        """Send one message; parks while the peer lags. Raises: BrokenConnection."""
        try:
            await self._connection.send_message(data)
        except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise BrokenConnection(_reason(self._connection)) from error

    async def receive(self) -> bytes:
        """Return the next message. Raises: BrokenConnection, RemoteProtocolError."""
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as error:
            raise BrokenConnection(_reason(self._connection)) from error
        if isinstance(message, str):
            raise RemoteProtocolError("a text message where binary ones are spoken")
        return message


Conversation = Callable[[MessageSocket], Awaitable[None]]


async def converse_as_client(
    stream: HalfCloseableStream, *, host: str, path: str, handshake_timeout_s: float, converse: Conversation
) -> None:
    """Open a WebSocket as the calling side, run `converse`, close. Raises: ConnectFailed, and what `converse` raises."""

    async def handshake(nursery: trio.Nursery) -> WebSocketConnection:
        return await wrap_client_stream(
            nursery,
            cast(Any, stream),  # Annotated too narrowly there: it takes any Trio stream.
            host,
            path,
            max_message_size=MESSAGE_BYTES_MAX,
            receive_buffer_size=RECEIVE_BYTES,
        )

    await _converse(stream, handshake, handshake_timeout_s, converse)


async def converse_as_server(
    stream: HalfCloseableStream, *, path: str, handshake_timeout_s: float, converse: Conversation
) -> None:
    """Answer a WebSocket request for `path`, run `converse`, close. Raises: ConnectFailed, and what `converse` raises."""

    async def handshake(nursery: trio.Nursery) -> WebSocketConnection:
        request = await wrap_server_stream(
            nursery, stream, max_message_size=HELLO_BYTES_MAX, receive_buffer_size=RECEIVE_BYTES
        )
        if request.path != path:
            await request.reject(404)
            raise ConnectFailed(f"the peer asked for {request.path!r}, which is not served here")
        return await request.accept()

    await _converse(stream, handshake, handshake_timeout_s, converse)


async def _converse(
    stream: HalfCloseableStream,
    handshake: Callable[[trio.Nursery], Awaitable[WebSocketConnection]],
    handshake_timeout_s: float,
    converse: Conversation,
) -> None:
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            # The library waits for ever when the peer goes away during the handshake.
            with trio.fail_after(handshake_timeout_s):
                connection = await handshake(nursery)
            try:
                await converse(MessageSocket(connection))
            finally:
                with trio.move_on_after(CLOSE_S_MAX):
                    await connection.aclose()
            nursery.cancel_scope.cancel()
    except* Exception as group:
        failure = first_error(group)
    finally:
        await trio.aclose_forcefully(stream)
    if isinstance(failure, MeshError):
        raise failure
    if failure is not None:
        raise _translated(failure) from failure


def first_error(group: BaseExceptionGroup[Exception]) -> Exception:
    """Return the first error in a group: when one task of a conversation fails, the others are only cancelled."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


def _translated(error: Exception) -> Exception:
    match error:
        case trio.TooSlowError():
            return ConnectFailed("no WebSocket handshake in time")
        case ConnectionRejected():
            return ConnectFailed(f"the peer refused the WebSocket with status {error.status_code}")
        case h11.ProtocolError() | wsproto.utilities.ProtocolError():
            # The library trips over a peer that speaks something else while it tries to tell it so.
            return RemoteProtocolError("the peer does not speak WebSocket")
        case ConnectionClosed() | trio.BrokenResourceError() | trio.ClosedResourceError():
            return BrokenConnection()
        case _:
            return error


def _reason(connection: WebSocketConnection) -> str:
    closed = connection.closed
    if closed is None or closed.code == 1006:
        return "connection termination"
    return f"closed by the peer with code {closed.code}{f': {closed.reason}' if closed.reason else ''}"
