"""Hosts that stand still or are slow: what runs there is late, in the order in which it came."""

from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given, settings

from mesh.model.errors import ConnectFailed, DeadlineExceeded
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.host import Host
from sim.network.streams import BACKLOG_MAX
from sim.processor import PUMP_STEP_S, TASK_STEP_S, Processor
from tests.sim.kernel.simulated_pair import SimulatedPair, echo_server, make_pair

Log = list[tuple[float, str]]


async def note_after(log: Log, seconds: float, what: str) -> None:
    await trio.sleep(seconds)
    log.append((round(trio.current_time(), 3), what))


def test_timers_tasks_and_callbacks_of_a_paused_host_are_late() -> None:
    log: Log = []

    async def server(host: Host) -> None:
        reactor = host.environment.reactor

        async def pump() -> None:
            await reactor.sleep(1.0)
            log.append((round(reactor.now(), 3), "pump"))

        host.spawn("actor", note_after, log, 1.0, "task")
        reactor.start(pump(), name="pump")
        reactor.call_at(1.0, lambda: log.append((round(reactor.now(), 3), "callback")))

    async def body(pair: SimulatedPair) -> None:
        await trio.sleep(0.5)
        pair.server.pause()
        await trio.sleep(2.5)
        assert log == []
        held = pair.server.held
        assert held > 0
        pair.server.resume()
        await trio.sleep(1.0)
        assert sorted(log) == [(3.0, "callback"), (3.0, "pump"), (3.0, "task")]

    make_pair(server=server).run(body)


def test_what_arrived_during_a_pause_is_seen_before_the_deadline_that_passed() -> None:
    """As after SIGCONT: Trio and the reactor look at their sockets first."""
    seen: list[object] = []

    async def server(host: Host) -> None:
        environment = host.environment

        async def serve(connection: Connection) -> None:
            pump = environment.reactor.current
            assert pump is not None
            pump.set_deadline(environment.reactor.now() + 1.0)
            try:
                seen.append(await connection.receive())
            except DeadlineExceeded:
                seen.append("late")

        async def actor() -> None:
            listener = await environment.network.listen(Address(host.address, 81))
            stream = await listener.accept()
            with trio.move_on_after(1.0) as scope:
                seen.append(await stream.receive_some())
            seen.append(scope.cancelled_caught)

        environment.reactor.listen(Address(host.address, 80), serve)
        host.spawn("actor", actor)

    async def body(pair: SimulatedPair) -> None:
        streams = [
            await pair.client.environment.network.connect(Address(pair.server.address, port)) for port in (80, 81)
        ]
        await trio.sleep(0.5)
        pair.server.pause()
        await trio.sleep(2.0)  # Both deadlines pass, and only then something comes.
        for stream in streams:
            await stream.send_all(b"after all")
        await trio.sleep(2.0)
        pair.server.resume()
        await trio.sleep(0.1)
        assert sorted(map(str, seen)) == ["False", "b'after all'", "b'after all'"]

    make_pair(server=server).run(body)


def test_a_deadline_without_anything_to_see_is_over_when_the_pause_is() -> None:
    log: Log = []

    async def server(host: Host) -> None:
        async def actor() -> None:
            with trio.move_on_after(1.0):
                await trio.sleep_forever()
            log.append((trio.current_time(), "over"))

        host.spawn("actor", actor)

    async def body(pair: SimulatedPair) -> None:
        await trio.sleep(0.5)
        pair.server.pause()
        await trio.sleep(3.5)
        pair.server.resume()
        await trio.sleep(1.0)
        assert log == [(4.0, "over")]

    make_pair(server=server).run(body)


def test_the_kernel_of_a_paused_host_takes_bytes_and_connections_until_it_is_full() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await trio.sleep(0.1)
        pair.server.pause()
        with trio.move_on_after(5.0) as full:
            for _ in range(1000):
                await stream.send_all(bytes(4096))
        assert full.cancelled_caught  # The window, and nothing but it.
        others = []
        with trio.move_on_after(5.0) as crowded:
            for _ in range(BACKLOG_MAX + 1):
                others.append(await pair.connect())
        assert crowded.cancelled_caught
        assert len(others) == BACKLOG_MAX
        await others[0].send_all(b"hello")
        pair.server.resume()
        assert await others[0].receive_some() == b"hello"

    make_pair(server=echo_server).run(body)


def test_pauses_count_and_a_power_cut_ends_them() -> None:
    async def body(pair: SimulatedPair) -> None:
        server = pair.server
        server.pause()
        server.pause()
        server.resume()
        assert server.processor.paused
        server.kill()
        assert not server.processor.paused
        with trio.move_on_after(1.0) as gone:
            await pair.connect()
        assert gone.cancelled_caught
        server.start()
        await trio.sleep(0.1)
        stream = await pair.connect()
        await stream.send_all(b"again")
        assert await stream.receive_some() == b"again"

    make_pair(server=echo_server).run(body)


def test_a_world_may_end_while_a_host_is_paused_or_slow() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.server.processor.slow_down(50.0)
        pair.client.pause()
        await trio.sleep(0.001)

    assert make_pair(server=echo_server).run(body).errors == ()


