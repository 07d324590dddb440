"""Two hosts, a client and a server, for tests of the kernel."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from trio.abc import HalfCloseableStream

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.host import Boot, Host
from sim.network.latency import Constant
from sim.network.links import Link, NetworkModel
from sim.world import RunResult, World

MS = 0.001
PORT = 80


def plain_network(latency_s: float = MS, **model: Any) -> NetworkModel:
    """All hosts equally far apart."""
    return NetworkModel(default=Link(latency=Constant(latency_s)), **model)


async def serve_echo(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def echo_server(host: Host) -> None:
    host.environment.reactor.listen(Address("0.0.0.0", PORT), serve_echo)


@attrs.define(eq=False)
class SimulatedPair:
    """A world with a client and a server, which echoes unless told otherwise."""

    world: World
    client: Host
    server: Host

    @property
    def address(self) -> Address:
        return Address(self.server.address, PORT)

    async def connect(self) -> HalfCloseableStream:
        """Connect the client with the server, as a Trio stream."""
        return await self.client.environment.network.connect(self.address)

    def run(self, body: Callable[["SimulatedPair"], Awaitable[Any]], **options: Any) -> RunResult[Any]:
        """Run the body as the world's driver."""
        return self.world.run(lambda _: body(self), **options)


def make_pair(
    network: NetworkModel | None = None, *, seed: int = 1, server: Boot | None = echo_server, client: Boot | None = None
) -> SimulatedPair:
    """Make a world of two hosts, in zone-1 (client) and zone-2 (server)."""
    world = World(seed=seed, network=network or plain_network())
    return SimulatedPair(
        world,
        world.add_host("client", zone="zone-1", boot=client),
        world.add_host("server", zone="zone-2", boot=server),
    )


async def receive_exactly(stream: HalfCloseableStream, size: int) -> bytes:
    """Receive so many bytes from a Trio stream."""
    data = b""
    while len(data) < size:
        part = await stream.receive_some(size - len(data))
        assert part, "ended early"
        data += part
    return data


async def round_trip(stream: HalfCloseableStream, message: bytes = b"ping") -> float:
    """Send a message to an echo server and return the seconds until it is back."""
    began = trio.current_time()
    await stream.send_all(message)
    assert await receive_exactly(stream, len(message)) == message
    return trio.current_time() - began
