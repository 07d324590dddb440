"""Handshakes without transport: a generator says what to send and is given what arrives; two drivers carry it out.

A handshake yields the bytes to send before it needs to hear from the peer (none: b"") and is sent the bytes received
(b"" at the end of the stream). Last it yields Done. Real and modelled TLS are both driven so.
"""

from collections.abc import Generator
from typing import Generic, TypeVar

import attrs
import trio
from trio.abc import HalfCloseableStream

from mesh.identity.certificate_path import Fault
from mesh.model.errors import BrokenConnection, ClosedConnection, IdentityError, MeshError
from mesh.runtime.environment import Connection

T = TypeVar("T")

RECEIVE_BYTES = 65536
FAREWELL_S = 1.0  # How long a Trio stream that takes nothing may keep an alert waiting.


@attrs.frozen
class Done(Generic[T]):
    """The end of a handshake: the last bytes to send, and what it brought."""

    output: bytes
    result: T


Handshake = Generator[bytes | Done[T], bytes, None]


class RefusedByPeer(IdentityError, BrokenConnection):
    """The peer's or ours: the peer does not accept our certificate, as its alert says.

    In TLS 1.3 a server's refusal comes after the client's handshake is done: then `receive` raises this.
    """

    def __init__(self, alert: str) -> None:
        BrokenConnection.__init__(self, f"TLS error: the peer refused our certificate: {alert}")


class Farewell(Exception):
    """Thrown by a handshake that fails: `error` for the caller, `alert` for the peer."""

    def __init__(self, error: MeshError, alert: bytes) -> None:
        super().__init__(str(error))
        self.error = error
        self.alert = alert


def plain_alert(fault: Fault) -> bytes:
    """Return a fatal alert in a record without protection, for while there is none. Source: RFC 8446 sections 5.1 and 6."""
    return bytes((21, 3, 3, 0, 2, 2, fault.value))


async def shake_connection(handshake: Handshake[T], connection: Connection) -> T:
    """Carry out a handshake from a pump. Raises: IdentityError, BrokenConnection; the connection is closed then."""
    try:
        step = next(handshake)
        while not isinstance(step, Done):
            if step:
                await connection.send(step)
            step = handshake.send(await connection.receive())
        if step.output:
            await connection.send(step.output)
    except Farewell as farewell:
        if farewell.alert:
            send_now(connection, farewell.alert)
        connection.close()
        raise farewell.error from farewell.__cause__
    except BaseException:
        connection.abort()
        raise
    return step.result


async def shake_stream(handshake: Handshake[T], stream: HalfCloseableStream) -> T:
    """Carry out a handshake from a Trio task. Raises: IdentityError, BrokenConnection; the stream is closed then."""
    try:
        step = next(handshake)
        while not isinstance(step, Done):
            if step:
                await stream.send_all(step)
            step = handshake.send(bytes(await stream.receive_some(RECEIVE_BYTES)))
        if step.output:
            await stream.send_all(step.output)
    except Farewell as farewell:
        await _part(stream, farewell.alert)
        raise farewell.error from farewell.__cause__
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await trio.aclose_forcefully(stream)
        raise BrokenConnection from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return step.result


async def _part(stream: HalfCloseableStream, alert: bytes) -> None:
    with trio.move_on_after(FAREWELL_S):
        try:
            if alert:
                await stream.send_all(alert)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await stream.aclose()
        return
    await trio.aclose_forcefully(stream)


def send_now(connection: Connection, data: bytes) -> bool:
    """Send a few bytes without parking; drop what the buffers do not take, for the connection is to be closed.

    No pump may be parked in `send`: the bytes would cut into its record.
    """
    sending = connection.send(data)
    try:
        sending.send(None)
    except StopIteration:
        return True
    except (BrokenConnection, ClosedConnection, AssertionError):
        # Outside a pump, a connection that has no room may assert that it cannot park.
        return False
    sending.close()
    return False
