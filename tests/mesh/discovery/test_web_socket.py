"""The WebSocket over a Trio stream: what each end learns when the other does not behave."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from mesh.discovery.messages import MESSAGE_BYTES_MAX
from mesh.discovery.web_socket import Conversation, MessageSocket, converse_as_client, converse_as_server
from mesh.model.errors import BrokenConnection, ConnectFailed, RemoteProtocolError

PATH = "/v1/configuration"


def run(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=MockClock(autojump_threshold=0))


async def converse(client: Conversation, server: Conversation, *, path: str = PATH) -> list[Exception]:
    """Run both ends on one pair of streams; return what they raised."""
    ours, theirs = memory_stream_pair()
    raised: list[Exception] = []

    async def keep(end: Awaitable[None]) -> None:
        try:
            await end
        except Exception as error:
            raised.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            keep, converse_as_client(ours, host="cp", path=path, handshake_timeout_s=5.0, converse=client)
        )
        nursery.start_soon(keep, converse_as_server(theirs, path=PATH, handshake_timeout_s=5.0, converse=server))
    return raised


async def listen(socket: MessageSocket) -> None:
    while True:
        await socket.receive()


def test_messages_arrive_whole_and_in_order() -> None:
    received: list[bytes] = []

    async def talk(socket: MessageSocket) -> None:
        for size in (0, 1, 100_000):
            await socket.send(b"x" * size)

    async def hear(socket: MessageSocket) -> None:
        for _ in range(3):
            received.append(await socket.receive())

    async def test() -> None:
        assert await converse(talk, hear) == []
        assert [len(message) for message in received] == [0, 1, 100_000]

    run(test)


def test_end_of_the_conversation_is_a_broken_connection_for_the_other_end() -> None:
    async def leave(socket: MessageSocket) -> None:
        await socket.send(b"bye")

    async def test() -> None:
        (error,) = await converse(leave, listen)
        assert isinstance(error, BrokenConnection)

    run(test)


def test_error_in_a_conversation_is_raised_as_it_is() -> None:
    async def fail(socket: MessageSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise RemoteProtocolError("nonsense")

    async def test() -> None:
        errors = await converse(fail, listen)
        assert {type(error) for error in errors} == {RemoteProtocolError, BrokenConnection}

    run(test)


def test_another_path_is_refused() -> None:
    async def test() -> None:
        errors = await converse(listen, listen, path="/metrics")
        assert all(isinstance(error, ConnectFailed) for error in errors) and len(errors) == 2
        assert "status 404" in str(errors) and "/metrics" in str(errors)

    run(test)


def test_message_over_the_limit_ends_the_connection() -> None:
    async def flood(socket: MessageSocket) -> None:
        await socket.send(b"x" * (MESSAGE_BYTES_MAX + 1))
        await listen(socket)

    async def test() -> None:
        errors = await converse(flood, listen)
        assert [type(error) for error in errors] == [BrokenConnection, BrokenConnection]
        assert any("1009" in str(error) for error in errors)

    run(test)


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nhost: cp\r\n\r\n", b"\0" * 70_000])
def test_peer_that_speaks_something_else_is_given_up(greeting: bytes) -> None:
    async def test() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, greeting)
            with pytest.raises((ConnectFailed, BrokenConnection)):
                await converse_as_server(theirs, path=PATH, handshake_timeout_s=5.0, converse=listen)
            nursery.cancel_scope.cancel()

    run(test)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", b"\x15\x03\x01\x00"])
def test_server_that_goes_away_in_the_handshake_is_given_up(answer: bytes) -> None:
    async def test() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await theirs.receive_some(65536)
                await theirs.send_all(answer)
                await theirs.aclose()

            nursery.start_soon(serve)
            with pytest.raises((ConnectFailed, BrokenConnection, RemoteProtocolError)):
                await converse_as_client(ours, host="cp", path=PATH, handshake_timeout_s=5.0, converse=listen)

    run(test)
