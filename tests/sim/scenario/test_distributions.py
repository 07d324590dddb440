"""Distributions keep what they promise, over many draws of one seeded stream."""

from random import Random

import pytest

from sim.scenario.distributions import Constant, Exponential, Histogram, LogNormal


def draws(distribution, count=20_000):
    random = Random(7)
    return sorted(distribution.draw(random) for _ in range(count))


def test_constant_draws_nothing():
    random = Random(7)
    before = random.getstate()
    assert Constant(0.002).draw(random) == 0.002
    assert random.getstate() == before


def test_exponential_has_its_mean():
    values = draws(Exponential(0.002))
    assert sum(values) / len(values) == pytest.approx(0.002, rel=0.03)


def test_log_normal_has_its_quantiles_and_mean():
    distribution = LogNormal(0.006, 0.040)
    values = draws(distribution)
    assert values[len(values) // 2] == pytest.approx(0.006, rel=0.03)
    assert values[int(len(values) * 0.99)] == pytest.approx(0.040, rel=0.1)
    assert sum(values) / len(values) == pytest.approx(distribution.mean_s, rel=0.03)


def test_histogram_draws_by_weight():
    distribution = Histogram(((0.001, 3.0), (0.005, 0.0), (0.010, 1.0)))
    values = draws(distribution)
    assert values.count(0.001) / len(values) == pytest.approx(0.75, abs=0.02)
    assert 0.005 not in values
    assert distribution.mean_s == pytest.approx(0.00325)
