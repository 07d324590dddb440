"""The model of services against closed forms: Erlang's waits and losses, Pollaczek and Khinchine's mean, Little's law.

Runs are seeded, so nothing here is a matter of luck; bounds are those of a confidence interval over 20 batches of each run, and a
formula for one server more or less must lie outside it.
"""

import math
from statistics import fmean, stdev

import pytest

NETWORK_S = 0.001  # there and back
STUDENT_999 = 3.883  # 99.9 %, two-sided, 19 degrees of freedom
WARMUP_S = 60.0
WORK_S = 0.1


def erlang_b(servers, load):
    """Return the share that is lost of `load` erlangs offered to servers without a queue. Source: Erlang 1917."""
    blocking = 1.0
    for n in range(1, servers + 1):
        blocking = load * blocking / (n + load * blocking)
    return blocking


def erlang_c_wait_s(servers, load, work_s):
    """Return the mean wait of M/M/c. Source: Erlang 1917."""
    lost = erlang_b(servers, load)
    waiting = lost / (1 - load / servers * (1 - lost))
    return waiting * work_s / (servers - load)


def shop(work, *, rate, concurrency, queue=100_000):
    return f"""
services:
  shop: {{instances: {{z: 1}}, concurrency: {concurrency}, queue: {queue}, endpoints: {{GET /: {{steps: [{{work: {work}}}]}}}}}}
workload: {{buyers: {{rate: {rate}/s, journeys: {{buy: [GET shop/]}}}}}}
"""


def interval(samples):
    """Return the mean and half the width of its confidence interval, by batches, since neighbours wait together."""
    size = len(samples) // 20
    means = [fmean(samples[n * size : (n + 1) * size]) for n in range(20)]
    return fmean(means), STUDENT_999 * stdev(means) / math.sqrt(20)


def waits(bench, text, *, seconds, work_s=WORK_S, seed=1):
    """Return how long each visit took beyond its mean work and the network, in the order of arrival."""
    b = bench(text, seed=seed).run(seconds)
    visits = sorted((visit for visit in b.log.visits if visit.start_s >= WARMUP_S), key=lambda visit: visit.start_s)
    return [visit.end_s - visit.start_s - NETWORK_S - work_s for visit in visits]


@pytest.mark.parametrize(("servers", "rate", "seconds"), [(1, 7, 1500), (2, 16, 1500), (5, 42, 600), (8, 64, 900)])
def test_mean_wait_is_erlangs(bench, servers, rate, seconds):
    seen, half = interval(waits(bench, shop("{mean: 100ms}", rate=rate, concurrency=servers), seconds=seconds))
    assert half < 0.35 * seen
    assert seen == pytest.approx(erlang_c_wait_s(servers, rate * WORK_S, WORK_S), abs=half + 0.001)
    assert seen != pytest.approx(erlang_c_wait_s(servers + 1, rate * WORK_S, WORK_S), abs=half + 0.001)


def test_constant_work_waits_half_as_long(bench):
    rate = 7
    load = rate * WORK_S
    seen, half = interval(waits(bench, shop("100ms", rate=rate, concurrency=1), seconds=1500))
    # Pollaczek and Khinchine: (1 + squared coefficient of variation) / 2 of the exponential's wait.
    assert seen == pytest.approx(load * WORK_S / (1 - load) / 2, abs=half + 0.001)


def test_without_a_queue_erlangs_share_is_lost(bench):
    servers, rate = 5, 50
    b = bench(shop("{mean: 100ms}", rate=rate, concurrency=servers, queue=0)).run(900)
    visits = sorted((visit for visit in b.log.visits if visit.start_s >= WARMUP_S), key=lambda visit: visit.start_s)
    seen, half = interval([float(visit.status == 503) for visit in visits])
    assert seen == pytest.approx(erlang_b(servers, rate * WORK_S), abs=half)
    assert seen != pytest.approx(erlang_b(servers + 1, rate * WORK_S), abs=half)


def test_closed_users_obey_littles_law(bench):
    users, think_s = 30, 1.0
    b = bench(f"""
services:
  shop: {{instances: {{z: 1}}, concurrency: 2, queue: 100, endpoints: {{GET /: {{steps: [{{work: {{mean: 100ms}}}}]}}}}}}
workload: {{buyers: {{model: closed, users: {users}, think: {{mean: 1s}}, journeys: {{buy: [GET shop/]}}}}}}
""").run(900)
    visits = [visit for visit in b.log.visits if WARMUP_S <= visit.start_s < 900]
    throughput = len(visits) / (900 - WARMUP_S)
    response_s = fmean(visit.end_s - visit.start_s for visit in visits)
    assert throughput * (response_s + think_s) == pytest.approx(users, rel=0.03)
    # Mean value analysis is exact for one station of exponential work; for two servers, a birth-death chain.
    assert throughput == pytest.approx(closed_throughput(users, 2, WORK_S, think_s), rel=0.03)


def closed_throughput(users, servers, work_s, think_s):
    """Return the throughput of M/M/c//N. Source: Kleinrock, Queueing Systems I, section 3.9."""
    weight, weights = 1.0, [1.0]
    for n in range(1, users + 1):
        weight *= (users - n + 1) / think_s / (min(n, servers) / work_s)
        weights.append(weight)
    busy = sum(w * min(n, servers) for n, w in enumerate(weights)) / sum(weights)
    return busy / work_s
