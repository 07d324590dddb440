import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from mesh.runtime.supervisor import ActorGaveUp, RestartHistory, RestartPolicy, Supervisor


class Crashing:
    """Crashes `crashes` times in all its incarnations, then lives until cancelled or ends."""

    def __init__(self, starts: list[float], crashes: int, *, ends: bool = True) -> None:
        self.starts = starts
        self.crashes = crashes
        self.ends = ends

    async def run(self) -> None:
        self.starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(self.starts) <= self.crashes:
            raise ValueError("crash")
        if not self.ends:
            await trio.sleep_forever()


@pytest.fixture
def supervisor(log: Any) -> Callable[..., Supervisor]:
    return lambda **policy: Supervisor("tests", log=log, random=random.Random(1), policy=RestartPolicy(**policy))


async def test_a_crashed_actor_is_made_anew_after_a_growing_pause(
    supervisor: Callable[..., Supervisor],
    autojump_clock: trio.testing.MockClock,
    log_capture: structlog.testing.LogCapture,
) -> None:
    starts: list[float] = []
    tree = supervisor(backoff_s_base=1.0, backoff_s_max=3.0, restarts_max=4)
    tree.add("flaky", lambda: Crashing(starts, crashes=4))
    await tree.run()
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for pause, most in zip(pauses, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert most / 2 <= pause <= most
    assert [entry["event"] for entry in log_capture.entries] == ["actor.crashed", "actor.restarted"] * 4
    assert log_capture.entries[0]["actor"] == "flaky" and log_capture.entries[0]["log_level"] == "error"


async def test_too_many_crashes_end_all_children_and_escalate(
    supervisor: Callable[..., Supervisor], autojump_clock: trio.testing.MockClock
) -> None:
    starts: list[float] = []
    healthy: list[float] = []
    tree = supervisor(restarts_max=2)
    tree.add("healthy", lambda: Crashing(healthy, crashes=0, ends=False))
    tree.add("hopeless", lambda: Crashing(starts, crashes=99))
    with pytest.raises(ActorGaveUp, match="actor hopeless crashed too often") as raised:
        await tree.run()
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(starts) == 3 and len(healthy) == 1


async def test_a_crash_leaves_the_siblings_alone(
    supervisor: Callable[..., Supervisor], autojump_clock: trio.testing.MockClock
) -> None:
    starts: list[float] = []
    sibling: list[float] = []
    tree = supervisor()
    tree.add("flaky", lambda: Crashing(starts, crashes=3, ends=False))
    tree.add("sibling", lambda: Crashing(sibling, crashes=0, ends=False))
    with trio.move_on_after(100):
        await tree.run()
    assert len(starts) == 4 and len(sibling) == 1


async def test_children_may_be_added_while_running(
    supervisor: Callable[..., Supervisor], autojump_clock: trio.testing.MockClock
) -> None:
    first: list[float] = []
    second: list[float] = []
    tree = supervisor()
    tree.add("first", lambda: Crashing(first, crashes=0, ends=False))
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tree.run)
            await trio.sleep(1)
            tree.add("second", lambda: Crashing(second, crashes=1, ends=False))
    assert len(first) == 1 and len(second) == 2


async def test_a_crash_while_being_cancelled_is_reported_and_does_not_escape(
    supervisor: Callable[..., Supervisor],
    autojump_clock: trio.testing.MockClock,
    log_capture: structlog.testing.LogCapture,
) -> None:
    class FailsInCleanup:
        async def run(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("clean-up failed")

    tree = supervisor()
    tree.add("messy", FailsInCleanup)
    with trio.move_on_after(1) as scope:
        await tree.run()
    assert scope.cancelled_caught
    assert [entry["event"] for entry in log_capture.entries] == ["actor.crashed"]


def test_old_crashes_are_forgiven() -> None:
    history = RestartHistory(RestartPolicy(backoff_s_base=1.0, restarts_max=2, window_s=60.0))
    chance = random.Random(1)
    pauses = [history.after_crash(now=now, random=chance) for now in (0.0, 10.0, 65.0, 200.0)]
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0
    assert 1.0 <= pauses[2] <= 2.0, "the crash at 0 s is out of the window"
    assert 0.5 <= pauses[3] <= 1.0
    assert history.after_crash(now=201.0, random=chance) < 3.0
    assert history.after_crash(now=202.0, random=chance) == float("inf")
