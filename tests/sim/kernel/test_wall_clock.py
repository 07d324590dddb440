from sim.clock import NS_PER_S, SimClock
from sim.wall_clock import WallClock


def test_errors_add_up_and_are_counted_only_for_who_is_misled() -> None:
    clock = SimClock()
    clock.now_ns = 10 * NS_PER_S
    date = WallClock(1000.0, clock)
    assert date.read() == 1010.0
    undo_skew = date.mislead(lambda now_s: -30.0)
    undo_drift = date.mislead(lambda now_s: now_s * 0.5)
    assert date.look() == 985.0
    assert date.asked_while_wrong == 0
    assert date.read() == 985.0
    assert date.asked_while_wrong == 1
    undo_skew()
    assert date.read() == 1015.0
    undo_drift()
    assert date.read() == 1010.0
    assert date.asked_while_wrong == 2
