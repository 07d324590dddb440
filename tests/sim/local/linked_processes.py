"""Two hosts of a scenario in one test: a near one with links, and real sockets at the far one's loopback address."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.reactor import EpollReactor
from sim.local.links import ProcessLinks
from sim.local.places import Place
from sim.local.reactor import LinkedReactor
from sim.network.latency import Constant
from sim.network.links import Link, NetworkModel
from sim.randomness import KeyedRandomness

NEAR = Place(name="near-1", zone="here", address="127.10.9.1", service="near")
FAR = Place(name="far-1", zone="here", address="127.10.9.2", service="far")
LATENCY_S = 0.02


@attrs.frozen
class Two:
    """The near host's reactor and links, and the far one's reactor, which has none."""

    near: LinkedReactor
    links: ProcessLinks
    far: EpollReactor

    async def in_pump(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run a function as a pump of the near host; raise what it raises."""
        done, errors = trio.Event(), list[Exception]()

        async def run() -> None:
            try:
                await function(*arguments)
            except Exception as error:
                errors.append(error)
            finally:
                done.set()

        self.near.start(run(), name="test")
        await done.wait()
        if errors:
            raise errors[0]


@asynccontextmanager
async def two_hosts(*, latency_s: float = LATENCY_S) -> AsyncIterator[Two]:
    """Run them until the end of the block."""
    log = structlog.wrap_logger(structlog.ReturnLogger())
    near, far = LinkedReactor(log=log), EpollReactor(log=log)
    model = NetworkModel(default=Link(latency=Constant(latency_s)))
    links = ProcessLinks(NEAR, reactor=near, model=model, randomness=KeyedRandomness(1))
    links.know([NEAR, FAR])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run)
        nursery.start_soon(far.run)
        yield Two(near, links, far)
        nursery.cancel_scope.cancel()


async def echo(connection: Connection) -> None:
    """Send back what comes."""
    while data := await connection.receive():
        await connection.send(data)


def anywhere(place: Place) -> Address:
    """Return a free port of a host."""
    return Address(place.address, 0)
