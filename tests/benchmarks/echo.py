"""Workload (d): echo messages per second over simulated streams, against SimPy with bare events.

N pairs of hosts play ping-pong with 64 bytes, 1 ms one way. Ours moves bytes over TCP with connection set-up, windows and the
event hash, once with pumps at both ends and once with Trio tasks; SimPy moves objects: one Store for each direction and
a timeout for the latency. Only the echo is timed, not the set-up. Runs are interleaved; the table shows medians, and
medians of the ratios within a round.

Rates are per second of CPU time. Run `python -m tests.benchmarks.echo`; options: `--rounds N`, `--messages N`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Generator
from typing import Any

import simpy
import trio

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.host import Host
from sim.network.latency import Constant
from sim.network.links import Link, NetworkModel
from sim.world import World

PAIRS = (1, 10, 100, 500)
LATENCY_S = 0.001
MESSAGE = bytes(64)
PORT = 7
START_S = 1.0  # By then all pairs are connected.


class Stopwatch:
    """CPU time of this process, which has one thread, from the first message to the last: others on the machine do not count."""

    def __init__(self, pairs: int) -> None:
        self.running = pairs
        self.began = 0.0
        self.took_s = 0.0

    def begin(self) -> None:
        self.began = time.process_time()

    def end_one(self) -> None:
        self.running -= 1
        if not self.running:
            self.took_s = time.process_time() - self.began


def run_ours(pairs: int, echoes: int, server: Any, client: Any) -> float:
    """Return the seconds that `echoes` echoes of each pair take."""
    world = World(seed=1, network=NetworkModel(default=Link(latency=Constant(LATENCY_S))))
    watch = Stopwatch(pairs)

    async def main(world: World) -> None:
        await trio.sleep_until(START_S)
        watch.begin()
        while watch.running:
            await trio.sleep(LATENCY_S * echoes)

    for number in range(pairs):
        world.add_host(f"server-{number}", boot=server)
    for number in range(pairs):

        async def boot(host: Host, server_name: str = f"server-{number}") -> None:
            await client(host, world.hosts[server_name].address, echoes, watch)

        world.add_host(f"client-{number}", boot=boot)
    world.run(main)
    return watch.took_s


async def pump_server(host: Host) -> None:
    async def serve(connection: Connection) -> None:
        while data := await connection.receive():
            await connection.send(data)

    host.environment.reactor.listen(Address(host.address, PORT), serve)


async def pump_client(host: Host, address: str, echoes: int, watch: Stopwatch) -> None:
    reactor = host.environment.reactor

    async def play() -> None:
        connection = await reactor.connect(Address(address, PORT))
        await reactor.sleep(START_S - reactor.now())
        for _ in range(echoes):
            await connection.send(MESSAGE)
            await connection.receive()
        watch.end_one()
        connection.close()

    reactor.start(play(), name="client")


async def trio_server(host: Host) -> None:
    listener = await host.environment.network.listen(Address(host.address, PORT))
    stream = await listener.accept()
    while data := await stream.receive_some():
        await stream.send_all(data)


async def trio_client(host: Host, address: str, echoes: int, watch: Stopwatch) -> None:
    stream = await host.environment.network.connect(Address(address, PORT))
    await trio.sleep_until(START_S)
    for _ in range(echoes):
        await stream.send_all(MESSAGE)
        await stream.receive_some()
    watch.end_one()
    await stream.aclose()


def run_simpy(pairs: int, echoes: int) -> float:
    """Return the seconds that SimPy takes for as many messages, the latency being a timeout whose callback fills a Store."""
    environment = simpy.Environment()
    watch = Stopwatch(pairs)

    def send(store: simpy.Store, message: bytes) -> None:
        timeout = environment.timeout(LATENCY_S, message)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda event: store.put(event.value))

    def client(there: simpy.Store, back: simpy.Store) -> Generator[Any, Any, None]:
        for _ in range(echoes):
            send(there, MESSAGE)
            yield back.get()
        watch.end_one()

    def server(there: simpy.Store, back: simpy.Store) -> Generator[Any, Any, None]:
        while True:
            send(back, (yield there.get()))

    for _ in range(pairs):
        there, back = simpy.Store(environment), simpy.Store(environment)
        environment.process(client(there, back))
        environment.process(server(there, back))
    watch.begin()
    environment.run()
    return watch.took_s


VARIANTS: dict[str, Callable[[int, int], float]] = {
    "pumps": lambda pairs, echoes: run_ours(pairs, echoes, pump_server, pump_client),
    "trio": lambda pairs, echoes: run_ours(pairs, echoes, trio_server, trio_client),
    "simpy": run_simpy,
}


def measure(rounds: int, messages: int) -> dict[int, dict[str, list[float]]]:
    """Return messages per second by pairs and variant, one figure a round."""
    rates: dict[int, dict[str, list[float]]] = {pairs: {name: [] for name in VARIANTS} for pairs in PAIRS}
    for number in range(rounds):
        for pairs in PAIRS:
            echoes = max(10, messages // (2 * pairs))
            # Every other round in reverse, so that no variant always runs on a machine warmed by the same other.
            for name in list(VARIANTS)[:: 1 if number % 2 else -1]:
                rates[pairs][name].append(2 * echoes * pairs / VARIANTS[name](pairs, echoes))
    return rates


def run(*, rounds: int, messages: int = 40_000) -> None:
    """Measure and print the table."""
    rates = measure(rounds, messages)
    print(f"echo over simulated streams, messages/s, medians of {rounds} interleaved rounds; SimPy {simpy.__version__}")
    print(f"{'pairs':>6} {'pumps':>10} {'trio':>10} {'simpy':>10} {'pumps/simpy':>12} {'trio/simpy':>12}")
    for pairs, by_name in rates.items():
        medians = {name: statistics.median(values) for name, values in by_name.items()}
        ratios = {
            name: statistics.median(ours / theirs for ours, theirs in zip(by_name[name], by_name["simpy"], strict=True))
            for name in ("pumps", "trio")
        }
        print(
            f"{pairs:>6} {medians['pumps']:>10,.0f} {medians['trio']:>10,.0f} {medians['simpy']:>10,.0f}"
            f" {ratios['pumps']:>11.2f}x {ratios['trio']:>11.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=40_000, help="messages of each run")
    arguments = parser.parse_args()
    run(rounds=arguments.rounds, messages=arguments.messages)


if __name__ == "__main__":
    main()
