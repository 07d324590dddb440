import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import clock as clock_module
from sim.clock import FOREVER_NS, NS_PER_S, SimClock, SimDeadlock, SimLivelock, ns_at_or_after


def run(body: Callable[[SimClock], Awaitable[Any]]) -> SimClock:
    clock = SimClock()
    trio.run(body, clock, clock=clock)
    return clock


def test_sleeping_moves_time_and_takes_none() -> None:
    async def body(clock: SimClock) -> None:
        await trio.sleep(3600.0)
        assert trio.current_time() == 3600.0
        with trio.move_on_after(0.25):
            await trio.sleep_forever()
        assert trio.current_time() == 3600.25

    assert run(body).now_ns == 3_600_250_000_000


def test_events_run_in_order_of_time_then_of_scheduling() -> None:
    async def body(clock: SimClock) -> None:
        seen: list[str] = []
        for due_s, name in ((2, "late"), (1, "first"), (1, "second"), (0, "now")):
            clock.push(due_s * NS_PER_S, seen.append, name)
        clock.push(NS_PER_S, lambda _: clock.push(0, seen.append, "past is now"), None)
        await trio.sleep(3)
        assert seen == ["now", "first", "second", "past is now", "late"]

    run(body)


def test_an_event_wakes_a_task_at_its_time() -> None:
    async def body(clock: SimClock) -> None:
        task = trio.lowlevel.current_task()
        clock.push(5 * NS_PER_S, trio.lowlevel.reschedule, task)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        assert trio.current_time() == 5.0

    run(body)


def test_all_events_of_an_instant_run_before_the_tasks_they_wake() -> None:
    async def body(clock: SimClock) -> None:
        seen: list[str] = []
        event = trio.Event()
        clock.push(NS_PER_S, lambda _: event.set(), None)
        clock.push(NS_PER_S, seen.append, "same instant")
        clock.push(NS_PER_S + 1, seen.append, "later")
        await event.wait()
        assert seen == ["same instant"]
        assert clock.now_ns == NS_PER_S

    run(body)


def test_an_event_at_a_deadline_comes_before_it() -> None:
    async def body(clock: SimClock) -> None:
        seen: list[str] = []
        clock.push(NS_PER_S, seen.append, "event")
        with trio.move_on_after(1.0):
            await trio.sleep_forever()
        assert seen == ["event"]
        assert clock.now_ns == NS_PER_S

    run(body)


def test_waiting_for_blocked_tasks_sees_events_of_now_but_does_not_move_time() -> None:
    async def body(clock: SimClock) -> None:
        seen: list[str] = []
        clock.push(0, seen.append, "now")
        clock.push(1, seen.append, "later")
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["now"]
        assert clock.now_ns == 0

    run(body)


def test_nothing_left_to_happen_is_a_deadlock_told_and_not_raised() -> None:
    told: list[Exception] = []

    async def body(clock: SimClock) -> None:
        event = trio.Event()

        def end(error: Exception) -> None:
            told.append(error)
            event.set()

        clock.on_failure = end
        clock.push(2 * NS_PER_S, lambda _: None, None)
        await event.wait()

    run(body)
    assert [type(error) for error in told] == [SimDeadlock]
    assert "2.0 s" in str(told[0])


def test_events_without_end_at_one_instant_are_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "EVENTS_PER_INSTANT_MAX", 100_000)
    told: list[Exception] = []

    async def body(clock: SimClock) -> None:
        event = trio.Event()
        spinning = True

        def end(error: Exception) -> None:
            nonlocal spinning
            spinning = False
            told.append(error)
            event.set()

        def spin(_: object) -> None:
            if spinning:
                clock.push(0, spin, None)

        clock.on_failure = end
        clock.push(0, spin, None)
        await event.wait()

    run(body)
    assert [type(error) for error in told] == [SimLivelock]


def test_tasks_without_end_at_one_instant_are_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "PASSES_PER_INSTANT_MAX", 1000)
    told: list[Exception] = []

    async def body(clock: SimClock) -> None:
        clock.on_failure = told.append
        while not told:
            await trio.lowlevel.checkpoint()

    run(body)
    assert isinstance(told[0], SimLivelock)


def test_an_event_that_raises_is_told() -> None:
    told: list[Exception] = []

    def fail(_: object) -> None:
        raise LookupError("a bug")

    async def body(clock: SimClock) -> None:
        clock.on_failure = told.append
        clock.push(NS_PER_S, fail, None)
        await trio.sleep(2.0)

    assert run(body).now_ns == 2 * NS_PER_S
    assert [type(error) for error in told] == [LookupError]


def test_a_long_row_of_events_still_lets_trio_pass() -> None:
    """Otherwise Ctrl-C would wait for the end of the run."""

    async def body(clock: SimClock) -> None:
        left = 50_000
        passes: list[int] = []

        def step(_: object) -> None:
            nonlocal left
            left -= 1
            if left:
                clock.push(clock.now_ns + 1, step, None)

        class CountPasses(trio.abc.Instrument):
            def before_io_wait(self, timeout: float) -> None:
                passes.append(left)

        clock.push(1, step, None)
        instrument = CountPasses()
        trio.lowlevel.add_instrument(instrument)
        await trio.sleep(1.0)
        trio.lowlevel.remove_instrument(instrument)
        assert len(passes) >= 2
        assert left == 0

    run(body)


def test_housekeeping_is_called_by_the_number_of_events() -> None:
    calls: list[int] = []

    async def body(clock: SimClock) -> None:
        clock.on_housekeeping = lambda: calls.append(clock.events_run)

        def step(number: int) -> None:
            if number:
                clock.push(clock.now_ns + 1, step, number - 1)

        clock.push(1, step, 200_000)
        await trio.sleep(1.0)

    run(body)
    assert 2 <= len(calls) <= 4


@settings(max_examples=100, deadline=None)
@given(st.floats(min_value=0.0, max_value=4e6))
def test_a_deadline_is_never_ahead_of_its_nanosecond(seconds: float) -> None:
    ns = ns_at_or_after(seconds)
    assert ns / NS_PER_S >= seconds
    assert ns == 0 or (ns - 1) / NS_PER_S < seconds + 1e-9


def test_the_bounds_of_time() -> None:
    assert ns_at_or_after(math.inf) == FOREVER_NS
    assert ns_at_or_after(-math.inf) == 0
    assert ns_at_or_after(1.1) == 1_100_000_000
