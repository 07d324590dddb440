"""What clients try again by themselves, besides the mesh."""

import pytest

SERVICES = """
services:
  web: {instances: {z: 1}, endpoints: {GET /: {errors: {%s}}, POST /pay: {steps: [{work: 400ms}]}}}
"""


def test_user_tries_again_until_the_answer_is_good(bench):
    b = bench(SERVICES % "503: 50%" + "workload: {u: {rate: 50/s, retries: 3, journeys: {j: [GET web/]}}}").run(4.0)
    assert sum(j.ok for j in b.log.journeys) / len(b.log.journeys) == pytest.approx(1 - 0.5**4, abs=0.05)
    tries = [v.tries for v in b.log.visits]
    assert set(tries) == {1, 2, 3, 4}
    assert sum(tries) == sum(len(times) for arrival, times in b.tally.arrivals.items() if arrival.operation == "GET /")


def test_only_what_is_named_is_tried_again(bench):
    text = SERVICES % "500: 30%, 503: 30%" + (
        "workload: {u: {rate: 50/s, retries: {count: 9, when: [503]}, journeys: {j: [GET web/]}}}"
    )
    b = bench(text).run(4.0)
    assert {v.status for v in b.log.visits} == {200, 500}


def test_pauses_double_up_to_their_maximum(bench):
    b = bench(
        SERVICES
        % "503: 100%"
        + "workload: {u: {rate: 2/s, retries: {count: 3, backoff: {base: 100ms, max: 200ms, jitter: false}},"
        " journeys: {j: [GET web/]}}}"
    ).run(2.0)
    assert [round(v.end_s - v.start_s, 1) for v in b.log.visits] == [0.5] * len(b.log.visits)


def test_user_who_repeats_a_payment_after_a_timeout_pays_twice(bench):
    b = bench(
        SERVICES % ""
        + "workload: {u: {rate: 2/s, arrivals: constant, timeout: 300ms, retries: 1, journeys: {j: [POST web/pay]}}}"
    ).run(2.0)
    assert all(v.timed_out and v.tries == 2 for v in b.log.visits)
    # The same payment, by its delivery id, was executed by both tries.
    assert set(b.tally.deliveries.values()) == {2}
    assert len(b.tally.deliveries) == len(b.log.visits) == 4


def test_each_try_of_a_call_has_its_own_timeout(bench):
    b = bench("""
services:
  web:
    instances: {z: 1}
    endpoints: {GET /: {steps: [{call: back GET /, timeout: 100ms, retries: {count: 2, when: [timeout], backoff: 50ms}}]}}
  back: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 1s}]}}}
workload: {u: {rate: 5/s, journeys: {j: [GET web/]}}}
""").run(2.0)
    assert {v.status for v in b.log.visits} == {503}
    assert {round(v.end_s - v.start_s, 2) for v in b.log.visits} == {0.4}
    assert sum(len(times) for a, times in b.tally.arrivals.items() if a.service == "back") == 3 * len(b.log.visits)


def test_retries_over_three_tiers_multiply(bench):
    b = bench("""
services:
  a: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: b GET /, retries: 2}]}}}
  b: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: c GET /, retries: 2}]}}}
  c: {instances: {z: 1}, endpoints: {GET /: {errors: {500: 100%}}}}
workload: {u: {rate: 10/s, retries: 2, journeys: {j: [GET a/]}}}
""").run(2.0)
    reached = sum(len(times) for a, times in b.tally.arrivals.items() if a.service == "c")
    assert reached == 27 * len(b.log.visits)
