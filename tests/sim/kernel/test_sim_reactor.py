import pytest
import trio

from mesh.model.errors import ClosedConnection, RemoteProtocolError
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Signal, park
from sim.host import Host
from sim.world import RunFailed
from tests.parity.worlds import in_pump
from tests.sim.kernel.simulated_pair import MS, PORT, SimulatedPair, make_pair, serve_echo


def test_pumps_need_no_pass_of_trio() -> None:
    """The point of pumps: a segment is a heap entry and a resume."""
    rounds = 2000
    passes: list[float] = []

    class CountPasses(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            passes.append(timeout)

    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor

        async def play() -> None:
            connection = await reactor.connect(pair.address)
            for _ in range(rounds):
                await connection.send(b"ping")
                await connection.receive()

        trio.lowlevel.add_instrument(CountPasses())
        await in_pump(reactor, play)

    make_pair().run(body)
    assert len(passes) < 50


def test_a_crashed_pump_fails_the_run_and_ends_its_connection() -> None:
    async def server(host: Host) -> None:
        async def serve(connection: Connection) -> None:
            await connection.receive()
            raise LookupError("a bug")

        host.environment.reactor.listen(pair.address, serve)

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await stream.send_all(b"x")
        assert await stream.receive_some() == b""

    pair = make_pair(server=server)
    with pytest.raises(RunFailed, match=r"server actor\.crashed.*a bug") as caught:
        pair.run(body)
    (error,) = caught.value.result.errors
    assert "in serve" in error.fields["exception"]


def test_a_mesh_error_ends_only_its_connection() -> None:
    async def server(host: Host) -> None:
        async def serve(connection: Connection) -> None:
            await connection.receive()
            raise RemoteProtocolError("nonsense")

        host.environment.reactor.listen(pair.address, serve)

    async def body(pair: SimulatedPair) -> None:
        for _ in range(2):
            stream = await pair.connect()
            await stream.send_all(b"x")
            assert await stream.receive_some() == b""

    pair = make_pair(server=server)
    assert pair.run(body).errors == ()


def test_a_crashing_callback_fails_the_run() -> None:
    def crash() -> None:
        raise LookupError("a bug")

    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor
        reactor.call_soon(crash)
        reactor.call_at(1.0, crash)
        connection = await in_pump(reactor, reactor.connect, pair.address)
        connection.watch(crash)
        await in_pump(reactor, connection.send, b"x")
        await trio.sleep(2.0)

    result = make_pair().run(body, tolerate_errors=True)
    assert len(result.errors) == 3


def test_a_pump_that_parks_while_it_is_cancelled_is_a_bug() -> None:
    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor

        async def stubborn() -> None:
            try:
                await park()
            finally:
                await park()

        reactor.start(stubborn(), name="stubborn")
        reactor.stop()

    result = make_pair().run(body, tolerate_errors=True)
    assert "parked while" in result.errors[0].fields["error"]


def test_an_ended_reactor_starts_nothing() -> None:
    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor
        with trio.CancelScope() as scope:
            scope.cancel()
            await reactor.run()
        with pytest.raises(ClosedConnection):
            reactor.start(reactor.sleep(1.0), name="late")

    make_pair().run(body)


def test_ending_run_cancels_pumps_and_closes_connections() -> None:
    ended: list[str] = []

    async def body(pair: SimulatedPair) -> None:
        reactor = pair.server.environment.reactor

        async def serve(connection: Connection) -> None:
            try:
                await connection.receive()
            finally:
                ended.append("pump")

        reactor.listen(pair.address, serve)
        with trio.CancelScope() as scope:
            pair.world.clock.push(10**9, lambda _: scope.cancel(), None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reactor.run)
                stream = await pair.connect()
        assert ended == ["pump"]
        assert await stream.receive_some() == b""

    make_pair(server=None).run(body)


def test_a_signal_wakes_pumps_in_turn() -> None:
    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor
        signal = Signal(reactor)
        woken: list[int] = []

        async def wait(number: int) -> None:
            await signal.wait()
            woken.append(number)

        for number in range(3):
            reactor.start(wait(number), name="waiter")
        signal.wake(2)
        assert woken == []
        await trio.sleep(MS)
        assert woken == [0, 1]

    make_pair().run(body)


def test_timers_of_a_pump_keep_to_virtual_time() -> None:
    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor

        async def play() -> list[float]:
            instants = []
            for span_s in (1.1, 0.0, 2.7):
                await reactor.sleep(span_s)
                instants.append(reactor.now())
            return instants

        assert await in_pump(reactor, play) == pytest.approx([1.1, 1.1, 3.8])

    make_pair().run(body)


def test_loopback_serves_within_a_host() -> None:
    async def body(pair: SimulatedPair) -> None:
        reactor = pair.client.environment.reactor
        inner = type(pair.address)("127.0.0.1", PORT)
        outer = type(pair.address)(pair.client.address, PORT)
        seen: list[str] = []

        def serve(name: str) -> object:
            async def greet(connection: Connection) -> None:
                seen.append(name)
                await serve_echo(connection)

            return greet

        # One port, two listeners: an application behind its sidecar.
        reactor.listen(inner, serve("application"))  # type: ignore[arg-type]
        reactor.listen(outer, serve("sidecar"))  # type: ignore[arg-type]
        for address in (inner, outer):
            (await in_pump(reactor, reactor.connect, address)).close()
        await pair.server.environment.network.connect(outer)
        await trio.sleep(MS)
        assert seen == ["application", "sidecar", "sidecar"]

    make_pair().run(body)
