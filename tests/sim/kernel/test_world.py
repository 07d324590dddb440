import gc
import math
import signal
from typing import Any

import pytest
import trio

from mesh.model.errors import ConfigError
from mesh.runtime.environment import Connection
from sim.clock import SimDeadlock, SimLivelock
from sim.host import Host
from sim.world import EPOCH, RunFailed, World
from tests.sim.kernel.simulated_pair import SimulatedPair, make_pair, plain_network


async def forever(_: object) -> None:
    while True:
        await trio.sleep(1.0)


def test_a_run_ends_with_its_driver() -> None:
    async def main(world: World) -> str:
        await trio.sleep(2.5)
        assert world.now() == 2.5
        return "done"

    world = World(seed=1)
    world.add_host("busy", boot=forever)
    result = world.run(main)
    assert (result.value, result.finished, result.virtual_s) == ("done", True, 2.5)
    assert result.wall_s < 2.0


def test_a_run_ends_when_its_time_is_over() -> None:
    result = World(seed=1).run(forever, until_s=10.25)
    assert (result.value, result.finished, result.virtual_s) == (None, False, 10.25)


def test_what_the_driver_raises_comes_out_as_it_is() -> None:
    async def main(_: World) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        World(seed=1).run(main)


def test_what_a_task_of_the_world_raises_ends_the_run() -> None:
    async def load() -> None:
        await trio.sleep(1.0)
        raise LookupError("mine")

    async def main(world: World) -> None:
        world.start_task(load, name="load")
        await trio.sleep_forever()

    with pytest.raises(LookupError, match="mine"):
        World(seed=1).run(main)


def test_a_subscriber_that_raises_ends_the_run() -> None:
    def fail(_: object) -> None:
        raise LookupError("a check's")

    async def main(world: World) -> None:
        world.log.on("host.killed", fail)
        world.clock.push(10**9, lambda _: host.kill(), None)
        await trio.sleep_forever()

    world = World(seed=1)
    host = world.add_host("web")
    with pytest.raises(LookupError, match="a check's"):
        world.run(main)


def test_an_interrupt_ends_the_run() -> None:
    async def boot(host: Host) -> None:
        async def spin() -> None:
            while True:
                await host.environment.reactor.sleep(0.001)

        host.environment.reactor.start(spin(), name="spin")

    async def main(world: World) -> None:
        world.clock.push(10**9, lambda _: signal.raise_signal(signal.SIGINT), None)
        await trio.sleep_forever()

    world = World(seed=1)
    world.add_host("busy", boot=boot)
    with pytest.raises(KeyboardInterrupt):
        world.run(main)
    assert 1.0 <= world.now() < 60.0


def test_a_deadlock_names_what_waits_and_where() -> None:
    async def wait_for_ever(_: Host) -> None:
        await trio.Event().wait()

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await stream.receive_some()

    with pytest.raises(SimDeadlock) as caught:
        make_pair(client=wait_for_ever).run(body)
    report = str(caught.value)
    assert "nothing can happen any more at 0.003 s" in report
    assert "task driver at" in report
    assert "test_world.py" in report
    assert "in body" in report
    assert "task client/boot at" in report
    assert "in wait_for_ever" in report
    assert "pump server/serve 0.0.0.0:80" in report
    assert "in serve_echo" in report
    assert "host at" not in report, "the kernel's own tasks are no news"


def test_a_livelock_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.clock.PASSES_PER_INSTANT_MAX", 1000)

    async def spin(_: Host) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    world = World(seed=1)
    world.add_host("spinning", boot=spin)
    with pytest.raises(SimLivelock):
        world.run(forever)


def test_a_crashed_actor_fails_the_run_but_ends_nobody_else() -> None:
    async def boot(host: Host) -> None:
        host.spawn("crashing", crash)
        host.spawn("steady", count)

    async def crash() -> None:
        await trio.sleep(1.0)
        raise LookupError("a bug")

    async def count() -> None:
        for _ in range(5):
            await trio.sleep(1.0)
            counted.append(trio.current_time())

    counted: list[float] = []
    world = World(seed=1)
    world.add_host("web", boot=boot)
    with pytest.raises(RunFailed, match=r"web actor\.crashed actor=crashing") as caught:
        world.run(forever, until_s=10.0)
    assert counted == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert caught.value.result.virtual_s == 10.0


