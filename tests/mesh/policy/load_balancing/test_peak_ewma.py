"""Peak EWMA: quick to rise, slow to fall, the same however often it is read."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing import PeakEwma
from mesh.policy.load_balancing.peak_ewma import SEED_S

DECAY_S = 10.0


def test_a_new_host_is_thought_to_take_30_ms() -> None:
    assert PeakEwma(DECAY_S, 5.0).at(5.0) == SEED_S == 0.030


def test_reading_decays_without_changing_anything() -> None:
    latency = PeakEwma(DECAY_S, 0.0, 1.0)
    assert latency.at(DECAY_S) == pytest.approx(1 / math.e)
    assert latency.at(3 * DECAY_S) == pytest.approx(math.exp(-3))
    assert latency.at(0.0) == 1.0


def test_a_peak_is_believed_at_once() -> None:
    latency = PeakEwma(DECAY_S, 0.0)
    latency.record(2.0, 1.0)
    assert latency.at(1.0) == 2.0


def test_a_good_answer_is_believed_bit_by_bit() -> None:
    latency = PeakEwma(DECAY_S, 0.0, 2.0)
    latency.record(0.1, 5.0)
    kept = math.exp(-0.5)
    assert latency.at(5.0) == pytest.approx(2.0 * kept + 0.1 * (1 - kept))


def test_a_peak_is_one_compared_with_what_has_decayed() -> None:
    latency = PeakEwma(DECAY_S, 0.0, 1.0)
    latency.record(0.5, DECAY_S)  # less than 1.0, more than 1/e
    assert latency.at(DECAY_S) == 0.5


@pytest.mark.parametrize(
    ("elapsed_s", "retry_after_s", "value_s"),
    [(0.001, None, 5.0), (0.001, 2.0, 5.0), (0.001, 60.0, 60.0), (0.001, 9e9, 300.0), (15.0, None, 15.0)],
)
def test_a_failure_counts_as_a_very_slow_answer(elapsed_s: float, retry_after_s: float | None, value_s: float) -> None:
    latency = PeakEwma(DECAY_S, 0.0)
    latency.record_failure(elapsed_s, 0.0, retry_after_s)
    assert latency.at(0.0) == value_s


def test_no_decay_means_a_millisecond() -> None:
    latency = PeakEwma(0.0, 0.0, 1.0)
    assert 0.0 < latency.at(0.001) == pytest.approx(1 / math.e)


answers = st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 10.0)), max_size=30)


@settings(max_examples=100, deadline=None)
@given(answers, st.floats(0.1, 60.0))
def test_value_stays_between_nothing_and_the_slowest_answer(steps: list[tuple[float, float]], decay_s: float) -> None:
    latency, now, slowest = PeakEwma(decay_s, 0.0), 0.0, SEED_S
    for wait_s, rtt_s in steps:
        now += wait_s
        before = latency.value_s
        latency.record(rtt_s, now)
        slowest = max(slowest, rtt_s)
        assert latency.at(now) >= rtt_s or latency.at(now) == pytest.approx(rtt_s)
        assert latency.at(now) <= max(before, rtt_s) * (1 + 1e-9)
        assert 0.0 <= latency.at(now + 1.0) <= latency.at(now) <= slowest * (1 + 1e-9)


def test_answers_that_come_out_of_order_do_not_turn_time_back() -> None:
    latency = PeakEwma(DECAY_S, 10.0, 1.0)
    latency.record(0.5, 9.0)
    assert (latency.value_s, latency.updated_at) == (1.0, 10.0)
