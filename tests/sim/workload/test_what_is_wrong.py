"""What faults do to instances: each ailment is added and lifted by itself, and services feel exactly what is left."""

import trio

from sim.scenario.topology import Failure
from sim.workload.condition import Condition, Failing, Greyness, Slowness, Stuck

SERVICE = """
services: {web: {instances: {z: 1}, concurrency: 2, queue: 3, endpoints: {GET /: {steps: [{work: 10ms}]}}}}
workload: {u: {rate: 50/s, arrivals: constant, journeys: {j: [GET web/]}}}
"""


def test_overlapping_faults_leave_what_the_others_do():
    condition = Condition()
    lift_first = condition.add(Slowness(factor=2.0))
    lift_second = condition.add(Slowness(factor=5.0))
    assert condition.factor == 10.0
    lift_first()
    assert condition.factor == 5.0
    assert condition.ailing
    lift_second()
    assert condition.factor == 1.0
    assert not condition.ailing


def test_equal_faults_are_told_apart():
    condition = Condition()
    lift = condition.add(Stuck())
    condition.add(Stuck())
    lift()
    assert condition.stuck


def test_failing_at_once_needs_no_place(bench):
    async def fail(b):
        b.services["web"].condition.add(Stuck())
        await trio.sleep(1.0)
        b.services["web"].condition.add(Failing(failures=(Failure(status=500, share=1.0),), at_once=True))

    b = bench(SERVICE).run(2.0, during=fail)
    assert {v.status for v in b.log.visits if v.start_s > 1.01} == {500}
    # Two in places, three in the queue; they never end. All others were refused.
    assert [v.status for v in b.log.visits if v.start_s < 1.0] == [503] * (50 - 2 - 3)


def test_stuck_requests_go_on_where_they_were(bench):
    async def free(b):
        lift = b.services["web"].condition.add(Stuck())
        await trio.sleep(1.0)
        lift()

    b = bench(SERVICE).run(2.0, during=free)
    waited = [v for v in b.log.visits if v.status == 200 and v.start_s < 0.99 and v.end_s >= 1.0]
    assert len(waited) == 5
    assert {v.status for v in b.log.visits if v.start_s > 1.1} == {200}


def test_grey_instance_is_slow_for_a_share_of_the_requests(bench):
    async def grey(b):
        b.services["web"].condition.add(Greyness(factor=8.0, share=0.25))

    b = bench(SERVICE.replace("concurrency: 2", "concurrency: 50")).run(8.0, during=grey)
    slow = [j for j in b.log.journeys if j.latency_s > 0.075]
    assert 60 < len(slow) < 140
    assert b.services["web"].condition.touched == len(slow)
    assert {round(j.latency_s, 2) for j in b.log.journeys[10:]} == {0.01, 0.08}


def test_database_gets_stuck_too(bench):
    async def stick(b):
        lift = b.services["db"].condition.add(Stuck())
        await trio.sleep(1.0)
        lift()

    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: db SELECT users}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
workload: {u: {rate: 20/s, journeys: {j: [GET web/]}}}
""").run(2.0, during=stick)
    assert all(v.end_s >= 1.0 for v in b.log.visits if v.start_s > 0.01)
    assert all(v.status == 200 for v in b.log.visits)


def test_crashed_application_resets_whoever_is_inside(bench):
    async def crash(b):
        await trio.sleep(1.0)
        b.services["web"].crash()

    b = bench(SERVICE.replace("work: 10ms", "work: 200ms").replace("rate: 50/s", "rate: 8/s")).run(2.0, during=crash)
    assert {v.status for v in b.log.visits if v.start_s < 1.0 <= v.end_s} == {0}
    assert {v.status for v in b.log.visits if v.start_s > 1.0} == {0}
    assert b.services["web"].places.busy == 0
