"""Resets, refusals and forgotten connections, as both ends see them."""

import pytest
import trio
from trio.abc import HalfCloseableStream

from sim.network.breaks import Forget, Reset
from sim.network.cuts import Blackhole, Swallows
from sim.network.rules import Between
from tests.sim.kernel.simulated_pair import MS, SimulatedPair, make_pair, receive_exactly, round_trip

BOTH = Between(source=("client",), target=("server",))
TO_SERVER = Between(source=("client",), target=("server",), both_ways=False)


async def run_with_reader(pair: SimulatedPair) -> tuple[HalfCloseableStream, list[bytes], list[str]]:
    """Connect to a server that only reads; return the stream, what the server has read, and how it ended."""
    read: list[bytes] = []
    ended: list[str] = []

    async def serve() -> None:
        listener = await pair.server.environment.network.listen(pair.address)
        stream = await listener.accept()
        try:
            while data := await stream.receive_some():
                read.append(bytes(data))
            ended.append("end")
        except trio.BrokenResourceError:
            ended.append("reset")

    pair.server.spawn("server", serve)
    await trio.sleep(0.01)
    return await pair.connect(), read, ended


def test_a_reset_after_bytes_cuts_a_message_where_it_says() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream, read, ended = await run_with_reader(pair)
        pair.world.network.add_rule(Reset(between=TO_SERVER, after_bytes=1000))
        await stream.send_all(bytes(600))
        await stream.send_all(bytes(600))
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.sleep(1.0)
        assert (b"".join(read), ended) == (bytes(1000), ["reset"])

    make_pair(server=None).run(body)


def test_a_reset_between_frames_lets_the_last_one_arrive_whole() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream, read, ended = await run_with_reader(pair)
        pair.world.network.add_rule(Reset(between=TO_SERVER, whole=True))
        await stream.send_all(bytes(600))
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.sleep(1.0)
        assert (b"".join(read), ended) == (bytes(600), ["reset"])

    make_pair(server=None).run(body)


def test_a_forgotten_connection_is_reset_for_who_writes_and_for_nobody_else() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream, read, ended = await run_with_reader(pair)
        await stream.send_all(b"before")
        await trio.sleep(1.0)
        pair.world.network.add_rule(Forget(between=BOTH, opened_before_ns=pair.world.clock.now_ns))
        await trio.sleep(60.0)  # Nobody is told.
        await stream.send_all(b"after")
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() - began == pytest.approx(MS)
        await trio.sleep(3600.0)
        assert (b"".join(read), ended) == (b"before", [])

    make_pair(server=None).run(body)


def test_a_connection_forgotten_in_silence_is_given_up_after_a_quarter_of_an_hour() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await trio.sleep(1.0)
        pair.world.network.add_rule(Forget(between=BOTH, opened_before_ns=pair.world.clock.now_ns, silent=True))
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError, match="timeout"):
            await stream.receive_some()
        assert 924 < trio.current_time() < 930
        await round_trip(await pair.connect())  # New connections are known.

    make_pair().run(body)


def test_connections_are_forgotten_when_they_were_idle_for_too_long() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        rule = pair.world.network.add_rule(Forget(between=BOTH, idle_ns=30 * 10**9))
        for _ in range(3):
            await trio.sleep(25.0)
            await round_trip(stream)
        await trio.sleep(35.0)
        assert rule.hits == 0
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    make_pair().run(body)


def test_a_forgotten_connection_is_known_again_when_the_rule_is_lifted() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await trio.sleep(1.0)
        with pair.world.network.add_rule(Forget(between=BOTH, opened_before_ns=pair.world.clock.now_ns)):
            await trio.sleep(10.0)
        await round_trip(stream)

    make_pair().run(body)


def test_a_blackhole_for_new_connections_leaves_old_ones_alone() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Blackhole(between=BOTH, swallows=Swallows.NEW)):
            await round_trip(stream)
            with trio.move_on_after(10.0) as scope:
                await pair.connect()
            assert scope.cancelled_caught
        with pair.world.network.add_rule(Blackhole(between=BOTH, swallows=Swallows.ESTABLISHED)):
            fresh = await pair.connect()
            await stream.send_all(b"late")
            with trio.move_on_after(10.0) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught
        assert await receive_exactly(stream, 4) == b"late"
        await round_trip(fresh)

    make_pair().run(body)


def test_a_path_with_a_smaller_mtu_swallows_large_segments_and_what_follows_them() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream, other = await pair.connect(), await pair.connect()
        with pair.world.network.add_rule(Blackhole(between=BOTH, larger_than=1400)) as rule:
            await round_trip(stream, bytes(1400))
            await stream.send_all(bytes(1401))
            await stream.send_all(b"behind")
            with trio.move_on_after(5.0) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught
            assert rule.hits == 5  # at once, and after 0.2, 0.6, 1.4 and 3.0 s
            await round_trip(other)
        await receive_exactly(stream, 1407)

    make_pair().run(body)
