from contextlib import suppress

import pytest
import trio

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.host import Host
from tests.sim.kernel.simulated_pair import MS, SimulatedPair, echo_server, make_pair, round_trip


def test_a_dying_hosts_clean_up_reaches_nobody() -> None:
    cleaned: list[str] = []

    async def server(host: Host) -> None:
        environment = host.environment
        disk, log = environment.disk, environment.log

        async def serve(connection: Connection) -> None:
            try:
                await connection.receive()
            finally:
                with suppress(Exception):
                    await connection.send(b"goodbye from a pump")
                connection.close()
                environment.reactor.call_soon(lambda: cleaned.append("callback"))
                log.error("pump.cleaned")
                cleaned.append("pump")

        async def actor() -> None:
            listener = await environment.network.listen(Address(host.address, 81))
            stream = await listener.accept()
            try:
                await stream.receive_some()
            finally:
                with trio.CancelScope(shield=True):
                    with suppress(trio.BrokenResourceError):
                        await stream.send_all(b"goodbye from a task")
                    with suppress(OSError):
                        await disk.write("last-words", b"x")
                    with suppress(ConnectFailed):
                        await environment.network.connect(pair.address)
                    await stream.aclose()
                log.error("actor.cleaned")
                cleaned.append("task")
                raise RuntimeError("and crashes")

        environment.reactor.listen(Address(host.address, 80), serve)
        host.spawn("actor", actor)

    async def body(pair: SimulatedPair) -> None:
        network = pair.client.environment.network
        streams = [await network.connect(Address(pair.server.address, port)) for port in (80, 81)]
        await trio.sleep(0.01)
        pair.server.kill()
        pair.server.kill()
        assert not pair.server.alive
        await trio.sleep(1.0)
        assert cleaned == ["pump", "task"]
        assert pair.server.platter.files == {}
        for stream in streams:
            with trio.move_on_after(3600.0) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught

    pair = make_pair(server=server)
    result = pair.run(body)
    assert [event.kind for event in pair.world.log.events if event.host == "server"] == ["host.started", "host.killed"]
    assert result.errors == ()


def test_a_restarted_host_resets_connections_it_does_not_know() -> None:
    async def body(pair: SimulatedPair) -> None:
        idle, busy = await pair.connect(), await pair.connect()
        pair.server.kill()
        await busy.send_all(b"lost and sent again")
        await trio.sleep(1.0)
        pair.server.restart()
        with pytest.raises(trio.BrokenResourceError):
            await busy.receive_some()
        # Retransmissions run 0.2, 0.6 and 1.4 s after the first try.
        assert trio.current_time() == pytest.approx(0.004 + 1.4 + 2 * MS)
        # Half-open: an idle peer learns of it with its next segment only.
        with trio.move_on_after(100.0) as scope:
            await idle.receive_some()
        assert scope.cancelled_caught
        await idle.send_all(b"hello?")
        with pytest.raises(trio.BrokenResourceError):
            await idle.receive_some()
        await round_trip(await pair.connect())

    make_pair().run(body)


def test_segments_in_flight_to_a_dead_host_are_lost() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        for _ in range(3):
            await stream.send_all(b"x")
        pair.server.kill()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert 900 < trio.current_time() < 930

    make_pair().run(body)


def test_what_a_host_sent_before_it_died_arrives() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await stream.send_all(b"x")
        await trio.sleep(1.5 * MS)  # The echo is under way.
        pair.server.kill()
        assert await stream.receive_some() == b"x"

    make_pair().run(body)


def test_a_connect_to_a_dead_host_waits_for_its_restart() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.server.kill()
        pair.world.clock.push(5 * 10**9, lambda _: pair.server.restart(), None)
        await round_trip(await pair.connect())
        assert trio.current_time() == pytest.approx(7.0 + 4 * MS)

    make_pair().run(body)


def test_the_disk_outlives_a_host_and_its_unsynced_writes_may_not() -> None:
    async def boot(host: Host) -> None:
        disk = host.environment.disk
        if "state" in await disk.list(""):
            boots.append(await disk.read("state"))
        await disk.write("state", b"%d" % len(boots))
        await disk.sync("state")
        await disk.write("scratch", b"0123456789")

    boots: list[bytes] = []

    async def body(pair: SimulatedPair) -> None:
        for _ in range(3):
            await trio.sleep(1.0)
            pair.server.restart()
        await trio.sleep(1.0)

    make_pair(server=boot).run(body)
    assert boots == [b"0", b"1", b"2"]


def test_each_incarnation_draws_its_own_chance() -> None:
    draws: list[float] = []

    async def boot(host: Host) -> None:
        draws.append(host.environment.randomness.stream("jitter").random())

    async def body(pair: SimulatedPair) -> None:
        await trio.sleep(1.0)
        pair.server.restart()
        await trio.sleep(1.0)

    for _ in range(2):
        make_pair(server=boot).run(body)
    assert draws[:2] == draws[2:]
    assert draws[0] != draws[1]


def test_a_host_may_cut_its_own_power() -> None:
    async def boot(host: Host) -> None:
        reactor = host.environment.reactor

        async def suicide() -> None:
            await reactor.sleep(1.0)
            host.kill()
            await reactor.sleep(1.0)
            raise AssertionError("it lives")

        async def parent() -> None:
            reactor.start(suicide(), name="suicide")
            await reactor.sleep(100.0)

        reactor.start(parent(), name="parent")
        await trio.sleep(50.0)
        raise AssertionError("it lives")

    async def body(pair: SimulatedPair) -> None:
        await trio.sleep(200.0)
        assert not pair.server.alive

    make_pair(server=boot).run(body)


def test_stopping_a_host_lets_it_clean_up_and_ends_its_connections() -> None:
    async def server(host: Host) -> None:
        await echo_server(host)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
                await host.environment.disk.write("clean", b"yes")
                await host.environment.disk.sync("clean")

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await round_trip(stream)
        await pair.server.stop()
        assert not pair.server.alive
        assert 0.5 < trio.current_time() < 1.0
        assert pair.server.platter.files == {"clean": b"yes"}
        assert await stream.receive_some() == b""
        pair.server.restart()
        await round_trip(await pair.connect())

    make_pair(server=server).run(body)
