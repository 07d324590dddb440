import functools
import hashlib
import socket
import struct
from typing import Any

import pytest
import trio
import trio.testing

from mesh.model.errors import BrokenConnection, ClosedConnection, ConfigError, ConnectFailed
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Pump
from mesh.runtime.reactor import EpollReactor

LOOPBACK = Address("127.0.0.1", 0)
# A loaded kernel may deliver a little after the sender's call has returned.
settle = functools.partial(trio.testing.wait_all_tasks_blocked, 0.005)


class Accepted:
    """Holds the connections of a listener, each kept open by a pump that sleeps."""

    def __init__(self, reactor: EpollReactor) -> None:
        self.reactor = reactor
        self.connections: list[Connection] = []
        self.listener = reactor.listen(LOOPBACK, self.hold)

    async def hold(self, connection: Connection) -> None:
        self.connections.append(connection)
        await self.reactor.sleep(1000)

    async def pair(self) -> tuple[Connection, trio.SocketStream]:
        """Return one connection: our side, and the peer's."""
        count = len(self.connections)
        peer = await trio.open_tcp_stream("127.0.0.1", self.listener.address.port)
        with trio.fail_after(5):
            while len(self.connections) == count:
                await settle()
        return self.connections[-1], peer


def start_receiving(reactor: EpollReactor, connection: Connection) -> tuple[Pump, list[bytes | Exception]]:
    results: list[bytes | Exception] = []

    async def receive() -> None:
        try:
            results.append(await connection.receive())
        except Exception as error:
            results.append(error)

    return reactor.start(receive(), name="receiver"), results


def reset(peer: trio.SocketStream) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


# Reading.


