import math

from mesh.runtime.timers import TimerHeap


def collect(timers: TimerHeap, now: float) -> int:
    count = 0
    while (callback := timers.pop_due(now)) is not None:
        callback()
        count += 1
    return count


def test_timers_run_by_instant_then_by_arrival() -> None:
    order: list[str] = []
    timers = TimerHeap(lambda when, callback: False)
    for when, name in ((2.0, "late"), (1.0, "first"), (1.0, "second")):
        timers.add(when, lambda name=name: order.append(name))
    assert timers.next_at == 1.0
    assert collect(timers, 0.9) == 0
    assert collect(timers, 1.0) == 2
    assert collect(timers, 5.0) == 1
    assert order == ["first", "second", "late"]
    assert timers.next_at == math.inf


def test_stale_timers_do_not_pile_up() -> None:
    """A connection a millisecond with an hour of idle timeout leaves the heap as large as what is alive."""
    alive: set[int] = set()
    timers = TimerHeap(lambda when, callback: round(when) not in alive)
    for number in range(50_000):
        alive = {number, number - 1}
        timers.add(float(number), lambda: None)
    assert len(timers) <= 2048


def test_sweeping_keeps_what_is_not_stale() -> None:
    timers = TimerHeap(lambda when, callback: when % 2 == 0)
    for number in range(5_000):
        timers.add(float(number), lambda: None)
    assert collect(timers, 10_000.0) >= 2_500
