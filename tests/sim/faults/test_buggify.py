"""What the surroundings of buggified hosts do, and that they stop doing it."""

from pathlib import Path

import attrs
import pytest
import trio

from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import park
from sim.faults.network.buggify import Buggified, Buggify, hosts_and_loopback
from sim.host import Host
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario
from tests.sim.faults.small_scenario import refusal_of, small_mesh, verb_of
from tests.sim.kernel.simulated_pair import PORT, SimulatedPair, make_pair

FOLDER = Path(__file__).parents[3] / "scenarios" / "examples" / "faults"


def buggified(pair: SimulatedPair, hosts: list[Host], share: float) -> Buggified:
    names = tuple(host.name for host in hosts)
    return Buggified(pair.world, "strange", hosts, hosts_and_loopback(names), share)


def test_entries_are_read() -> None:
    assert verb_of("{at: 1s, buggify: all, share: 30%}") == Buggify(target="all", share=0.3)
    assert verb_of("{at: 1s, buggify: shop}") == Buggify(target="shop", share=0.1)
    assert "unknown service or instance 'everybody'" in refusal_of("{at: 1s, buggify: everybody}")


def test_all_means_the_control_plane_too() -> None:
    mesh = small_mesh("{at: 1s, buggify: all}")
    active = mesh.scenario.timeline[0].verb.begin(mesh, "strange")
    late = [name for name, host in mesh.world.hosts.items() if host.network_host.late_ns is not None]
    assert late == list(mesh.world.hosts)
    assert active.spare(frozenset(["shop-1", "control-plane"]))
    assert mesh.world.hosts["shop-1"].network_host.late_ns is None
    active.end()
    assert all(host.network_host.late_ns is None for host in mesh.world.hosts.values())


def test_timers_are_late_and_never_early() -> None:
    late_ms: list[float] = []

    async def boot(host: Host) -> None:
        reactor = host.environment.reactor

        async def sleep() -> None:
            for _ in range(200):
                began = reactor.now()
                await reactor.sleep(0.05)
                late_ms.append((reactor.now() - began - 0.05) * 1000)

        reactor.start(sleep(), name="sleeper")

    async def body(pair: SimulatedPair) -> None:
        active = buggified(pair, [pair.client], 0.5)
        await trio.sleep(5.0)
        active.end()
        late_ms.append(-1.0)
        await trio.sleep(10.0)

    make_pair(client=boot).run(body)
    end = late_ms.index(-1.0)
    during, after = late_ms[:end], late_ms[end + 2 :]
    assert all(-1e-6 <= late <= 10.0 for late in during)
    assert 0.3 < sum(late > 0.01 for late in during) / len(during) < 0.7
    assert max(after) == pytest.approx(0.0, abs=1e-6)


def test_pumps_wake_in_vain_and_carry_on() -> None:
    wakes: list[float] = []

    async def boot(host: Host) -> None:
        async def wait() -> None:
            while True:
                await park()
                wakes.append(host.environment.reactor.now())

        host.environment.reactor.start(wait(), name="waiter")

    async def body(pair: SimulatedPair) -> None:
        active = buggified(pair, [pair.client], 0.1)
        await trio.sleep(1.0)
        assert active.bit()
        active.end()
        await trio.sleep(1.0)

    make_pair(client=boot).run(body)
    assert 100 < len(wakes) < 400
    assert max(wakes) <= 1.0


def test_what_is_sent_arrives_whole_whatever_the_pieces() -> None:
    sizes: list[int] = []

    async def answer(connection: Connection) -> None:
        while data := await connection.receive():
            sizes.append(len(data))
            await connection.send(data)

    async def server(host: Host) -> None:
        host.environment.reactor.listen(Address("0.0.0.0", PORT), answer)

    async def body(pair: SimulatedPair) -> None:
        buggified(pair, [pair.server], 1.0)
        stream = await pair.connect()
        for _ in range(50):
            await stream.send_all(bytes(range(100)))
            received = b""
            while len(received) < 100:
                received += await stream.receive_some()
            assert received == bytes(range(100))

    make_pair(server=server).run(body)
    assert 1 in sizes and sum(sizes) == 5000


def test_no_share_means_nothing() -> None:
    async def body(pair: SimulatedPair) -> None:
        active = buggified(pair, [pair.client, pair.server], 0.0)
        await trio.sleep(1.0)
        assert not active.bit()
        active.end()

    make_pair().run(body)


def test_as_a_key_of_the_scenario_it_lasts_from_boot_to_end_and_is_no_fault() -> None:
    text = (FOLDER / "buggify.yaml").read_text()
    head, _, rest = text.partition("timeline:")
    checks = rest.partition("checks")[2].replace(", when: during strange-times", "")
    strange = parse_scenario(head + "buggify: 30%\nchecks" + checks, file="x.yaml", folder=FOLDER)
    strange = attrs.evolve(strange, duration_s=8.0, checks=strange.checks[:1])
    assert (strange.buggify, strange.timeline) == (0.3, ())
    result = run_scenario(strange)
    assert result.ok, result.to_text()
    assert result.event_hash != run_scenario(attrs.evolve(strange, buggify=0.0)).event_hash
