import pytest
import trio

from mesh.model.errors import ConnectFailed
from sim.network.breaks import Refuse, Reset
from sim.network.cuts import Hold, Partition
from sim.network.delays import Loss, SlowLink, Throttle
from sim.network.latency import Constant
from sim.network.links import Link, NetworkModel
from sim.network.rules import Between
from tests.sim.kernel.simulated_pair import MS, SimulatedPair, make_pair, receive_exactly, round_trip

BOTH = Between(source=("client",), target=("server",))
TO_SERVER = Between(source=("client",), target=("server",), both_ways=False)
TO_CLIENT = Between(source=("server",), target=("client",), both_ways=False)


def test_a_partition_stalls_a_stream_until_it_heals() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        rule = pair.world.network.add_rule(Partition(between=BOTH))
        await stream.send_all(b"one")
        await stream.send_all(b"two")
        with trio.move_on_after(2.0) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        rule.remove()
        assert await receive_exactly(stream, 6) == b"onetwo"
        # Sent at 2 ms, sent again 0.2, 0.6, 1.4 and 3.0 s later; the partition ended at 2 s.
        assert trio.current_time() == pytest.approx(0.002 + 3.0 + 2 * MS)
        assert await round_trip(stream) == pytest.approx(2 * MS)
        assert rule.hits >= 4
        assert not rule.active

    make_pair().run(body)


def test_a_partition_can_be_one_way() -> None:
    async def body(pair: SimulatedPair) -> None:
        seen = pair.world.log
        stream = await pair.connect()
        with pair.world.network.add_rule(Partition(between=TO_CLIENT)) as rule:
            await stream.send_all(b"arrives")
            with trio.move_on_after(0.1) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught
            assert rule.hits > 0
        assert await receive_exactly(stream, 7) == b"arrives"
        # The server answered at once: its retransmission after 200 ms found the network healed.
        assert trio.current_time() == pytest.approx(0.002 + MS + 0.2 + MS)
        with pair.world.network.add_rule(Partition(between=TO_SERVER)) as rule:
            await stream.send_all(b"x")
            assert rule.hits == 1
        assert [event.kind for event in seen.events if event.kind.startswith("fault")] == [
            "fault.armed",
            "fault.bit",
            "fault.lifted",
        ] * 2

    make_pair().run(body)


def test_a_partition_of_zones_leaves_others_alone() -> None:
    pair = make_pair()
    neighbour = pair.world.add_host("neighbour", zone="zone-2")

    async def body(pair: SimulatedPair) -> None:
        between = Between(source=("zone-1",), target=("zone-2",))
        with pair.world.network.add_rule(Partition(between=between)) as rule:
            with trio.move_on_after(5.0) as scope:
                await pair.connect()
            assert scope.cancelled_caught
            hits = rule.hits
            await round_trip(await neighbour.environment.network.connect(pair.address))
            await round_trip(await pair.server.environment.network.connect(pair.address))
            assert rule.hits == hits == 3  # SYNs at 0, 1 and 3 s

    pair.run(body)


def test_a_connect_into_a_partition_fails_after_127_seconds() -> None:
    async def body(pair: SimulatedPair) -> None:
        with pair.world.network.add_rule(Partition(between=BOTH)), pytest.raises(ConnectFailed) as caught:
            await pair.connect()
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert trio.current_time() == pytest.approx(127.0)

    make_pair().run(body)


def test_a_connect_succeeds_with_the_next_syn_after_the_partition() -> None:
    async def body(pair: SimulatedPair) -> None:
        rule = pair.world.network.add_rule(Partition(between=TO_CLIENT))
        pair.world.clock.push(2 * 10**9, lambda _: rule.remove(), None)
        await round_trip(await pair.connect())
        assert trio.current_time() == pytest.approx(3.0 + 4 * MS)

    make_pair().run(body)


def test_a_stream_is_given_up_after_a_quarter_of_an_hour() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Partition(between=BOTH)):
            await stream.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError, match="timeout"):
                await stream.receive_some()
        assert 924 < trio.current_time() < 930

    make_pair().run(body)


def test_a_window_stays_shut_while_its_updates_are_lost() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        sent = 0
        with pair.world.network.add_rule(Partition(between=TO_CLIENT)), trio.move_on_after(1.0):
            while True:
                await stream.send_all(bytes(1024))
                sent += 1024
        assert sent <= pair.world.network.model.window_bytes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(512 * 1024))
            await receive_exactly(stream, sent + 512 * 1024)

    make_pair().run(body)


