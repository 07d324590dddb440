"""Reconnection: full jitter below a doubling ceiling."""

from random import Random

from mesh.discovery.reconnection import Reconnection, ReconnectionBackoff


class Highest(Random):
    """Draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_ceiling_doubles_up_to_its_limit() -> None:
    reconnection = Reconnection()
    delays = [reconnection.delay_s(Highest()) for _ in range(10)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_very_long_outage_stays_at_the_limit() -> None:
    reconnection = Reconnection(failures=100_000)
    assert reconnection.delay_s(Highest()) == 10.0


def test_waits_spread_over_the_whole_span() -> None:
    random = Random(1)
    delays = [Reconnection(failures=20).delay_s(random) for _ in range(1000)]
    assert min(delays) < 0.5 and max(delays) > 9.5
    assert 4.5 < sum(delays) / len(delays) < 5.5


def test_connection_that_lived_makes_the_next_failure_the_first() -> None:
    reconnection = Reconnection(ReconnectionBackoff(healthy_s=10.0), failures=7)
    reconnection.after_connection(lived_s=9.9)
    assert reconnection.failures == 7
    reconnection.after_connection(lived_s=10.0)
    assert reconnection.delay_s(Highest()) == 0.1


def test_permanent_refusals_are_retried_slowly() -> None:
    delays = [Reconnection(refusals=5).refused_delay_s(Random(seed)) for seed in range(100)]
    assert min(delays) >= 27.0 and max(delays) <= 33.0


def test_first_refusals_may_come_of_a_control_plane_that_has_not_heard_yet() -> None:
    reconnection = Reconnection()
    delays = [round(reconnection.refused_delay_s(Highest()) / 1.1, 3) for _ in range(7)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    reconnection.after_connection(lived_s=0.0)
    assert reconnection.refusals == 7
    reconnection.after_connection(lived_s=0.5)
    assert reconnection.refusals == 0
