"""Two worlds for one test body: the simulated network, and real sockets on loopback.

A body gets two environments that can reach each other, and must not see which world they are of.
"""

import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import structlog
import trio

from mesh.model.names import Address
from mesh.runtime.environment import Environment, Reactor
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment
from sim.world import World

WORLDS = ("simulated", "real")
BODY_TIMEOUT_S = 20.0


@attrs.frozen(kw_only=True)
class Peers:
    """Two environments, and the IP address at which the server listens."""

    client: Environment
    server: Environment
    server_ip: str

    @property
    def any_port(self) -> Address:
        """An address for the server's listener."""
        return Address(self.server_ip, 0)


Body = Callable[[Peers], Awaitable[None]]


def run_in_world(world_name: str, body: Body) -> None:
    """Run a test body in one of WORLDS. Raises: what the body raises, and whatever crashed or hung beside it."""
    {"simulated": _run_simulated, "real": _run_real}[world_name](body)


def _run_simulated(body: Body) -> None:
    world = World(seed=1)
    client, server = world.add_host("client"), world.add_host("server")

    async def main(_: World) -> None:
        with trio.fail_after(BODY_TIMEOUT_S):
            await body(Peers(client=client.environment, server=server.environment, server_ip=server.address))

    world.run(main)


def _run_real(body: Body) -> None:
    capture = structlog.testing.LogCapture()
    log: Any = structlog.wrap_logger(None, processors=[capture]).bind()

    async def main(folder: str) -> None:
        async with trio.open_nursery() as nursery:
            client, server = (_real_host(name, folder, log) for name in ("client", "server"))
            nursery.start_soon(client.reactor.run)
            nursery.start_soon(server.reactor.run)
            with trio.fail_after(BODY_TIMEOUT_S):
                await body(Peers(client=client, server=server, server_ip="127.0.0.1"))
            nursery.cancel_scope.cancel()

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, folder)
    assert [entry for entry in capture.entries if entry["log_level"] == "error"] == []


def _real_host(name: str, folder: str, log: Any) -> Environment:
    no_tls: Any = None
    return real_environment(
        name, data_dir=f"{folder}/{name}", reactor=EpollReactor(log=log), tls=no_tls, log=log, seed=1
    )


async def in_pump(reactor: Reactor, function: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run an async function as a pump and wait, as a Trio task, for its result or exception."""
    done = trio.Event()
    outcomes: list[tuple[Any, Exception | None]] = []

    async def pump() -> None:
        try:
            outcomes.append((await function(*arguments), None))
        except Exception as error:
            outcomes.append((None, error))
        finally:
            done.set()

    reactor.start(pump(), name=getattr(function, "__name__", "pump"))
    await done.wait()
    result, error = outcomes[0]
    if error is not None:
        raise error
    return result