def test_what_is_held_arrives_when_the_rule_is_lifted() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Hold(between=TO_SERVER)) as rule:
            for number in range(10):
                await stream.send_all(bytes([number]))
            await trio.sleep_until(60.0)
            assert rule.hits == 1  # The others wait behind the first.
        assert await receive_exactly(stream, 10) == bytes(range(10))
        assert trio.current_time() == pytest.approx(60.0 + 2 * MS)

    make_pair().run(body)


def test_delays_add_up() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        network = pair.world.network
        with (
            network.add_rule(SlowLink(between=BOTH, extra=Constant(0.1))),
            network.add_rule(SlowLink(between=TO_CLIENT, extra=Constant(0.5))),
        ):
            assert await round_trip(stream) == pytest.approx(0.702)
        assert await round_trip(stream) == pytest.approx(2 * MS)

    make_pair().run(body)


def test_a_delayed_segment_holds_up_those_behind_it() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(SlowLink(between=TO_SERVER, extra=Constant(1.0))):
            await stream.send_all(b"slow")
        await stream.send_all(b"fast")
        assert await receive_exactly(stream, 8) == b"slowfast"
        assert trio.current_time() == pytest.approx(1.0 + 4 * MS)

    make_pair().run(body)


def test_a_throttle_narrows_a_link() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Throttle(between=TO_SERVER, bytes_per_s=1e5)):
            assert await round_trip(stream, bytes(10_000)) == pytest.approx(0.102)

    make_pair().run(body)


def test_loss_by_a_rule_is_a_stall_too() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Loss(between=TO_SERVER, probability=0.3)) as rule:
            spans = [await round_trip(stream) for _ in range(100)]
        stalled = [span for span in spans if span > 0.1]
        assert 15 <= len(stalled) <= 45
        assert rule.hits == len(stalled)

    make_pair().run(body)


def test_a_reset_breaks_both_ends() -> None:
    broken: list[str] = []

    async def body(pair: SimulatedPair) -> None:
        pair.server.spawn("server", serve)
        await trio.sleep(0.01)
        stream = await pair.connect()
        pair.world.network.add_rule(Reset(between=BOTH))
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.sleep(1.0)

    async def serve() -> None:
        listener = await pair.server.environment.network.listen(pair.address)
        stream = await listener.accept()
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            broken.append("server")

    pair = make_pair(server=None)
    pair.run(body)
    assert broken == ["server"]


def test_a_reset_can_wait_for_so_many_bytes() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        pair.world.network.add_rule(Reset(between=TO_SERVER, after_bytes=1000))
        await round_trip(stream, bytes(600))
        await round_trip(stream, bytes(400))
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    make_pair().run(body)


def test_refusing_concerns_new_connections_and_their_port_only() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        network = pair.world.network
        network.add_rule(Refuse(between=Between(target=("server",), port=81)))
        await round_trip(await pair.connect())
        network.add_rule(Refuse(between=Between(target=("server",), port=80)))
        with pytest.raises(ConnectFailed):
            await pair.connect()
        await round_trip(stream)

    make_pair().run(body)


def test_a_rule_that_never_bit_says_so() -> None:
    async def body(pair: SimulatedPair) -> None:
        rule = pair.world.network.add_rule(Partition(between=Between(source=("client",), target=("nobody",))))
        await trio.sleep(1.0)
        await round_trip(await pair.connect())
        assert (rule.armed_at, rule.active, rule.hits) == (0.0, True, 0)

    make_pair().run(body)


def test_lifting_one_rule_leaves_the_draws_of_another_alone() -> None:
    def spans(*, with_other: bool) -> list[float]:
        taken: list[float] = []

        async def body(pair: SimulatedPair) -> None:
            stream = await pair.connect()
            if with_other:
                pair.world.network.add_rule(SlowLink(between=BOTH, extra=Constant(0.0), probability=0.5), name="other")
            pair.world.network.add_rule(Loss(between=BOTH, probability=0.2), name="loss")
            taken.extend([await round_trip(stream) for _ in range(50)])

        make_pair(NetworkModel(default=Link(latency=Constant(MS)))).run(body)
        return taken

    assert spans(with_other=True) == spans(with_other=False)
