import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream
from trio_websocket import wrap_client_stream, wrap_server_stream

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from sim.network.latency import LogNormal
from sim.network.links import Link, NetworkModel
from sim.network.streams import BACKLOG_MAX
from tests.sim.kernel.simulated_pair import SimulatedPair, make_pair, plain_network, round_trip

StreamPair = tuple[HalfCloseableStream, HalfCloseableStream]


async def stream_pair(pair: SimulatedPair) -> StreamPair:
    listener = await pair.server.environment.network.listen(Address(pair.server.address, 0))
    ours: list[HalfCloseableStream] = []

    async def connect() -> None:
        ours.append(await pair.client.environment.network.connect(listener.address))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        theirs = await listener.accept()
    await listener.aclose()
    return ours[0], theirs


@pytest.mark.parametrize(
    "network",
    [
        plain_network(),
        NetworkModel(default=Link(latency=LogNormal(p50_s=0.01, p99_s=0.2), loss=0.05), window_bytes=4096),
        NetworkModel(default=Link(bandwidth_bytes_per_s=1e6)),
    ],
    ids=["plain", "lossy", "narrow"],
)
def test_streams_keep_trios_contract(network: NetworkModel) -> None:
    async def body(pair: SimulatedPair) -> None:
        async def make() -> StreamPair:
            return await stream_pair(pair)

        async def make_clogged() -> StreamPair:
            ours, theirs = await make()
            for stream in (ours, theirs):
                with trio.move_on_after(1.0):
                    while True:
                        await stream.send_all(bytes(4096))
            return ours, theirs

        await trio.testing.check_half_closeable_stream(make, make_clogged)

    make_pair(network).run(body)


def test_websockets_run_over_simulated_streams() -> None:
    async def body(pair: SimulatedPair) -> None:
        ours, theirs = await stream_pair(pair)

        async def serve(nursery: trio.Nursery) -> None:
            request = await wrap_server_stream(nursery, theirs)
            server = await request.accept()
            await server.send_message("got " + await server.get_message())
            await server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, nursery)
            client = await wrap_client_stream(nursery, ours, "server", "/config")
            await client.send_message("hello")
            assert await client.get_message() == "got hello"
            await client.aclose()

    make_pair().run(body)


def test_names_resolve_to_hosts() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.client.environment.network
        assert await network.resolve("server") == (pair.server.address,)
        assert await network.resolve(pair.server.address) == (pair.server.address,)
        assert await network.resolve("localhost") == ("127.0.0.1",)
        with pytest.raises(ConnectFailed, match="dns"):
            await network.resolve("nobody")
        with pytest.raises(ConnectFailed):
            await network.connect(Address("10.9.9.9", 80))
        pair.world.network.set_name("echo.mesh", [pair.server.address])
        await round_trip(await network.connect(Address("echo.mesh", 80)))

    make_pair().run(body)


def test_a_full_accept_queue_ignores_connects_until_there_is_room() -> None:
    async def body(pair: SimulatedPair) -> None:
        listener = await pair.server.environment.network.listen(Address(pair.server.address, 0))
        connected: list[float] = []

        async def connect() -> None:
            await pair.client.environment.network.connect(listener.address)
            connected.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(BACKLOG_MAX):
                nursery.start_soon(connect)
            await trio.sleep(0.1)
            nursery.start_soon(connect)
            await trio.sleep(0.1)
            assert len(connected) == BACKLOG_MAX
            await listener.accept()
        # The lost SYN is repeated after 1 s.
        assert connected[-1] == pytest.approx(1.102)

    make_pair().run(body)


def test_closing_a_listener_resets_who_was_not_accepted() -> None:
    async def body(pair: SimulatedPair) -> None:
        listener = await pair.server.environment.network.listen(Address(pair.server.address, 0))
        stream = await pair.client.environment.network.connect(listener.address)
        await trio.sleep(0.1)
        await listener.aclose()
        await listener.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        with pytest.raises(ConnectFailed):
            await pair.client.environment.network.connect(listener.address)

    make_pair().run(body)


def test_closing_with_unread_bytes_resets_the_peer() -> None:
    async def body(pair: SimulatedPair) -> None:
        ours, theirs = await stream_pair(pair)
        await ours.send_all(b"nobody reads this")
        await trio.sleep(0.1)
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()

    make_pair().run(body)


def test_a_cancelled_connect_leaves_nothing_behind() -> None:
    async def body(pair: SimulatedPair) -> None:
        with trio.move_on_after(0.0015) as scope:
            await pair.connect()
        assert scope.cancelled_caught
        await trio.sleep(10.0)
        assert not pair.server.network_host.sockets
        assert not pair.client.network_host.sockets

    make_pair().run(body)
