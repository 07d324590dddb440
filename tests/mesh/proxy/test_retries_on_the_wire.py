"""Retries over real sockets: how long a try may take, where the next one goes, how long it waits, what is counted."""

from pathlib import Path
from typing import Any

import trio

from mesh.config.snapshot import Backend, Route
from mesh.policy.back_off import RateLimitedBackOff, ResetHeader, ResetHeaderFormat
from mesh.policy.host_selection import HostSelection
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.timeout import Timeouts
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, flags, ok, read_response, run_fleet, sick, silent

ROUND_ROBIN = {"load_balancing": LoadBalancing(balancer=Balancer.ROUND_ROBIN)}


def retrying(timeouts: Timeouts | None = None, **fields: Any) -> Route:
    usual = {"retries_max": 2, "conditions": (RetryOn.SERVER_ERROR,), "budget": None, "backoff_base_s": 0.001}
    return Route(
        name="r",
        backends=(Backend(cluster="c"),),
        retry=RetryPolicy(**{**usual, **fields}),
        timeouts=timeouts or Timeouts(),
    )


def expected_ms(call: UpstreamCall) -> int:
    [line] = [line for line in call.head.decode().split("\r\n") if line.startswith("x-envoy-expected-rq-timeout-ms")]
    return int(line.partition(":")[2])


def test_try_without_a_byte_for_too_long_is_repeated(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 200
        assert (await lab.record()).tries == 2
        stats = lab.sidecar.clusters["c"].stats
        assert (stats.per_try_idle_timeouts, stats.tx_reset, stats.retry_success) == (1, 1, 1)

    run_fleet(tmp_path, body, {"c": [[silent, ok]]}, routes=[retrying(per_try_idle_timeout_s=0.1)])


def test_a_span_that_nobody_wrote_does_not_cut_short_what_is_not_retried(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.3)
        await ok(call)

    async def body(lab: Lab, fleet: Fleet) -> None:
        posted = await lab.request("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 0\r\n\r\n")
        assert (posted.status, (await lab.record()).tries) == (200, 1)
        assert (await lab.request()).status == 504
        assert (await lab.record(1)).tries == 2
        assert [expected_ms(call) for call in fleet.one().calls][:2] == [1000, 150]

    spans = {"per_try_timeout_s": 0.15, "per_try_timeout_derived": True}
    route = retrying(Timeouts(request_s=1.0), methods=("GET",), retries_max=1, **spans)
    run_fleet(tmp_path, body, {"c": [[slow]]}, routes=[route])


def test_last_idle_try_is_named(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"upstream request timeout")
        record = await lab.record()
        assert (record.tries, flags(record), record.detail) == (2, "URX,UT", "upstream_per_try_idle_timeout")

    run_fleet(tmp_path, body, {"c": [[silent]]}, routes=[retrying(per_try_idle_timeout_s=0.05, retries_max=1)])


def test_response_that_pauses_too_long_is_broken_off(tmp_path: Path) -> None:
    async def pausing(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nabc")
        await trio.sleep_forever()

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            record = await lab.record()
        assert (record.status, flags(record), record.detail) == (200, "UT", "upstream_per_try_idle_timeout")

    run_fleet(tmp_path, body, {"c": [[pausing]]}, routes=[retrying(per_try_idle_timeout_s=0.1)])


def test_next_try_avoids_the_endpoints_that_were_tried(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(20):
            assert (await lab.request()).status == 200
        bad, good = fleet.calls()
        assert good == 20 and bad > 0

    selection = HostSelection(omit_previous_hosts=True, picks_max=20)
    run_fleet(
        tmp_path,
        body,
        {"c": [[sick], [ok]]},
        routes=[retrying(retries_max=1, host_selection=selection)],
        cluster={"load_balancing": LoadBalancing(balancer=Balancer.RANDOM)},
    )


def test_upstream_says_when_to_come_back(tmp_path: Path) -> None:
    async def later(call: UpstreamCall) -> None:
        await call.answer(503, b"", ["retry-after: 1"])

    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 200
        first, second = fleet.one().calls
        assert 1.0 <= second.at - first.at <= 1.7
        stats = lab.sidecar.clusters["c"].stats
        assert (stats.retry_backoff_ratelimited, stats.retry_backoff_exponential) == (1, 0)

    back_off = RateLimitedBackOff(
        reset_headers=(ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS),), interval_s_max=5.0
    )
    run_fleet(tmp_path, body, {"c": [[later, ok]]}, routes=[retrying(rate_limited_back_off=back_off)])


def test_grpc_status_in_the_headers_is_retried(tmp_path: Path) -> None:
    async def unavailable(call: UpstreamCall) -> None:
        await call.answer(200, b"", ["content-type: application/grpc", "grpc-status: 14"])

    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).body == b"ok"
        assert (await lab.record()).tries == 2

    run_fleet(tmp_path, body, {"c": [[unavailable, ok]]}, routes=[retrying(conditions=(RetryOn.UNAVAILABLE,))])


def test_each_try_is_told_how_long_it_may_take(tmp_path: Path) -> None:
    async def slowly_sick(call: UpstreamCall) -> None:
        await trio.sleep(0.1)
        await call.answer(503, b"")

    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        first, second, third = map(expected_ms, fleet.one().calls)
        assert first == 400  # the span of a try, as long as the request's is not shorter
        assert 300 <= second <= 400
        assert 200 <= third <= 300

    route = retrying(Timeouts(request_s=0.5), per_try_timeout_s=0.4)
    run_fleet(tmp_path, body, {"c": [[slowly_sick]]}, routes=[route])


def test_connection_of_a_refused_try_serves_the_next(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 200
        assert fleet.one().connections == 1
        stats = lab.sidecar.clusters["c"].stats
        assert (stats.retried_by_status, stats.requests_by_status) == ({503: 2}, {200: 1})
        assert (stats.requests_total, stats.retry, stats.retry_success) == (3, 2, 1)

    run_fleet(tmp_path, body, {"c": [[sick, sick, ok]]}, routes=[retrying()])


def test_large_body_is_not_sent_twice(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 100000\r\n\r\n")
            await trio.sleep(0.02)
            await stream.send_all(b"x" * 100_000)
            assert (await read_response(stream)).status == 503
        record = await lab.record()
        assert (record.tries, flags(record)) == (1, "")
        assert lab.sidecar.clusters["c"].stats.replay_abandoned == 1

    run_fleet(tmp_path, body, {"c": [[sick]]}, routes=[retrying()])


def test_budget_at_a_rate_outlives_a_change_of_the_route(tmp_path: Path) -> None:
    budget = RetryBudget(percent=0.0, rate_per_s_min=0.2)  # two in ten seconds

    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(3):
            await lab.request()
        assert [flags(record) for record in lab.records] == ["URX", "URX", "UO"]
        [kept] = lab.sidecar.clusters["c"].rate_budgets.values()
        listener = next(iter(lab.sidecar.listeners.values()))
        head_rules = listener.plan.handle
        assert kept is not None and head_rules is not None

    run_fleet(tmp_path, body, {"c": [[sick]]}, routes=[retrying(retries_max=1, budget=budget)])
