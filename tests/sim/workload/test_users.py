"""The load generator: when journeys start, what users wait for, and what is recorded."""

import itertools
from collections import Counter

import pytest

ONE = """
services:
  web: {instances: {z: 1}, concurrency: 1, queue: 1000, endpoints: {GET /: {steps: [{work: 20ms}]}, POST /: {}}}
"""


def test_open_load_does_not_wait_for_answers_and_latency_counts_from_the_intended_start(bench):
    # 60 a second against 50 a second: the queue grows, and so must the recorded latency.
    b = bench(ONE + "workload: {u: {rate: 60/s, arrivals: constant, journeys: {j: [GET web/]}}}").run(5.0)
    records = sorted(b.log.journeys)
    assert len(records) == 300
    assert [r.start_s for r in records] == pytest.approx([0.001 + (n + 0.5) / 60 for n in range(300)], abs=1e-6)
    assert records[-1].latency_s == pytest.approx(300 * 0.02 - 5.0, abs=0.1)


def test_poisson_arrivals_keep_their_rate_and_vary(bench):
    b = bench(ONE + "workload: {u: {rate: [{to: 100/s, over: 10s}, {hold: 20s}], journeys: {j: [POST web/]}}}").run(
        30.0
    )
    starts = [j.start_s for j in b.log.journeys]
    assert len(starts) == pytest.approx(2500, rel=0.06)
    assert sum(s < 10 for s in starts) == pytest.approx(500, rel=0.12)
    gaps = [later - start for start, later in itertools.pairwise(sorted(starts)) if start > 10]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.2)


def test_impatient_users_leave_but_their_work_is_done(bench):
    b = bench(ONE + "workload: {u: {rate: 100/s, timeout: 300ms, journeys: {j: [GET web/]}}}").run(3.0)
    outcomes = Counter((v.status, v.timed_out) for v in b.log.visits)
    assert outcomes[(0, True)] > 100
    assert max(v.end_s - v.start_s for v in b.log.visits) == pytest.approx(0.3, abs=0.005)
    assert b.tally.executions[("web", "GET /")] == len(b.log.visits)


def test_thinking_is_no_latency_and_a_failed_visit_ends_the_journey(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {}, GET /bad: {errors: {500: 100%}}}}
workload:
  u: {rate: 20/s, journeys: {slow: [GET web/, {think: 2s}, GET web/], bad: [GET web/bad, {think: 9s}, GET web/]}}
""").run(2.0)
    slow = [j for j in b.log.journeys if j.journey == "slow"]
    bad = [j for j in b.log.journeys if j.journey == "bad"]
    assert slow and bad
    assert all(j.ok and j.end_s - j.start_s > 2.0 and j.latency_s < 0.01 for j in slow)
    assert all(not j.ok and j.end_s - j.start_s < 0.1 for j in bad)


def test_mix_is_kept(bench):
    b = bench("""
services: {web: {instances: {z: 1}, endpoints: {GET /: {}}}}
workload:
  u: {rate: 400/s, mix: {often: 9, seldom: 1, never: 0}, journeys: {often: [GET web/], seldom: [GET web/], never: [GET web/]}}
""").run(4.0)
    share = Counter(j.journey for j in b.log.journeys)
    assert share["never"] == 0
    assert share["seldom"] / len(b.log.journeys) == pytest.approx(0.1, abs=0.02)


def test_closed_users_wait_for_their_answers(bench):
    b = bench(ONE + "workload: {u: {model: closed, users: 10, think: 180ms, journeys: {j: [GET web/]}}}").run(10.0)
    # Ten users, each 20 ms of work and 180 ms of thinking: the one place is always wanted.
    assert len(b.log.journeys) == pytest.approx(490, rel=0.1)
    assert b.users["u"].active == 0


def test_same_seed_same_events_other_seed_others(bench):
    text = ONE + "workload: {u: {rate: 50/s, journeys: {j: [GET web/]}}}"
    first, again, other = bench(text).run(3.0), bench(text).run(3.0), bench(text, seed=2).run(3.0)
    assert first.hash == again.hash
    assert first.log.journeys == again.log.journeys
    assert first.hash != other.hash
