"""One body for both worlds: what the simulated network promises must be what real sockets do."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import trio

from mesh.model.errors import BrokenConnection, ClosedConnection, ConfigError, ConnectFailed, DeadlineExceeded
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from tests.parity.worlds import WORLDS, Body, Peers, in_pump, run_in_world

KIB = 1024


@pytest.fixture(params=WORLDS)
def run(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    return lambda body: run_in_world(request.param, body)


async def echo(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def receive_all(connection: Connection) -> bytes:
    parts = []
    while data := await connection.receive():
        parts.append(data)
    return b"".join(parts)


async def send_for_ever(connection: Connection) -> None:
    while True:
        await connection.send(bytes(256 * KIB))


async def receive_exactly(connection: Connection, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await connection.receive()
        assert part, "ended early"
        data += part
    return data


def test_a_pump_echoes_to_a_pump(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address

        async def client() -> bytes:
            connection = await peers.client.reactor.connect(address)
            assert connection.remote == address
            assert connection.local.port > 0
            assert (connection.peer, connection.secure) == (None, False)
            for message in (b"one", b"two", b"three"):
                await connection.send(message)
                assert await receive_exactly(connection, len(message)) == message
            await connection.send_eof()
            return await receive_all(connection)

        assert await in_pump(peers.client.reactor, client) == b""

    run(body)


def test_a_half_closed_connection_still_carries_the_answer(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def digest(connection: Connection) -> None:
            request = await receive_all(connection)
            await connection.send(hashlib.sha256(request).digest())

        address = peers.server.reactor.listen(peers.any_port, digest).address

        async def client() -> bytes:
            connection = await peers.client.reactor.connect(address)
            await connection.send(b"request")
            await connection.send_eof()
            with pytest.raises(ClosedConnection):
                await connection.send(b"more")
            return await receive_all(connection)

        assert await in_pump(peers.client.reactor, client) == hashlib.sha256(b"request").digest()

    run(body)


def test_a_sender_parks_while_its_peer_does_not_read(run: Any) -> None:
    sent_bytes = 32 * KIB * KIB
    block = bytes(range(256)) * 256

    async def body(peers: Peers) -> None:
        received = hashlib.sha256()
        progress = {"sent": 0, "received": 0}
        may_read = trio.Event()

        async def reader(connection: Connection) -> None:
            await peers.server.reactor.call_trio(may_read.wait)
            while data := await connection.receive():
                assert len(data) <= 256 * KIB
                received.update(data)
                progress["received"] += len(data)

        address = peers.server.reactor.listen(peers.any_port, reader).address

        async def sender() -> None:
            connection = await peers.client.reactor.connect(address)
            while progress["sent"] < sent_bytes:
                await connection.send(block)
                progress["sent"] += len(block)
            await connection.send_eof()
            assert await connection.receive() == b""

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_pump, peers.client.reactor, sender)
            await trio.sleep(0.3)
            assert 0 < progress["sent"] < sent_bytes
            may_read.set()
        assert progress["received"] == sent_bytes
        assert received.digest() == hashlib.sha256(block * (sent_bytes // len(block))).digest()

    run(body)


def test_one_large_send_arrives_whole(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address
        message = bytes(range(256)) * 4 * KIB

        async def client() -> None:
            connection = await peers.client.reactor.connect(address)
            sender = peers.client.reactor.start(connection.send(message), name="sender")  # type: ignore[arg-type]
            assert await receive_exactly(connection, len(message)) == message
            assert sender.done

        await in_pump(peers.client.reactor, client)

    run(body)


def test_nobody_listening_refuses_the_connect(run: Any) -> None:
    async def body(peers: Peers) -> None:
        listener = peers.server.reactor.listen(peers.any_port, echo)
        listener.close()
        listener.close()
        with pytest.raises(ConnectFailed) as caught:
            await in_pump(peers.client.reactor, peers.client.reactor.connect, listener.address)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        with pytest.raises(ConnectFailed):
            await peers.client.network.connect(listener.address)

    run(body)


def test_a_pump_does_not_resolve_names(run: Any) -> None:
    async def body(peers: Peers) -> None:
        with pytest.raises(ConfigError):
            await in_pump(peers.client.reactor, peers.client.reactor.connect, Address("some.name", 80))

    run(body)


def test_a_taken_address_is_named(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address
        with pytest.raises(ConfigError, match=str(address.port)):
            peers.server.reactor.listen(address, echo)
        with pytest.raises(ConfigError, match=str(address.port)):
            await peers.server.network.listen(address)

    run(body)


def test_a_foreign_address_cannot_be_listened_on(run: Any) -> None:
    async def body(peers: Peers) -> None:
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
            peers.server.reactor.listen(Address("192.0.2.1", 0), echo)

    run(body)


def test_a_peer_that_closes_while_we_send_breaks_the_connection(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def take_one(connection: Connection) -> None:
            await connection.receive()
            connection.abort()

        address = peers.server.reactor.listen(peers.any_port, take_one).address

        async def client() -> None:
            connection = await peers.client.reactor.connect(address)
            with pytest.raises(BrokenConnection):
                await send_for_ever(connection)
            with pytest.raises(BrokenConnection):
                await connection.send(b"it stays broken")
            with pytest.raises(BrokenConnection):
                await receive_all(connection)
            connection.close()

        await in_pump(peers.client.reactor, client)

    run(body)


def test_an_answer_before_the_end_of_the_request_is_not_lost(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def refuse(connection: Connection) -> None:
            await connection.receive()
            await connection.send(b"too large")

        address = peers.server.reactor.listen(peers.any_port, refuse).address

        async def client() -> bytes:
            connection = await peers.client.reactor.connect(address)
            for _ in range(8):
                await connection.send(bytes(16 * KIB))
            await peers.client.reactor.sleep(0.1)
            return await receive_all(connection)

        assert await in_pump(peers.client.reactor, client) == b"too large"

    run(body)


def test_an_abort_shows_as_a_broken_connection(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def abort(connection: Connection) -> None:
            connection.abort()
            connection.abort()

        address = peers.server.reactor.listen(peers.any_port, abort).address

        async def client() -> None:
            connection = await peers.client.reactor.connect(address)
            with pytest.raises(BrokenConnection):
                await connection.receive()
            with pytest.raises(BrokenConnection):
                await connection.receive()

        await in_pump(peers.client.reactor, client)

    run(body)


def test_a_deadline_ends_a_receive_and_leaves_the_connection_whole(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address
        reactor = peers.client.reactor

        async def client() -> None:
            connection = await reactor.connect(address)
            pump = reactor.current
            assert pump is not None
            began = reactor.now()
            pump.set_deadline(began + 0.05)
            with pytest.raises(DeadlineExceeded):
                await connection.receive()
            assert 0.05 <= reactor.now() - began < 5.0
            await connection.send(b"still there")
            assert await receive_exactly(connection, 11) == b"still there"

        await in_pump(reactor, client)

    run(body)


def test_a_deadline_ends_a_send_into_a_full_window(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def never_read(connection: Connection) -> None:
            await peers.server.reactor.sleep(60.0)

        address = peers.server.reactor.listen(peers.any_port, never_read).address
        reactor = peers.client.reactor

        async def client() -> None:
            connection = await reactor.connect(address)
            assert reactor.current is not None
            reactor.current.set_deadline(reactor.now() + 0.2)
            with pytest.raises(DeadlineExceeded):
                await send_for_ever(connection)

        await in_pump(reactor, client)

    run(body)


def test_a_watched_connection_reports_bytes_and_the_end(run: Any) -> None:
    async def body(peers: Peers) -> None:
        speak = trio.Event()

        async def speak_later(connection: Connection) -> None:
            await peers.server.reactor.call_trio(speak.wait)
            await connection.send(b"unasked")

        address = peers.server.reactor.listen(peers.any_port, speak_later).address
        reactor = peers.client.reactor

        async def client() -> Connection:
            return await reactor.connect(address)

        connection = await in_pump(reactor, client)
        reports: list[str] = []
        connection.watch(lambda: reports.append("watched"))
        await trio.sleep(0.05)
        assert connection.receive_now() is None
        assert reports == []
        speak.set()
        await trio.sleep(0.1)
        assert reports
        assert connection.receive_now() == b"unasked"
        connection.watch(None)
        await trio.sleep(0.05)
        assert connection.receive_now() == b""

        late: list[str] = []
        connection.watch(lambda: late.append("watched"))
        await trio.sleep(0.05)
        connection.close()

    run(body)


def test_a_watcher_hears_of_bytes_that_came_before_it(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def greet(connection: Connection) -> None:
            await connection.send(b"hello")
            await peers.server.reactor.sleep(1.0)

        address = peers.server.reactor.listen(peers.any_port, greet).address
        connection = await in_pump(peers.client.reactor, peers.client.reactor.connect, address)
        await trio.sleep(0.1)
        reports: list[str] = []
        connection.watch(lambda: reports.append("watched"))
        await trio.sleep(0.1)
        assert reports == ["watched"]
        connection.close()

    run(body)


def test_a_watcher_hears_of_an_end_that_came_with_the_bytes_a_reader_took(run: Any) -> None:
    """Else an idle connection that its server has closed would carry the next request."""

    async def body(peers: Peers) -> None:
        async def answer_and_go(connection: Connection) -> None:
            await connection.receive()
            await connection.send(b"answer")

        address = peers.server.reactor.listen(peers.any_port, answer_and_go).address
        reactor = peers.client.reactor
        reports: list[str] = []

        async def client() -> Connection:
            connection = await reactor.connect(address)
            connection.watch(lambda: reports.append("watched"))
            await connection.send(b"ask")
            assert await connection.receive() == b"answer"
            return connection

        connection = await in_pump(reactor, client)
        await trio.sleep(0.1)
        assert reports
        assert connection.receive_now() == b""
        connection.close()

    run(body)


def test_unread_bytes_come_first_again(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address

        async def client() -> None:
            connection = await peers.client.reactor.connect(address)
            await connection.send(b"GET /")
            data = await receive_exactly(connection, 5)
            connection.unread(data)
            assert connection.receive_now() == b"GET /"
            connection.unread(b"/")
            connection.unread(b"GET ")
            assert await receive_exactly(connection, 5) == b"GET /"
            await connection.send(b"x")
            assert await receive_exactly(connection, 1) == b"x"

        await in_pump(peers.client.reactor, client)

    run(body)


def test_closing_wakes_a_parked_receive(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address
        reactor = peers.client.reactor

        async def client() -> None:
            connection = await reactor.connect(address)

            async def closer() -> None:
                await reactor.sleep(0.02)
                connection.close()
                connection.close()

            reactor.start(closer(), name="closer")
            with pytest.raises(ClosedConnection):
                await connection.receive()
            with pytest.raises(ClosedConnection):
                await connection.send(b"x")
            with pytest.raises(ClosedConnection):
                connection.receive_now()

        await in_pump(reactor, client)

    run(body)


def test_what_was_sent_before_close_arrives(run: Any) -> None:
    async def body(peers: Peers) -> None:
        async def answer(connection: Connection) -> None:
            await connection.send(b"x" * 100 * KIB)
            await connection.send(b"end")

        address = peers.server.reactor.listen(peers.any_port, answer).address

        async def client() -> bytes:
            connection = await peers.client.reactor.connect(address)
            await peers.client.reactor.sleep(0.05)
            return await receive_all(connection)

        assert await in_pump(peers.client.reactor, client) == b"x" * 100 * KIB + b"end"

    run(body)


def test_a_pump_talks_to_a_trio_task(run: Any) -> None:
    async def body(peers: Peers) -> None:
        listener = await peers.server.network.listen(peers.any_port)

        async def serve() -> None:
            stream = await listener.accept()
            async with stream:
                while data := await stream.receive_some():
                    await stream.send_all(data.upper())
            await listener.aclose()

        async def client() -> bytes:
            connection = await peers.client.reactor.connect(listener.address)
            await connection.send(b"to trio")
            await connection.send_eof()
            return await receive_all(connection)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            assert await in_pump(peers.client.reactor, client) == b"TO TRIO"

    run(body)


def test_a_trio_task_talks_to_a_pump(run: Any) -> None:
    async def body(peers: Peers) -> None:
        address = peers.server.reactor.listen(peers.any_port, echo).address
        stream = await peers.client.network.connect(address)
        async with stream:
            await stream.send_all(b"to a pump")
            await stream.send_eof()
            received = b""
            while data := await stream.receive_some():
                received += data
            assert received == b"to a pump"
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    run(body)


def test_a_pump_gets_results_and_errors_of_trio_tasks(run: Any) -> None:
    async def body(peers: Peers) -> None:
        reactor = peers.client.reactor

        async def add(a: int, b: int) -> int:
            await trio.sleep(0.01)
            return a + b

        async def fail() -> None:
            raise LookupError("from Trio")

        async def client() -> None:
            assert await reactor.call_trio(add, 1, 2) == 3
            with pytest.raises(LookupError, match="from Trio"):
                await reactor.call_trio(fail)
            assert reactor.current is not None
            reactor.current.set_deadline(reactor.now() + 0.02)
            with pytest.raises(DeadlineExceeded):
                await reactor.call_trio(trio.sleep_forever)

        await in_pump(reactor, client)

    run(body)


def test_timers_fire_in_order_and_not_early(run: Any) -> None:
    async def body(peers: Peers) -> None:
        reactor = peers.client.reactor
        fired: list[tuple[str, float]] = []
        done = trio.Event()
        began = reactor.now()
        reactor.call_at(began + 0.02, lambda: (fired.append(("second", reactor.now())), done.set())[0])
        reactor.call_at(began + 0.01, lambda: fired.append(("first", reactor.now())))
        reactor.call_soon(lambda: fired.append(("soon", reactor.now())))
        await done.wait()
        assert [name for name, _ in fired] == ["soon", "first", "second"]
        assert fired[1][1] >= began + 0.01
        assert fired[2][1] >= began + 0.02

    run(body)
