import pytest
import trio
import trio.testing

from mesh.model.errors import ConfigError, ConnectFailed
from mesh.model.names import Address
from mesh.runtime.real.network import RealNetwork


async def test_real_streams_pass_trios_conformance_suite() -> None:
    network = RealNetwork()
    listener = await network.listen(Address("127.0.0.1", 0))

    async def pair() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        left = await network.connect(listener.address)
        return left, await listener.accept()

    await trio.testing.check_half_closeable_stream(pair, None)
    await listener.aclose()


async def test_connecting_to_nobody_fails() -> None:
    network = RealNetwork()
    listener = await network.listen(Address("127.0.0.1", 0))
    await listener.aclose()
    with pytest.raises(ConnectFailed):
        await network.connect(listener.address)


async def test_names_resolve_in_order_without_repetition() -> None:
    network = RealNetwork()
    assert "127.0.0.1" in await network.resolve("localhost")
    assert tuple(await network.resolve("192.0.2.7")) == ("192.0.2.7",)
    with pytest.raises(ConnectFailed, match="dns resolution failure"):
        await network.resolve("no-such-host.invalid")


async def test_listening_twice_names_the_port() -> None:
    network = RealNetwork()
    listener = await network.listen(Address("127.0.0.1", 0))
    with pytest.raises(ConfigError, match=f"port {listener.address.port} is in use"):
        await network.listen(listener.address)
    await listener.aclose()


async def test_closing_a_listener_ends_a_waiting_accept() -> None:
    network = RealNetwork()
    listener = await network.listen(Address("127.0.0.1", 0))

    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