def test_a_slow_core_serves_steps_one_after_another() -> None:
    async def body(pair: SimulatedPair) -> None:
        streams = [await pair.connect() for _ in range(20)]
        await trio.sleep(0.1)
        pair.server.processor.slow_down(1001.0)
        began = trio.current_time()
        for stream in streams:
            await stream.send_all(b"x")
        for stream in streams:
            await stream.receive_some()
        step_s = 1000 * PUMP_STEP_S
        assert trio.current_time() - began == pytest.approx(20 * step_s, rel=0.1)
        pair.server.processor.speed_up(1001.0)
        assert pair.server.processor.gate is None
        began = trio.current_time()
        await streams[0].send_all(b"x")
        await streams[0].receive_some()
        assert trio.current_time() - began < 0.01

    make_pair(server=echo_server).run(body)


def test_the_tasks_of_a_slow_host_take_their_time_too() -> None:
    log: Log = []

    async def server(host: Host) -> None:
        async def actor() -> None:
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            log.append((trio.current_time(), "done"))

        await trio.sleep(1.0)
        host.spawn("actor", actor)

    async def body(pair: SimulatedPair) -> None:
        await trio.sleep(0.5)
        pair.server.processor.slow_down(101.0)
        await trio.sleep(2.0)
        assert log[0][0] == pytest.approx(1.0 + 12 * 100 * TASK_STEP_S, rel=0.1)

    make_pair(server=server).run(body)


def test_a_crash_tells_peers_and_keeps_what_was_written() -> None:
    async def server(host: Host) -> None:
        await echo_server(host)
        await host.environment.disk.write("note", b"not synced")

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        await trio.sleep(0.1)
        pair.server.crash("killed")
        assert await stream.receive_some() == b""
        with pytest.raises(ConnectFailed) as refused:
            await pair.connect()
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        assert pair.server.platter.files == {"note": b"not synced"}
        pair.server.start_if_off()
        await trio.sleep(0.1)
        await pair.connect()

    make_pair(server=server).run(body)


TICK_S = 0.01
Course = list[tuple[str, float]]


def ticks_while_paused(course: Course) -> list[float]:
    """Let a host tick in all ways that there are while it is paused, slowed and cut off; return when it should not have.

    Raises: AssertionError when something ticks no more, or less often, when all is over.
    """
    ticks: list[tuple[float, str]] = []
    asleep: list[tuple[float, float]] = []

    async def server(host: Host) -> None:
        reactor = host.environment.reactor

        async def task() -> None:
            while True:
                await trio.sleep(TICK_S)
                ticks.append((trio.current_time(), "task"))

        async def pump() -> None:
            while True:
                await reactor.sleep(TICK_S)
                ticks.append((reactor.now(), "pump"))

        def timer() -> None:
            ticks.append((reactor.now(), "timer"))
            reactor.call_at(reactor.now() + TICK_S, timer)

        reactor.start(pump(), name="pump")
        timer()
        await task()

    async def body(pair: SimulatedPair) -> None:
        host, since = pair.server, 0.0
        await trio.sleep(0.1001)
        for what, seconds in course:
            was = host.processor.paused
            match what:
                case "pause":
                    host.pause()
                case "resume" if was:
                    host.resume()
                case "slow":
                    host.processor.slow_down(3.0)
                case "quick" if host.processor.slow:
                    host.processor.speed_up(3.0)
                case "cut":
                    host.restart()
            if host.processor.paused and not was:
                since = trio.current_time()
            elif was and not host.processor.paused:
                asleep.append((since, trio.current_time()))
            await trio.sleep(seconds)
        while host.processor.paused:
            host.resume()
        while host.processor.slow:
            host.processor.speed_up(3.0)
        asleep.append((since, trio.current_time()) if was_asleep(course) else (0.0, 0.0))
        began = trio.current_time() + 0.05
        await trio.sleep(0.3)
        for what in ("task", "pump", "timer"):
            assert 23 <= sum(at >= began and which == what for at, which in ticks) <= 26

    make_pair(server=server).run(body)
    return [at for at, _ in ticks if any(begin < at < end for begin, end in asleep)]


def was_asleep(course: Course) -> bool:
    """Say whether a course leaves its host paused."""
    pauses = 0
    for what, _ in course:
        pauses = 0 if what == "cut" else max(0, pauses + {"pause": 1, "resume": -1}.get(what, 0))
    return pauses > 0


COURSES = st.lists(
    st.tuples(st.sampled_from(["pause", "resume", "slow", "quick", "cut"]), st.sampled_from([0.0, 0.003, 0.0251, 0.1])),
    max_size=8,
)


@given(course=COURSES)
@settings(max_examples=60, deadline=None)
def test_nothing_runs_during_a_pause_and_everything_goes_on_after_it(course: Course) -> None:
    assert ticks_while_paused(course) == []


@pytest.mark.parametrize("planted", ["timer", "withholds"])
def test_the_property_finds_a_gate_that_leaks(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: timers, or tasks, are not asked whether the host is paused. Each showed in the ticks of the first pause."""
    leaks: dict[str, Any] = {
        "timer": lambda self, run, argument: run(argument),
        "withholds": lambda self, task: False,
    }
    monkeypatch.setattr(Processor, planted, leaks[planted])
    monkeypatch.setattr("sim.processor.deadlines_within", lambda root: {})
    assert ticks_while_paused([("pause", 0.1), ("resume", 0.1)])
