"""The service model: places, queues, steps, failures, databases, and what is passed on."""

import pytest

from sim.scenario.topology import Failure
from sim.workload.condition import Failing, Slowness


def latencies(bench):
    return sorted(journey.latency_s for journey in bench.log.journeys)


def test_call_graph_runs_every_step(bench):
    b = bench("""
services:
  web:
    instances: {z: 1}
    endpoints: {GET /a: {steps: [{work: 2ms}, {call: db SELECT users}, {call: cache SET}, {call: back POST /x}]}}
  back: {instances: {z: 1}, endpoints: {POST /x: {counts: done, request: 10B, response: 70KiB, steps: [{work: 3ms}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
  cache: {kind: redis, instances: {z: 1}, work: 1ms, concurrency: 1}
workload: {u: {rate: 20/s, arrivals: constant, journeys: {j: [GET web/a]}}}
""").run(2.0)
    assert len(b.log.journeys) == 40
    assert all(journey.ok for journey in b.log.journeys)
    assert b.tally.executions == {("web", "GET /a"): 40, ("back", "POST /x"): 40}
    assert b.tally.statements == {("db", "SELECT"): 40, ("cache", "SET"): 40}
    assert b.tally.events == {"back.done": 40}
    assert set(b.tally.deliveries.values()) == {1}
    # 7 ms of work and 4 round trips of 1 ms each; opening connections made the first ones slower.
    assert latencies(b)[0] == pytest.approx(0.011, abs=0.001)


def test_parallel_steps_take_as_long_as_the_longest(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [[{work: 50ms}, {work: 80ms}, [{work: 20ms}]], {work: 5ms}]}}}
workload: {u: {rate: 10/s, arrivals: constant, journeys: {j: [GET web/]}}}
""").run(1.0)
    assert latencies(b)[0] == pytest.approx(0.086, abs=0.002)


def test_requests_queue_beyond_the_concurrency_and_are_refused_beyond_the_queue(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, concurrency: 2, queue: 3, endpoints: {GET /: {steps: [{work: 100ms}]}}}
workload: {u: {model: closed, users: 8, journeys: {j: [GET web/]}}}
""").run(1.0)
    answered = [v for v in b.log.visits if v.status == 200]
    refused = [v for v in b.log.visits if v.status == 503]
    # Two places, a tenth of a second each: about 20 a second, whoever else knocks.
    assert 17 <= len([v for v in answered if v.end_s <= 1.0]) <= 20
    assert b.tally.refused["web"] == len(refused) > 0
    # Whoever was let in waited for at most five others: two served at a time.
    assert max(v.end_s - v.start_s for v in answered) == pytest.approx(0.3, abs=0.01)
    assert b.services["web"].places.busy == 0
    assert b.services["web"].places.waiting == 0


def test_failed_call_fails_its_caller_unless_it_is_optional(bench):
    b = bench("""
services:
  web:
    instances: {z: 1}
    endpoints:
      GET /must: {steps: [{call: back GET /}]}
      GET /may: {steps: [{call: back GET /, optional: true}]}
  back: {instances: {z: 1}, endpoints: {GET /: {errors: {500: 100%}, steps: [{work: 1s}]}}}
workload: {u: {rate: 10/s, journeys: {must: [GET web/must], may: [GET web/may]}}}
""").run(2.0)
    assert {v.status for v in b.log.visits if v.request == "GET web/must"} == {503}
    assert {v.status for v in b.log.visits if v.request == "GET web/may"} == {200}
    assert b.tally.executions[("back", "GET /")] == 0
    # An injected failure does no work.
    assert latencies(b)[-1] < 0.1


def test_call_gives_up_after_its_timeout_and_the_callee_works_on(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: slow GET /, timeout: 50ms, optional: true}]}}}
  slow: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 400ms}]}}}
workload: {u: {rate: 10/s, journeys: {j: [GET web/]}}}
""").run(1.0)
    assert all(journey.ok for journey in b.log.journeys)
    assert latencies(b)[-1] < 0.06
    assert b.tally.executions[("slow", "GET /")] == len(b.log.journeys)


def test_share_of_failures_is_kept_and_resets_drop_the_connection(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {errors: {503: 20%, reset: 10%}}}}
workload: {u: {rate: 500/s, journeys: {j: [GET web/]}}}
""").run(4.0)
    statuses = [v.status for v in b.log.visits]
    assert statuses.count(503) / len(statuses) == pytest.approx(0.2, abs=0.03)
    assert statuses.count(0) / len(statuses) == pytest.approx(0.1, abs=0.03)
    assert not any(v.timed_out for v in b.log.visits)


def test_slow_factor_multiplies_work_from_now_on(bench):
    async def slow_down(b):
        import trio

        await trio.sleep(1.0)
        b.services["web"].condition.add(Slowness(factor=5.0))

    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{work: 10ms}]}}}
