"""Hedging over real sockets: when a try takes too long, another starts beside it, and the first good answer wins."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from mesh.config.snapshot import Backend, Route
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.proxy.request_body import NO_BODY
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, flags, ok, read_response, run_fleet, sick, silent

ROUND_ROBIN = {"load_balancing": LoadBalancing(balancer=Balancer.ROUND_ROBIN)}


def hedged(retries_max: int = 2, *, request_s: float = 5.0, **fields: Any) -> Route:
    policy = {"conditions": (RetryOn.SERVER_ERROR,), "per_try_timeout_s": 0.1, "backoff_base_s": 0.001, "budget": None}
    retry = RetryPolicy(retries_max=retries_max, hedge_on_per_try_timeout=True, **{**policy, **fields})
    return Route(name="r", backends=(Backend(cluster="c"),), retry=retry, timeouts=Timeouts(request_s=request_s))


def after(delay_s: float, status: int, text: bytes) -> Callable[[UpstreamCall], Awaitable[None]]:
    async def answer(call: UpstreamCall) -> None:
        await trio.sleep(delay_s)
        await call.answer(status, text)

    return answer


def run(tmp_path: Path, body: Callable[[Lab, Fleet], Awaitable[None]], *handlers: Any, route: Route) -> None:
    """Run with one endpoint, whose handlers are those of the tries in their order."""
    run_fleet(tmp_path, body, {"c": [list(handlers)]}, routes=[route], cluster=ROUND_ROBIN)


def all_given_back(lab: Lab) -> bool:
    breaker = lab.sidecar.clusters["c"].breaker
    endpoints = lab.sidecar.clusters["c"].endpoints.values()
    return (breaker.requests, breaker.pending_requests, breaker.retries) == (0, 0, 0) and not any(
        endpoint.active for endpoint in endpoints
    )


def test_fast_answer_needs_no_second_try(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(3):
            assert (await lab.request()).status == 200
        assert fleet.calls() == [3]
        assert fleet.one().connections == 1
        assert all_given_back(lab)
        assert NO_BODY.on_complete is None  # Shared by all: nothing of one request may stay there.

    run(tmp_path, body, ok, route=hedged())


def test_second_try_wins_and_the_first_is_ended(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (200, b"ok")
        assert fleet.calls() == [2]
        first, second = fleet.one().calls
        assert 0.09 <= second.at - first.at < 0.3
        record = await lab.record()
        assert (record.tries, flags(record), record.detail) == (2, "", "via_upstream")
        assert all_given_back(lab)
        stats = lab.sidecar.clusters["c"].stats
        assert (stats.retry, stats.tx_reset, stats.per_try_timeouts) == (1, 1, 0)

    run(tmp_path, body, silent, ok, route=hedged())


def test_first_try_may_still_win(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).body == b"first"
        assert fleet.calls() == [2]
        assert all_given_back(lab)

    run(tmp_path, body, after(0.2, 200, b"first"), silent, route=hedged())


def test_bad_answer_waits_for_a_better_one(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        # The second try answers 503 at once; no further retry is allowed, but the first is still under way.
        assert (await lab.request()).body == b"late"
        record = await lab.record()
        assert (record.tries, flags(record)) == (2, "URX")
        assert all_given_back(lab)

    run(tmp_path, body, after(0.3, 200, b"late"), sick, route=hedged(1))


def test_bad_answer_of_a_try_that_was_replaced_is_not_retried_again(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).body == b"second"
        assert fleet.calls() == [2]

    run(tmp_path, body, after(0.15, 503, b"bad"), after(0.07, 200, b"second"), route=hedged(5))


def test_bad_answers_are_retried_as_ever(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 200
        assert fleet.calls() == [3]
        assert all_given_back(lab)

    run(tmp_path, body, sick, sick, ok, route=hedged())


def test_last_bad_answer_goes_to_the_client(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (503, b"sick")
        record = await lab.record()
        assert (record.tries, flags(record)) == (3, "URX")
        assert all_given_back(lab)

    run(tmp_path, body, sick, route=hedged())


def test_timeout_of_the_request_ends_all_tries(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"upstream request timeout")
        record = await lab.record()
        assert record.tries == 3 and record.detail == "response_timeout"
        assert all_given_back(lab)

    run(tmp_path, body, silent, route=hedged(2, request_s=0.45))


def test_client_that_leaves_ends_all_tries(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        stream = await lab.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
        while fleet.calls() != [2]:
            await trio.sleep(0.005)
        await stream.aclose()
        assert flags(await lab.record()) == "DC"
        assert all_given_back(lab)

    run(tmp_path, body, silent, route=hedged())


def test_body_that_comes_late_is_hedged_once_it_is_complete(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 6\r\n\r\nabc")
            await trio.sleep(0.25)  # Longer than a try may take: spans begin with the last byte.
            assert fleet.calls() == [0]
            await stream.send_all(b"def")
            assert (await read_response(stream)).status == 200
        assert [call.body for call in fleet.one().calls] == [b"abcdef", b"abcdef"]
        assert all_given_back(lab)

    run(tmp_path, body, silent, ok, route=hedged())


def test_nobody_to_ask_is_answered_at_once(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (503, b"no healthy upstream")
        record = await lab.record()
        assert (record.tries, flags(record)) == (1, "UH")

    run_fleet(tmp_path, body, {"c": []}, routes=[hedged()])
