import os
import select
import socket
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Signal
from mesh.runtime.reactor import EpollReactor

LOOPBACK = Address("127.0.0.1", 0)
settle = trio.testing.wait_all_tasks_blocked


async def echo(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def test_a_pump_echoes(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, echo)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port)
        for message in (b"one", b"two", b"three"):
            await stream.send_all(message)
            assert await stream.receive_some() == message
        await stream.send_eof()
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_many_connections_are_served_at_once(running_reactor: Any, in_pump: Any) -> None:
    async def call(reactor: EpollReactor, address: Address, number: int) -> None:
        connection = await reactor.connect(address)
        for turn in range(3):
            message = b"%d.%d" % (number, turn)
            await connection.send(message)
            assert await connection.receive() == message
        connection.close()

    async with running_reactor() as reactor, trio.open_nursery() as nursery:
        address = reactor.listen(LOOPBACK, echo).address
        for number in range(300):
            nursery.start_soon(in_pump, reactor, call, reactor, address, number)


async def test_the_connection_closes_when_its_pump_ends(running_reactor: Any) -> None:
    async def greet(connection: Connection) -> None:
        await connection.send(b"bye")

    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, greet)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port)
        assert await stream.receive_some() == b"bye"
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_listening_and_starting_before_run_is_allowed(log: Any, in_pump: Any) -> None:
    reactor = EpollReactor(log=log)
    address = reactor.listen(LOOPBACK, echo).address
    came: list[str] = []

    async def early() -> None:
        connection = await reactor.connect(address)
        await connection.send(b"early")
        came.append((await connection.receive()).decode())
        await reactor.call_trio(trio.sleep, 0)
        await reactor.sleep(0)
        came.append("called")

    pump = reactor.start(early(), name="early")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        ended = trio.Event()
        pump.on_done(lambda pump, error: ended.set())
        with trio.fail_after(5):
            await ended.wait()
        nursery.cancel_scope.cancel()
    assert came == ["early", "called"]


# Deadlines and timers.


async def wait_for_ever(reactor: EpollReactor) -> None:
    await Signal(reactor).wait()