workload: {u: {rate: 20/s, journeys: {j: [GET web/]}}}
""").run(2.0, during=slow_down)
    before = [j.latency_s for j in b.log.journeys if j.end_s < 1.0]
    after = [j.latency_s for j in b.log.journeys if j.start_s > 1.0]
    assert max(before) < 0.015
    assert min(after) > 0.05


def test_database_refuses_statements_beyond_its_queue_and_the_caller_fails(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: db UPDATE stock}]}}}
  db: {kind: postgresql, instances: {z: 1}, concurrency: 1, queue: 2, work: 100ms}
workload: {u: {model: closed, users: 6, think: 1ms, journeys: {j: [GET web/]}}}
""").run(1.0)
    assert b.tally.refused["db"] > 0
    assert {v.status for v in b.log.visits} == {200, 503}


def test_unknown_path_is_not_found(bench):
    from mesh.protocol.http1 import RequestParser
    from sim.workload.http_service import _lines_to_pass_on

    head, _ = RequestParser().parse(
        b"GET / HTTP/1.1\r\nhost: x\r\nX-Request-Id: 7\r\ntraceparent: t\r\ntracestate: s\r\n\r\n"
    )
    assert _lines_to_pass_on(head) == b"x-request-id: 7\r\ntraceparent: t\r\ntracestate: s\r\n"


def test_required_headers_are_asked_for_and_answers_carry_theirs(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {requires: {x-tenant: gold}, headers: {x-served-by: web}}}}
workload:
  u:
    rate: 40/s
    journeys:
      right: [{request: GET web/?n=1, headers: {X-Tenant: gold}, expects: {x-served-by: web}}]
      bare: [GET web/]
      picky: [{request: GET web/, headers: {x-tenant: gold}, expects: {x-served-by: someone else}}]
""").run(2.0)
    assert {v.status for v in b.log.visits if v.request == "GET web/?n=1"} == {200}
    assert {(j.journey, j.ok) for j in b.log.journeys} == {("right", True), ("bare", False), ("picky", False)}
    assert {v.status for v in b.log.visits if v.request == "GET web/"} == {400, 200}


def test_calls_carry_headers_drawn_for_each(bench):
    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: "back GET /?a=b", headers: {x-colour: [red, blue]}}]}}}
  back: {instances: {z: 1}, endpoints: {GET /: {requires: {x-colour: red}}}}
workload: {u: {rate: 200/s, journeys: {j: [GET web/]}}}
""").run(2.0)
    good = sum(v.status == 200 for v in b.log.visits) / len(b.log.visits)
    assert good == pytest.approx(0.5, abs=0.1)


def test_a_user_keeps_the_header_of_the_workload_and_other_users_have_others(bench):
    closed = "model: closed, users: 2, think: 50ms"
    b = bench(f"""
services: {{web: {{instances: {{z: 1}}, endpoints: {{GET /: {{requires: {{x-user: u1}}}}}}}}}}
workload: {{u: {{{closed}, headers: {{x-user: {{prefix: u, count: 2}}}}, journeys: {{j: [GET web/, GET web/]}}}}}}
""").run(2.0)
    good = [j for j in b.log.journeys if j.ok]
    # One of two users is the one who is let in, with both requests of each journey.
    assert len(good) / len(b.log.journeys) == pytest.approx(0.5, abs=0.1)


def test_instance_may_be_made_to_fail_for_a_while(bench):
    async def fail(b):
        import trio

        await trio.sleep(1.0)
        b.services["web"].condition.add(Failing(failures=(Failure(status=502, share=1.0),)))

    b = bench("""
services: {web: {instances: {z: 1}, endpoints: {GET /: {}}}}
workload: {u: {rate: 40/s, journeys: {j: [GET web/]}}}
""").run(2.0, during=fail)
    assert {v.status for v in b.log.visits if v.end_s < 1.0} == {200}
    assert {v.status for v in b.log.visits if v.start_s > 1.01} == {502}
    (arrived,) = [times for arrival, times in b.tally.arrivals.items() if arrival.operation == "GET /"]
    assert len(arrived) == len(b.log.visits)


def test_connections_count_when_something_is_said_on_them(bench):
    async def knock(b):
        async def say_nothing(reactor, address):
            connection = await reactor.connect(address)
            connection.close()

        reactor = b.hosts["web"].environment.reactor
        for name in ("web", "db"):
            reactor.start(say_nothing(reactor, b.addresses[name]), name="probe")

    b = bench("""
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: db SELECT users}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
workload: {u: {model: closed, users: 1, think: 100ms, journeys: {j: [GET web/]}}}
""").run(2.0, during=knock)
    assert {arrival.service: len(times) for arrival, times in b.tally.connections.items()} == {"web": 1, "db": 1}
