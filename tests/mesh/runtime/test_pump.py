from typing import Any

import pytest
import trio
import trio.testing

from mesh.model.errors import DeadlineExceeded
from mesh.runtime.pump import Signal

settle = trio.testing.wait_all_tasks_blocked


async def test_a_signal_wakes_in_the_order_of_waiting(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        signal = Signal(reactor)
        woken: list[str] = []

        async def wait(name: str) -> None:
            await signal.wait()
            woken.append(name)

        for name in "abcd":
            reactor.start(wait(name), name=name)
        assert len(signal) == 4
        signal.wake()
        assert not woken, "wakes at the end of the turn"
        await settle()
        assert woken == ["a"]
        signal.wake(2)
        await settle()
        assert woken == ["a", "b", "c"]
        signal.wake_all()
        signal.wake()
        await settle()
        assert woken == ["a", "b", "c", "d"]


async def test_a_spurious_wake_up_does_not_end_the_wait(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        signal = Signal(reactor)
        pump = reactor.start(signal.wait(), name="waiting")
        pump.resume()
        assert not pump.done and len(signal) == 1
        signal.wake()
        await settle()
        assert pump.done


async def test_a_waiter_that_gave_up_leaves_the_line(running_reactor: Any, mock_clock: trio.testing.MockClock) -> None:
    async with running_reactor() as reactor:
        signal = Signal(reactor)
        errors: list[BaseException | None] = []
        first = reactor.start(signal.wait(), name="impatient")
        first.on_done(lambda pump, error: errors.append(error))
        second = reactor.start(signal.wait(), name="patient")
        first.set_deadline(reactor.now() + 1.0)
        mock_clock.jump(1.0)
        await settle()
        assert isinstance(errors[0], DeadlineExceeded) and len(signal) == 1
        signal.wake()
        await settle()
        assert second.done


async def test_a_wake_up_that_came_too_late_goes_to_the_next(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        signal = Signal(reactor)
        first = reactor.start(signal.wait(), name="cancelled")
        second = reactor.start(signal.wait(), name="next")
        signal.wake()
        first.cancel()
        await settle()
        assert second.done and len(signal) == 0


async def test_cancelling_runs_finally_blocks_and_is_no_error(running_reactor: Any) -> None:
    async with running_reactor() as reactor:
        cleaned: list[str] = []
        errors: list[BaseException | None] = []

        async def work() -> None:
            try:
                await reactor.sleep(1000)
            finally:
                cleaned.append("cleaned")

        pump = reactor.start(work(), name="work")
        pump.on_done(lambda pump, error: errors.append(error))
        pump.cancel()
        pump.cancel()
        assert cleaned == ["cleaned"] and errors == [None]


@pytest.mark.parametrize("later", [False, True])
async def test_a_pump_survives_its_deadline_and_may_set_another(
    running_reactor: Any, mock_clock: trio.testing.MockClock, later: bool
) -> None:
    async with running_reactor() as reactor:
        seen: list[float] = []
        began = reactor.now()

        async def work() -> None:
            assert reactor.current is not None
            for deadline in (1.0, 2.0):
                reactor.current.set_deadline(began + deadline)
                try:
                    await reactor.sleep(1000)
                except DeadlineExceeded:
                    seen.append(reactor.now() - began)

        pump = reactor.start(work(), name="work")
        if later:
            pump.set_deadline(began + 1.0)
        for _ in range(2):
            mock_clock.jump(1.0)
            await settle()
        assert seen == [pytest.approx(1.0), pytest.approx(2.0)] and pump.done
