from sim.restart_back_off import LONGEST_S, QUIET_S, RestartBackOff


def test_waits_double_up_to_the_longest() -> None:
    back_off = RestartBackOff(10.0)
    assert [back_off.after_death(ran_s=1.0) for _ in range(7)] == [10.0, 20.0, 40.0, 80.0, 160.0, LONGEST_S, LONGEST_S]


def test_a_quiet_life_is_rewarded() -> None:
    back_off = RestartBackOff(10.0)
    for _ in range(4):
        back_off.after_death(ran_s=1.0)
    assert back_off.after_death(ran_s=QUIET_S) == 10.0
    assert back_off.after_death(ran_s=QUIET_S - 1.0) == 20.0


def test_a_long_first_wait_stays() -> None:
    back_off = RestartBackOff(1000.0)
    assert [back_off.after_death(ran_s=1.0) for _ in range(2)] == [1000.0, 1000.0]