async def test_a_deadline_ends_a_parked_pump(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        errors: list[BaseException | None] = []
        pump = reactor.start(wait_for_ever(reactor), name="waiting")
        pump.on_done(lambda pump, error: errors.append(error))
        pump.set_deadline(reactor.now() + 5.0)
        await settle()
        mock_clock.jump(4.99)
        await settle()
        assert not errors
        mock_clock.jump(0.02)
        await settle()
        assert [type(error) for error in errors] == [DeadlineExceeded]


async def test_an_earlier_deadline_overtakes_a_later_one(
    running_reactor: Any, mock_clock: trio.testing.MockClock
) -> None:
    async with running_reactor() as reactor:
        pump = reactor.start(wait_for_ever(reactor), name="waiting")
        pump.set_deadline(reactor.now() + 60.0)
        await settle()
        pump.set_deadline(reactor.now() + 1.0)
        mock_clock.jump(1.01)
        await settle()
        assert pump.done


async def test_a_deadline_a_request_costs_no_timer(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        pump = reactor.start(wait_for_ever(reactor), name="waiting")
        pump.set_deadline(reactor.now() + 15.0)
        for _ in range(1000):
            mock_clock.jump(0.001)
            pump.set_deadline(reactor.now() + 15.0)
        assert len(reactor._timers) == 1
        mock_clock.jump(14.5)  # The timer comes early now: it looks, and goes to sleep until the true deadline.
        await settle()
        assert not pump.done and len(reactor._timers) == 1
        mock_clock.jump(0.6)
        await settle()
        assert pump.done


async def test_ended_pumps_leave_no_timers_for_long(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        for _ in range(5000):
            pump = reactor.start(wait_for_ever(reactor), name="short")
            pump.set_deadline(reactor.now() + 3600.0)
            pump.cancel()
        assert len(reactor._timers) <= 1025


async def test_a_deadline_ends_a_pump_that_connects(running_reactor: Any, in_pump: Any) -> None:
    # A full backlog: the kernel drops what would be a further connection's first packet.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)

    async def connect(reactor: EpollReactor) -> None:
        assert reactor.current is not None
        reactor.current.set_deadline(reactor.now() + 0.05)
        await reactor.connect(Address(*full.getsockname()))

    async with running_reactor() as reactor:
        with pytest.raises(DeadlineExceeded):
            await in_pump(reactor, connect, reactor)
        assert not reactor._sources and not reactor._arrivals
    for sock in (full, *fillers):
        sock.close()


async def test_a_sleep_ignores_spurious_wake_ups(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        woke: list[float] = []

        async def sleep() -> None:
            await reactor.sleep(2.0)
            woke.append(trio.current_time())

        began = trio.current_time()
        pump = reactor.start(sleep(), name="sleeper")
        await settle()
        mock_clock.jump(1.0)
        pump.resume()
        await settle()
        assert not woke
        mock_clock.jump(1.0)
        await settle()
        assert woke == [pytest.approx(began + 2.0)]


async def test_timers_run_in_order_and_see_their_time(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        seen: list[tuple[str, float]] = []
        began = reactor.now()
        for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
            reactor.call_at(began + delay, lambda name=name: seen.append((name, reactor.now() - began)))
        await settle()
        mock_clock.jump(3.0)
        await settle()
        assert seen == [("a", pytest.approx(3.0)), ("b", pytest.approx(3.0)), ("c", pytest.approx(3.0))]


async def test_more_timers_than_one_turn_takes_all_run(
    running_reactor: Any, mock_clock: trio.testing.MockClock
) -> None:
    async with running_reactor() as reactor:
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1

        for _ in range(1000):
            reactor.call_at(reactor.now() + 1.0, tick)
        mock_clock.jump(1.0)
        await settle()
        assert count == 1000


# Turns.


async def test_the_clock_stands_still_within_a_turn(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        seen: list[float] = []

        def look() -> None:
            seen.append(reactor.now())
            mock_clock.jump(1.0)
            seen.append(reactor.now())

        reactor.call_soon(look)
        await settle()
        assert seen[0] == seen[1] < reactor.now()


async def test_call_soon_between_turns_runs(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        ran = trio.Event()
        await settle()
        reactor.call_soon(ran.set)
        with trio.fail_after(5):
            await ran.wait()


async def test_callbacks_that_call_one_another_do_not_starve_trio(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        going = True

        def again() -> None:
            if going:
                reactor.call_soon(again)

        reactor.call_soon(again)
        with trio.fail_after(5):
            for _ in range(100):
                await trio.lowlevel.checkpoint()
        going = False


async def test_a_crashing_callback_is_logged_and_the_others_run(
    running_reactor: Any, log_capture: structlog.testing.LogCapture
) -> None:
    async with running_reactor() as reactor:
        ran: list[str] = []
        reactor.call_soon(lambda: ran[7])
        reactor.call_soon(lambda: ran.append("second"))
        await settle()
        assert ran == ["second"]
    assert [(entry["event"], entry["log_level"]) for entry in log_capture.entries] == [("callback.crashed", "error")]


async def test_a_file_descriptor_used_again_within_a_batch_gets_no_old_events(running_reactor: Any) -> None:
    class Source:
        def __init__(self, sock: socket.socket) -> None:
            self.socket = sock
            self.events: list[int] = []

        def on_events(self, events: int) -> None:
            self.events.append(events)
            if self is not first or len(first.events) > 1:
                return
            # Close the second, whose event is in this batch too, and take its number for a silent socket.
            number = second.socket.fileno()
            reactor.unregister(number)
            second.socket.close()
            os.dup2(silent.fileno(), number)
            third.socket = socket.socket(fileno=number)
            reactor.register(number, third, select.EPOLLIN | select.EPOLLET)

        def discard(self) -> None:
            reactor.unregister(self.socket.fileno())
            self.socket.close()

    async with running_reactor() as reactor:
        (a, a_peer), (b, b_peer), (silent, silent_peer) = socket.socketpair(), socket.socketpair(), socket.socketpair()
        first, second, third = Source(a), Source(b), Source(silent)
        a_peer.send(b"x")
        b_peer.send(b"x")
        reactor.register(a.fileno(), first, select.EPOLLIN | select.EPOLLET)
        reactor.register(b.fileno(), second, select.EPOLLIN | select.EPOLLET)
        await settle()
        assert first.events and not second.events and not third.events
        silent_peer.send(b"x")
        await settle()
        assert third.events
    for sock in (a_peer, b_peer, silent, silent_peer):
        sock.close()


# Trio tasks on behalf of pumps.


async def test_call_trio_returns_the_result(running_reactor: Any, in_pump: Any) -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    async with running_reactor() as reactor:
        assert await in_pump(reactor, reactor.call_trio, double, 21) == 42


async def test_call_trio_raises_where_the_pump_is_parked(running_reactor: Any, in_pump: Any) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("not there")

    async with running_reactor() as reactor:
        with pytest.raises(LookupError, match="not there"):
            await in_pump(reactor, reactor.call_trio, fail)
        assert await in_pump(reactor, reactor.call_trio, trio.sleep, 0) is None


async def test_a_deadline_during_call_trio_cancels_the_task(
    running_reactor: Any, mock_clock: trio.testing.MockClock
) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("task")

    async with running_reactor() as reactor:

        async def body() -> None:
            try:
                await reactor.call_trio(work)
            except DeadlineExceeded:
                ended.append("pump")

        pump = reactor.start(body(), name="caller")
        pump.set_deadline(reactor.now() + 1.0)
        await settle()
        mock_clock.jump(1.0)
        await settle()
        assert ended == ["pump", "task"]


async def test_a_failure_while_being_cancelled_stays_in_its_task(
    running_reactor: Any, in_pump: Any, log_capture: structlog.testing.LogCapture
) -> None:
    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("late")

    async with running_reactor() as reactor:
        pump = reactor.start(reactor.call_trio(work), name="caller")
        await settle()
        pump.cancel()
        await settle()
        assert await in_pump(reactor, reactor.call_trio, trio.sleep, 0) is None
    assert [entry["event"] for entry in log_capture.entries] == ["call.failed"]


# Ends.


async def test_cancelling_run_ends_all_pumps_and_closes_all_sockets(log: Any) -> None:
    reactor = EpollReactor(log=log)
    cleaned: list[str] = []

    async def serve(connection: Connection) -> None:
        try:
            await connection.receive()
        finally:
            cleaned.append("served")

    async def sleep() -> None:
        try:
            await reactor.sleep(1000)
        finally:
            cleaned.append("slept")

    async def call() -> None:
        try:
            await reactor.call_trio(trio.sleep_forever)
        finally:
            cleaned.append("called")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        listener = reactor.listen(LOOPBACK, serve)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port)
        await settle()
        reactor.start(sleep(), name="sleeper")
        reactor.start(call(), name="caller")
        await settle()
        nursery.cancel_scope.cancel()
    assert cleaned == ["served", "slept", "called"]
    assert await stream.receive_some() == b""
    await stream.aclose()
    with pytest.raises(OSError, match="all attempts"):
        await trio.open_tcp_stream("127.0.0.1", listener.address.port)
    with pytest.raises(ClosedConnection):
        reactor.start(sleep(), name="too late")


async def test_a_pump_that_parks_while_cancelled_is_ended_and_named(
    log: Any, log_capture: structlog.testing.LogCapture
) -> None:
    reactor = EpollReactor(log=log)

    async def stubborn() -> None:
        try:
            await reactor.sleep(1000)
        finally:
            await reactor.sleep(1000)

    pump = reactor.start(stubborn(), name="stubborn")
    reactor.close()
    assert pump.done
    assert [entry["event"] for entry in log_capture.entries] == ["pump.parked_while_cancelled"]


async def test_a_crashing_pump_is_logged_and_kills_only_its_connection(
    running_reactor: Any, log_capture: structlog.testing.LogCapture
) -> None:
    async def serve(connection: Connection) -> None:
        if await connection.receive() == b"crash":
            raise KeyError("our bug")
        await connection.send(b"fine")

    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, serve)
        streams = [await trio.open_tcp_stream("127.0.0.1", listener.address.port) for _ in range(2)]
        await streams[0].send_all(b"crash")
        assert await streams[0].receive_some() == b""
        await streams[1].send_all(b"hello")
        assert await streams[1].receive_some() == b"fine"
        for stream in streams:
            await stream.aclose()
    (entry,) = log_capture.entries
    assert (entry["event"], entry["log_level"]) == ("pump.crashed", "error")
    assert isinstance(entry["exc_info"], KeyError)


async def test_a_pump_ended_by_its_peer_is_no_crash(
    running_reactor: Any, log_capture: structlog.testing.LogCapture
) -> None:
    async def serve(connection: Connection) -> None:
        raise BrokenConnection

    async with running_reactor() as reactor:
        listener = reactor.listen(LOOPBACK, serve)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port)
        assert await stream.receive_some() == b""
        await stream.aclose()
    assert [(entry["event"], entry["log_level"]) for entry in log_capture.entries] == [("pump.failed", "debug")]
