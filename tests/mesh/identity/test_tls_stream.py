"""TLS for Trio tasks: the stream keeps Trio's contract, half-close and clogging included."""

import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import BrokenConnection, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, ServerTls
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, client_tls, server_tls, svid

ROOT = authority()
CLIENT_TLS = client_tls(ROOT, own=svid(ROOT, WEB))
SERVER_TLS = server_tls(ROOT, own=svid(ROOT, CART))

Pair = tuple[HalfCloseableStream, HalfCloseableStream]


_sockets: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _close_sockets() -> Iterator[None]:
    yield
    while _sockets:
        _sockets.pop().close()


def socket_pair() -> Pair:
    left, right = socket.socketpair()
    _sockets.extend((left, right))
    return _stream(left), _stream(right)


def _stream(end: socket.socket) -> trio.SocketStream:
    end.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(end))


async def shake(
    client: ClientTls = CLIENT_TLS, server: ServerTls = SERVER_TLS, *, now: float = NOW, pair: Pair | None = None
) -> list[object]:
    """Return (stream, peer) or the error of each side."""
    left, right = pair or socket_pair()
    tls = OpenSslTls(lambda: now)
    outcomes: dict[str, object] = {}

    async def keep(side: str, handshake: Callable[[], Awaitable[object]]) -> None:
        try:
            outcomes[side] = await handshake()
        except (IdentityError, BrokenConnection) as error:
            outcomes[side] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, "client", lambda: tls.client(client).handshake_stream(left))
        nursery.start_soon(keep, "server", lambda: tls.server(server).handshake_stream(right))
    return [outcomes["client"], outcomes["server"]]


async def protected_pair(pair: Pair | None = None) -> Pair:
    (client, _), (server, _) = await shake(pair=pair)  # type: ignore[misc]
    return client, server


class Gated(HalfCloseableStream):
    """A stream that, once `clogged`, sends nothing before its other end receives."""

    def __init__(self, stream: HalfCloseableStream) -> None:
        self.stream = stream
        self.other: Gated
        self.gate = trio.Event()
        self.gate.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.wait_send_all_might_not_block()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.gate.wait()
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.other.gate.set()
        return await self.stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        self.gate.set()
        self.other.gate.set()
        await self.stream.aclose()


async def clogged_pair() -> Pair:
    left, right = (Gated(end) for end in socket_pair())
    left.other, right.other = right, left
    client, server = await protected_pair((left, right))
    # The session ticket is on its way already.
    left.gate, right.gate = trio.Event(), trio.Event()
    return client, server


def test_stream_keeps_trios_contract() -> None:
    async def main() -> None:
        with trio.fail_after(20):
            await trio.testing.check_half_closeable_stream(protected_pair, clogged_pair)

    trio.run(main)


def test_both_sides_learn_whom_they_talk_to() -> None:
    async def main() -> None:
        (_, server_seen), (_, client_seen) = await shake()  # type: ignore[misc]
        assert (server_seen, client_seen) == (CART, WEB)

    trio.run(main)


def test_big_transfer_with_half_close() -> None:
    async def main() -> None:
        client, server = await protected_pair()
        data = bytes(range(256)) * 8192
        received = bytearray()

        async def serve() -> None:
            async for part in server:
                received.extend(part)
            await server.send_all(b"done")
            await server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await client.send_all(data)
            await client.send_eof()
            assert await client.receive_some() == b"done"
            assert await client.receive_some() == b""
        assert bytes(received) == data

    trio.run(main)


def test_refused_server_and_its_reason() -> None:
    async def main() -> None:
        payment = SpiffeId("mesh.example", "/payment")
        client, server = await shake(client_tls(ROOT, own=None, expected=(payment,)))
        assert isinstance(client, PeerRefused) and client.fault is Fault.WRONG_IDENTITY
        assert isinstance(server, RefusedByPeer) and "access denied" in str(server)
        client, server = await shake(now=NOW + 2 * DAY_S)
        assert isinstance(client, PeerRefused) and client.fault is Fault.EXPIRED
        assert isinstance(server, RefusedByPeer) and "certificate expired" in str(server)

    trio.run(main)


def test_refused_client_hears_of_it_when_it_receives() -> None:
    async def main() -> None:
        (client, _), server = await shake(client_tls(ROOT, own=svid(authority(), WEB)))  # type: ignore[misc]
        assert isinstance(server, PeerRefused)
        with pytest.raises(trio.BrokenResourceError, match="unknown ca") as broken:
            await client.receive_some()
        assert isinstance(broken.value.__cause__, RefusedByPeer)

    trio.run(main)


def test_peer_that_goes_away_during_the_handshake_is_a_broken_connection() -> None:
    async def main() -> None:
        left, right = socket_pair()
        await right.aclose()
        with pytest.raises(BrokenConnection):
            await OpenSslTls(lambda: NOW).client(CLIENT_TLS).handshake_stream(left)
        with pytest.raises(trio.ClosedResourceError):
            await left.send_all(b"x")

    trio.run(main)


def test_cancelled_handshake_closes_the_stream() -> None:
    async def main() -> None:
        left, _right = socket_pair()
        with trio.move_on_after(0.01) as scope:
            await OpenSslTls(lambda: NOW).client(CLIENT_TLS).handshake_stream(left)
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await left.send_all(b"x")

    trio.run(main)