def test_log_lines_become_events_and_errors_fail_the_run() -> None:
    async def boot(host: Host) -> None:
        await trio.sleep(1.5)
        log = host.environment.bind(actor="pool").log
        log.debug("pool.polled")
        log.info("endpoint.ejected", endpoint="10.0.0.1:80", failures=5, token="secret", event_id=1)
        try:
            raise ValueError("inner")
        except ValueError:
            log.exception("pool.failed")

    world = World(seed=1)
    world.add_host("web", boot=boot)
    result = world.run(forever, until_s=2.0, tolerate_errors=True)
    _, ejected, failed = world.log.events
    assert (ejected.at_s, ejected.host, ejected.kind, ejected.level) == (1.5, "web", "endpoint.ejected", "info")
    assert ejected.fields == {
        "endpoint": "10.0.0.1:80",
        "failures": 5,
        "token": "[redacted]",
        "event_id": 1,
        "actor": "pool",
    }
    assert result.errors == (failed,)
    assert "ValueError: inner" in failed.fields["exception"]


def test_the_wall_clock_has_an_epoch_and_a_skew() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.server.date.mislead(lambda now_s: -30.0)
        await trio.sleep(10.0)
        assert pair.client.environment.wall_clock() == EPOCH + 10.0
        assert pair.server.environment.wall_clock() == EPOCH - 20.0

    make_pair().run(body)


def test_addresses_are_allotted_by_zone() -> None:
    world = World(seed=1)
    addresses = [world.add_host(f"{zone}-{n}", zone=zone).address for n in range(2) for zone in ("eu", "us")]
    assert addresses == ["10.0.0.2", "10.1.0.2", "10.0.0.3", "10.1.0.3"]
    assert world.add_host("vip", address="192.0.2.7").address == "192.0.2.7"
    for _ in range(300):
        world.add_host(f"eu-more-{_}", zone="eu")
    assert len({host.address for host in world.hosts.values()}) == len(world.hosts)
    with pytest.raises(ConfigError, match="taken"):
        world.add_host("vip")


def test_a_host_may_join_a_running_world() -> None:
    booted: list[float] = []

    async def boot(host: Host) -> None:
        booted.append(trio.current_time())

    async def main(world: World) -> None:
        await trio.sleep(3.0)
        world.add_host("late", boot=boot).spawn("early-actor", boot, None)
        await trio.sleep(1.0)

    World(seed=1).run(main)
    assert booted == [3.0, 3.0]


def test_progress_is_reported_in_virtual_time() -> None:
    def tick(left: int) -> None:
        if left:
            world.clock.push(world.clock.now_ns + 1_000_000, tick, left - 1)

    async def main(world: World) -> None:
        tick(200_000)
        await trio.sleep(200.0)

    seen: list[float] = []
    world = World(seed=1)
    world.progress = seen.append
    world.run(main)
    assert len(seen) == 2
    assert 60.0 < seen[0] < seen[1] < 200.0


def test_garbage_collection_is_as_it_was_after_a_run() -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    World(seed=1).run(forever, until_s=1.0)
    assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen


def test_the_tls_of_a_host_comes_from_the_worlds_factory() -> None:
    made: list[str] = []

    def factory(host: Host) -> Any:
        made.append(host.name)
        host.randomness.stream("tls").random()
        return host.name

    async def main(world: World) -> Any:
        host.restart()
        return host.environment.tls.inner  # below what meters its handshakes

    world = World(seed=1, tls_factory=factory)
    host = world.add_host("web")
    assert world.run(main).value == "web"
    assert made == ["web", "web"]


def test_a_world_without_tls_says_so() -> None:
    async def main(world: World) -> None:
        no_config: Any = None
        with pytest.raises(ConfigError, match="without TLS"):
            host.environment.tls.client(no_config)
        with pytest.raises(ConfigError, match="without TLS"):
            host.environment.tls.server(no_config)

    world = World(seed=1)
    host = world.add_host("web")
    world.run(main)


def test_clean_up_after_the_end_belongs_to_no_run() -> None:
    async def boot(host: Host) -> None:
        try:
            await trio.sleep_forever()
        finally:
            host.environment.log.error("late.error")
            with trio.CancelScope(shield=True):
                await trio.sleep(5.0)

    world = World(seed=1)
    world.add_host("web", boot=boot)
    result = world.run(forever, until_s=1.0)
    assert result.virtual_s == 1.0
    assert [event.kind for event in world.log.events] == ["host.started"]


def test_idle_connections_cost_nothing() -> None:
    async def serve(connection: Connection) -> None:
        await connection.receive()

    async def server(host: Host) -> None:
        host.environment.reactor.listen(pair.address, serve)

    async def body(pair: SimulatedPair) -> int:
        streams = [await pair.connect() for _ in range(100)]
        before = pair.world.clock.events_run
        await trio.sleep(10_000.0)
        del streams
        return pair.world.clock.events_run - before

    pair = make_pair(plain_network(), server=server)
    assert pair.run(body, until_s=math.inf).value <= 1  # the last connection's ESTABLISHED
