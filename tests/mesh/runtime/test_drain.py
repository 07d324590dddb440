import os
import signal
from typing import Any

import structlog
import trio
import trio.testing

from mesh.runtime.drain import Drain, DrainState, drain_on_signal

settle = trio.testing.wait_all_tasks_blocked


async def test_draining_waits_for_the_last_work(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain()
    drain.enter()
    drain.enter()
    assert drain.state is DrainState.ACCEPTING
    drain.begin()
    assert drain.draining and drain.state is DrainState.DRAINING

    async def work() -> None:
        for _ in range(2):
            await trio.sleep(1)
            drain.leave()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        began = trio.current_time()
        assert await drain.wait_idle(began + 10)
        assert trio.current_time() == began + 2
    assert drain.state is DrainState.DRAINED


async def test_the_deadline_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain()
    drain.enter()
    drain.begin()
    began = trio.current_time()
    assert not await drain.wait_idle(began + 3)
    assert trio.current_time() == began + 3


async def test_work_that_came_meanwhile_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain()
    drain.enter()
    drain.begin()
    results: list[bool] = []

    async def wait() -> None:
        results.append(await drain.wait_idle(trio.current_time() + 10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await settle()
        drain.leave()
        drain.enter()
        await settle()
        assert not results
        drain.leave()
    assert results == [True, True]


def test_begin_calls_back_once_and_late_comers_at_once() -> None:
    drain = Drain()
    called: list[str] = []
    drain.on_begin(lambda: called.append("listener"))
    drain.begin()
    drain.begin()
    drain.on_begin(lambda: called.append("late"))
    assert called == ["listener", "late"]


async def test_nothing_in_flight_is_drained_at_once() -> None:
    drain = Drain()
    drain.begin()
    assert await drain.wait_idle(trio.current_time() - 1)


async def test_a_signal_starts_the_drain(log: Any, log_capture: structlog.testing.LogCapture) -> None:
    finished: list[str] = []

    async def finish() -> None:
        finished.append("finished")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: drain_on_signal(finish, log=log, task_status=task_status))
            os.kill(os.getpid(), signal.SIGTERM)
    assert finished == ["finished"]
    assert [(entry["event"], entry["signal"]) for entry in log_capture.entries] == [("drain.began", "SIGTERM")]


async def test_a_second_signal_cuts_the_drain_short(log: Any, log_capture: structlog.testing.LogCapture) -> None:
    begun = trio.Event()

    async def finish() -> None:
        begun.set()
        await trio.sleep_forever()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: drain_on_signal(finish, log=log, task_status=task_status))
            os.kill(os.getpid(), signal.SIGINT)
            await begun.wait()
            os.kill(os.getpid(), signal.SIGINT)
    assert [entry["event"] for entry in log_capture.entries] == ["drain.began", "drain.cut_short"]
