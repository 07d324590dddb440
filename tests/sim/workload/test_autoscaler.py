"""How many instances a service should have."""

from sim.scenario.topology import Autoscale
from sim.workload.autoscaler import Autoscaler

CONFIG = Autoscale(target=0.7, least=2, most=8, delay_s=40.0)


def test_twice_the_target_doubles_up_to_the_limit():
    assert Autoscaler(CONFIG).decide(measured=1.0, instances=2, now=0.0) == 3
    assert Autoscaler(CONFIG).decide(measured=1.4, instances=2, now=0.0) == 4
    assert Autoscaler(CONFIG).decide(measured=1.0, instances=7, now=0.0) == 8


def test_near_the_target_nothing_changes():
    assert Autoscaler(CONFIG).decide(measured=0.75, instances=4, now=0.0) == 4


def test_calm_must_last_before_one_instance_leaves():
    scaler = Autoscaler(CONFIG)
    assert [scaler.decide(measured=0.1, instances=4, now=now) for now in (0.0, 30.0, 59.0, 60.0, 65.0)] == [
        4,
        4,
        4,
        3,
        4,
    ]


def test_busy_moment_starts_the_calm_anew():
    scaler = Autoscaler(CONFIG)
    scaler.decide(measured=0.1, instances=4, now=0.0)
    scaler.decide(measured=0.7, instances=4, now=30.0)
    assert scaler.decide(measured=0.1, instances=4, now=61.0) == 4