async def test_receive_now_tells_bytes_nothing_and_the_end(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        assert ours.receive_now() is None
        await peer.send_all(b"hello")
        await settle()
        assert ours.receive_now() == b"hello"
        assert ours.receive_now() is None
        await peer.aclose()
        await settle()
        assert [ours.receive_now() for _ in range(3)] == [b"", b"", b""]


async def test_the_end_that_came_with_the_last_bytes_is_seen(running_reactor: Any, in_pump: Any) -> None:
    """Bytes and end in one report of the kernel: no second report follows a short read."""
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        await peer.send_all(b"last")
        await peer.send_eof()
        await settle()
        assert await in_pump(reactor, ours.receive) == b"last"
        assert await in_pump(reactor, ours.receive) == b""
        await peer.aclose()


async def test_spurious_wake_ups_do_not_end_a_receive(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        pump, results = start_receiving(reactor, ours)
        pump.resume()
        pump.resume()
        await settle()
        assert not results and not pump.done
        await peer.send_all(b"x")
        await settle()
        assert results == [b"x"]
        await peer.aclose()


async def test_unread_bytes_come_first_and_nothing_is_lost(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        await peer.send_all(b"GET / HTTP/1.1")
        first = await in_pump(reactor, ours.receive)
        ours.unread(first[4:])
        ours.unread(first[:4])
        await peer.send_all(b"more")
        await settle()
        assert await in_pump(reactor, ours.receive) == b"GET / HTTP/1.1"
        assert await in_pump(reactor, ours.receive) == b"more"
        await peer.aclose()


async def test_a_reset_breaks_both_directions_for_good(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        _, results = start_receiving(reactor, ours)
        reset(peer)
        await settle()
        assert [type(result) for result in results] == [BrokenConnection]
        for operation in (ours.receive, lambda: ours.send(b"x"), ours.receive):
            with pytest.raises(BrokenConnection, match="connection termination"):
                await in_pump(reactor, operation)


async def test_a_reset_found_by_sending_does_not_look_like_an_end(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        reset(peer)
        with pytest.raises(BrokenConnection):
            await in_pump(reactor, ours.send, b"x")
        with pytest.raises(BrokenConnection):
            await in_pump(reactor, ours.receive)


async def test_a_relay_between_fast_peers_lets_others_run(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        ours._recv = bytes  # Always as much as asked for.
        received = 0

        async def read() -> None:
            nonlocal received
            while data := await ours.receive():
                received += len(data)

        pump = reactor.start(read(), name="reader")
        await peer.send_all(b"x")
        with trio.fail_after(5):
            while received < 50 * 65536:
                await trio.lowlevel.checkpoint()
        pump.cancel()
        await peer.aclose()


# Writing.


@pytest.mark.parametrize("size", [1, 1 << 16, 20_000_000])
async def test_bytes_arrive_whole_at_a_slow_reader(running_reactor: Any, in_pump: Any, size: int) -> None:
    data = hashlib.shake_128(b"seed").digest(4096) * (size // 4096 + 1)
    digest = hashlib.sha256()

    async def read_slowly(peer: trio.SocketStream) -> None:
        left = len(data)
        while left:
            chunk = await peer.receive_some(10_000 if left > len(data) - 100_000 else 1 << 20)
            digest.update(chunk)
            left -= len(chunk)
            await trio.lowlevel.checkpoint()

    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly, peer)
            await in_pump(reactor, ours.send, data)
        await peer.aclose()
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_a_sender_parks_while_its_peer_does_not_read(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        pump = reactor.start(ours.send(bytes(20_000_000)), name="sender")
        await settle()
        assert not pump.done
        reset(peer)
        await settle()
        assert pump.done


async def test_relaying_in_both_directions_at_once(running_reactor: Any, in_pump: Any) -> None:
    async def echo(connection: Connection) -> None:
        while data := await connection.receive():
            await connection.send(data)

    async def read(connection: Connection) -> int:
        count = 0
        while count < 5_000_000:
            count += len(await connection.receive())
        return count

    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, echo)
        connection = await in_pump(reactor, reactor.connect, listener.address)
        reactor.start(connection.send(bytes(5_000_000)), name="writer")
        assert await in_pump(reactor, read, connection) == 5_000_000
        connection.close()


async def test_each_direction_ends_by_itself(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        await in_pump(reactor, ours.send, b"request")
        await in_pump(reactor, ours.send_eof)
        assert await peer.receive_some() == b"request"
        assert await peer.receive_some() == b""
        await peer.send_all(b"answer")
        assert await in_pump(reactor, ours.receive) == b"answer"
        with pytest.raises(ClosedConnection):
            await in_pump(reactor, ours.send, b"more")
        await peer.aclose()


# Watching.


async def test_a_watcher_hears_of_bytes_and_of_the_end(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        heard: list[str] = []
        ours.watch(lambda: heard.append("event"))
        await settle()
        assert not heard
        await peer.send_all(b"x")
        await settle()
        assert heard == ["event"]
        assert await in_pump(reactor, ours.receive) == b"x"
        await peer.aclose()
        await settle()
        assert heard == ["event", "event"]


async def test_a_watcher_hears_of_what_came_before_it(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        await peer.aclose()
        await settle()
        heard: list[str] = []
        ours.watch(lambda: heard.append("end"))
        assert not heard, "callbacks come at the end of the turn"
        await settle()
        assert heard == ["end"]
        ours.watch(None)


async def test_a_watcher_keeps_silent_while_a_pump_receives_and_after_its_end(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        heard: list[str] = []
        ours.watch(lambda: heard.append("event"))
        _, results = start_receiving(reactor, ours)
        await peer.send_all(b"x")
        await settle()
        assert results == [b"x"] and not heard
        ours.watch(None)
        await peer.aclose()
        await settle()
        assert not heard


# Closing.


async def test_closing_wakes_whoever_is_parked(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        _, results = start_receiving(reactor, ours)
        ours.close()
        ours.close()
        await settle()
        assert [type(result) for result in results] == [ClosedConnection]
        for operation in (ours.receive, lambda: ours.send(b"x"), ours.send_eof):
            with pytest.raises(ClosedConnection):
                await in_pump(reactor, operation)
        await peer.aclose()


async def test_an_answer_survives_closing_before_the_request_was_read(running_reactor: Any) -> None:
    """Closing with unread bytes resets, and a reset makes the peer drop the answer: so it must linger."""

    async def refuse(connection: Connection) -> None:
        await connection.receive()
        await connection.send(b"413")

    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, refuse)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port)
        for _ in range(20):
            await stream.send_all(bytes(50_000))
            await trio.sleep(0.001)
        assert await stream.receive_some() == b"413"
        assert await stream.receive_some() == b""
        await stream.aclose()
        await settle()
        assert list(reactor._sources.values()) == [listener]


async def test_a_peer_that_never_ends_holds_a_closed_connection_for_a_second_only(
    running_reactor: Any, mock_clock: trio.testing.MockClock
) -> None:
    async with running_reactor() as reactor:
        accepted = Accepted(reactor)
        ours, peer = await accepted.pair()
        ours.close()
        await settle()
        assert len(reactor._sources) == 2
        mock_clock.jump(1.01)
        await settle()
        assert list(reactor._sources.values()) == [accepted.listener]
        await peer.aclose()


async def test_abort_resets(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ours, peer = await Accepted(reactor).pair()
        ours.abort()
        ours.abort()
        with pytest.raises(trio.BrokenResourceError):
            await peer.receive_some()
        await peer.aclose()


# Connecting and listening.


async def test_connecting_knows_both_addresses(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        accepted = Accepted(reactor)
        connection = await in_pump(reactor, reactor.connect, accepted.listener.address)
        await settle()
        (ours,) = accepted.connections
        assert connection.remote == ours.local == accepted.listener.address
        assert connection.local == ours.remote
        assert connection.peer is None and not connection.secure
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_listener_on_all_addresses_knows_which_one_was_called(running_reactor: Any, host: str) -> None:
    locals_seen: list[Address] = []

    async def serve(connection: Connection) -> None:
        locals_seen.append(connection.local)

    loopback = "127.0.0.1" if host == "0.0.0.0" else "::1"
    async with running_reactor() as reactor:
        listener = reactor.listen(Address(host, 0), serve)
        stream = await trio.open_tcp_stream(loopback, listener.address.port)
        assert await stream.receive_some() == b""
        await stream.aclose()
        assert locals_seen == [Address(loopback, listener.address.port)]


async def test_a_refused_connect_fails(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, lambda connection: connection.send_eof())
        listener.close()
        with pytest.raises(ConnectFailed, match="connection failure"):
            await in_pump(reactor, reactor.connect, listener.address)
        assert not reactor._sources and not reactor._arrivals


async def test_connecting_to_a_name_is_refused_before_it_can_block(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        with pytest.raises(ConfigError, match=r"'inventory\.mesh' is not an IP address"):
            await in_pump(reactor, reactor.connect, Address("inventory.mesh", 80))


async def test_a_closed_listener_stops_accepting_and_spares_the_accepted(running_reactor: Any, in_pump: Any) -> None:
    async with running_reactor() as reactor:
        accepted = Accepted(reactor)
        ours, peer = await accepted.pair()
        accepted.listener.close()
        accepted.listener.close()
        with pytest.raises(OSError, match="all attempts"):
            await trio.open_tcp_stream("127.0.0.1", accepted.listener.address.port)
        await peer.send_all(b"still here")
        assert await in_pump(reactor, ours.receive) == b"still here"
        await peer.aclose()


async def test_a_port_in_use_names_the_port_and_its_user(running_reactor: Any) -> None:
    async def serve(connection: Connection) -> None: ...

    async with running_reactor() as reactor:
        address = reactor.listen(LOOPBACK, serve).address
        with pytest.raises(ConfigError, match=rf"cannot listen on {address}: port {address.port} is in use by .*pid"):
            reactor.listen(address, serve)
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is not an address of this machine"):
            reactor.listen(Address("192.0.2.1", 0), serve)
        with pytest.raises(ConfigError, match="'localhost' is not an IP address"):
            reactor.listen(Address("localhost", 0), serve)


async def test_two_listeners_share_a_port_where_both_ask_for_it(running_reactor: Any) -> None:
    async def serve(connection: Connection) -> None: ...

    async with running_reactor() as reactor:
        address = reactor.listen(LOOPBACK, serve, reuse_port=True).address
        assert reactor.listen(address, serve, reuse_port=True).address == address


async def test_a_listener_out_of_files_pauses_and_goes_on(
    running_reactor: Any, mock_clock: trio.testing.MockClock, log_capture: Any
) -> None:
    class Exhausted(socket.socket):
        def accept(self) -> Any:
            raise OSError(24, "Too many open files")

    async with running_reactor() as reactor:
        accepted = Accepted(reactor)
        original = accepted.listener._socket
        accepted.listener._socket = Exhausted(fileno=original.fileno())
        stream = await trio.open_tcp_stream("127.0.0.1", accepted.listener.address.port)
        await settle()
        assert [entry["event"] for entry in log_capture.entries] == ["listener.paused"]
        accepted.listener._socket.detach()
        accepted.listener._socket = original
        mock_clock.jump(0.2)
        await settle()
        assert len(accepted.connections) == 1
        await stream.aclose()
