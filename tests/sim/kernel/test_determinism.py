"""One seed, one history: in other processes, under other hash seeds, beside hosts that nobody uses."""

import os
import subprocess
import sys
from pathlib import Path

import trio

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.host import Host
from sim.network.cuts import Partition
from sim.network.delays import Loss
from sim.network.latency import LogNormal
from sim.network.links import Link, NetworkModel
from sim.network.rules import Between
from sim.world import World

ROOT = Path(__file__).parents[3]
SERVERS = ("s0", "s1", "s2")


async def serve(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def boot_server(host: Host) -> None:
    host.environment.reactor.listen(Address(host.address, 80), serve)


async def boot_client(host: Host) -> None:
    """Talk to all servers from tasks and pumps at once, with jittered pauses, whatever breaks."""
    environment = host.environment
    chance = environment.randomness.stream("pauses")

    async def talk(server: str) -> None:
        while True:
            try:
                stream = await environment.network.connect(Address(server, 80))
                for _ in range(10):
                    await trio.sleep(chance.uniform(0.0, 0.05))
                    await stream.send_all(bytes(chance.randrange(2000) + 1))
                    await stream.receive_some()
                await stream.aclose()
            except Exception as error:
                environment.log.info("talk.failed", error=str(error))
                await trio.sleep(0.1)

    async def pump(address: str) -> None:
        while True:
            connection = await environment.reactor.connect(Address(address, 80))
            await connection.send(environment.randomness.stream("pump").randbytes(100))
            await connection.receive()
            connection.close()
            await environment.reactor.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for server in SERVERS:
            nursery.start_soon(talk, server)
            environment.reactor.start(pump((await environment.network.resolve(server))[0]), name="pump")


History = list[tuple[int, str, str]]


def busy_run(seed: int, *, unused_hosts: int = 0) -> tuple[str, int, History]:
    """Run clients, servers, loss, a partition and a restart; return the event hash, the number of events and the records."""
    link = Link(latency=LogNormal(p50_s=0.001, p99_s=0.02), loss=0.01)
    world = World(seed=seed, network=NetworkModel(default=link))
    for name in SERVERS:
        world.add_host(name, zone="b", boot=boot_server)
    for name in ("c0", "c1"):
        world.add_host(name, zone="a", boot=boot_client)
    for number in range(unused_hosts):
        world.add_host(f"unused-{number}", zone=f"elsewhere-{number}")

    async def main(world: World) -> None:
        await trio.sleep(0.5)
        with world.network.add_rule(Partition(between=Between(source=("c0",), target=("s1",), both_ways=False))):
            await trio.sleep(0.5)
        world.hosts["s2"].restart()
        with world.network.add_rule(Loss(between=Between(source=("a",)), probability=0.1)):
            await trio.sleep(1.0)

    result = world.run(main)
    return result.event_hash, result.events, [(event.at_ns, event.host, event.kind) for event in world.log.events]


def test_one_seed_gives_one_hash_in_any_process() -> None:
    command = "from tests.sim.kernel.test_determinism import busy_run; print(*busy_run(5)[:2], *busy_run(6)[:2])"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", command],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    first, events, second, _ = outputs[0].split()
    assert first != second
    assert int(events) > 1000
    assert busy_run(5)[:2] == (first, int(events))


def test_an_unused_host_changes_nothing_for_the_others() -> None:
    """Its start is part of the history, so the hashes differ; but not one draw or event of the others does."""

    alone = busy_run(7)[2]
    beside = [record for record in busy_run(7, unused_hosts=3)[2] if not record[1].startswith("unused")]
    assert len(alone) > 10
    assert alone == beside
