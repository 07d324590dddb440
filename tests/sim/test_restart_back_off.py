import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

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


class BackOffMachine(RuleBasedStateMachine):
    """Against a model that remembers every death."""

    def __init__(self) -> None:
        super().__init__()
        self.back_off = RestartBackOff(2.0)
        self.deaths: list[float] = []

    @rule(ran_s=st.sampled_from([0.0, 1.0, QUIET_S - 1.0, QUIET_S, 2 * QUIET_S]))
    def die(self, ran_s: float) -> None:
        self.deaths.append(ran_s)
        quiet = [number for number, ran in enumerate(self.deaths) if ran >= 600.0]
        since = len(self.deaths) - 1 - (quiet[-1] if quiet else 0)
        assert self.back_off.after_death(ran_s=ran_s) == min(2.0 * 2**since, 300.0)


SETTINGS = settings(max_examples=60, deadline=None)


def test_it_agrees_with_a_model_that_remembers_every_death() -> None:
    run_state_machine_as_test(BackOffMachine, settings=SETTINGS)


def test_the_machine_finds_a_back_off_that_never_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a quiet life is not rewarded. The machine: 4.0 == 2.0 after a death and a life of 600 s."""
    after_death = RestartBackOff.after_death
    monkeypatch.setattr(RestartBackOff, "after_death", lambda self, *, ran_s: after_death(self, ran_s=0.0))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(BackOffMachine, settings=settings(SETTINGS, derandomize=True, database=None))
