"""The HTTP data path over real sockets: what the client gets, what the upstream saw, what the record says.

Expected statuses, bodies, flags and numbers of tries are those recorded from Envoy 1.40 for the same policies.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from mesh.config.snapshot import Snapshot, part_key
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.timeout import Timeouts
from mesh.telemetry.request_record import RequestRecord
from tests.mesh.proxy.laboratory import (
    Handler,
    Lab,
    Upstream,
    UpstreamCall,
    free_port,
    http_parts,
    read_response,
    with_sidecar,
)

RETRY_5XX = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), budget=None)


async def ok(call: UpstreamCall) -> None:
    await call.answer()


async def sick(call: UpstreamCall) -> None:
    await call.answer(503, b"sick")


async def reset(call: UpstreamCall) -> None:
    await call.stream.aclose()


async def silent(call: UpstreamCall) -> None:
    await trio.sleep_forever()


def run(
    tmp_path: Path,
    handlers: list[Handler],
    body: Callable[[Lab, Upstream], Awaitable[None]],
    *,
    upstreams: list[list[Handler]] | None = None,
    route: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
) -> list[Upstream]:
    """Run `body` with a sidecar in front of one scripted upstream, and more for each list in `upstreams`."""
    servers = [Upstream(handlers), *(Upstream(more) for more in upstreams or [])]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for server in servers:
                await nursery.start(server.serve)
            addresses = [server.address for server in servers]
            await with_sidecar(
                tmp_path,
                lambda port: http_parts(port, addresses, route=route or {}, cluster=cluster or {}),
                lambda lab: body(lab, servers[0]),
            )
            nursery.cancel_scope.cancel()

    trio.run(main)
    return servers


def outcome(record: RequestRecord) -> tuple[int, str, int]:
    return record.status, ",".join(flag.value for flag in record.flags), record.tries


def test_request_and_response_pass_through_with_what_proxies_add(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request(
            "GET /a?b=1 HTTP/1.1\r\nHost: svc\r\nX-Mine: 1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n"
        )
        assert (response.status, response.body) == (200, b"ok")
        assert response.headers["x-envoy-upstream-service-time"].isdigit()
        head = upstream.calls[0].head.decode().split("\r\n")
        assert head[0] == "GET /a?b=1 HTTP/1.1"
        names = [line.partition(":")[0].lower() for line in head[1:]]
        assert "x-hop" not in names and "connection" not in names
        assert {"host", "x-mine", "x-request-id", "traceparent", "x-envoy-expected-rq-timeout-ms"} <= set(names)
        record = lab.records[0]
        assert outcome(record) == (200, "", 1)
        assert record.request_id.decode() in upstream.calls[0].head.decode()

    run(tmp_path, [ok], body)


def test_connections_are_reused_on_both_sides(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream:
            for _ in range(3):
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
                assert (await read_response(stream)).status == 200
        assert (await lab.request()).status == 200
        assert upstream.connections == 1

    run(tmp_path, [ok], body)


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def echo_path(call: UpstreamCall) -> None:
        await call.answer(200, call.head.split()[1])

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"".join(b"GET /n%d HTTP/1.1\r\nhost: svc\r\n\r\n" % n for n in range(3)))
            received = b""
            while received.count(b"HTTP/1.1") < 3 or not received.endswith(b"/n2"):
                received += await stream.receive_some()
        assert received.index(b"/n0") < received.index(b"/n1") < received.index(b"/n2")

    run(tmp_path, [echo_path], body)


def test_failed_responses_are_retried_until_the_limit(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (503, b"sick")
        assert len(upstream.calls) == 3
        assert outcome(lab.records[0]) == (503, "URX", 3)

    run(tmp_path, [sick], body, route={"retry": RETRY_5XX})


def test_third_try_may_succeed(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 200
        assert outcome(lab.records[0]) == (200, "", 3)

    run(tmp_path, [sick, sick, ok], body, route={"retry": RETRY_5XX})


def test_post_body_is_replayed(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 1000\r\n\r\n", b"x" * 1000)
        assert response.status == 200
        assert [len(call.body) for call in upstream.calls] == [1000, 1000]

    run(tmp_path, [sick, ok], body, route={"retry": RETRY_5XX})


def test_reset_before_a_response_ends_in_503(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert response.status == 503
        assert response.body.endswith(b"before headers. reset reason: connection termination")
        assert outcome(lab.records[0]) == (503, "UC", 1)

    run(tmp_path, [reset], body)


def test_resets_are_retried_and_reported(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert response.body.endswith(b"retried and the latest reset reason: connection termination")
        assert outcome(lab.records[0]) == (503, "URX,UC", 3)

    run(tmp_path, [reset], body, route={"retry": RETRY_5XX})


def test_request_timeout_is_final(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"upstream request timeout")
        assert outcome(lab.records[0]) == (504, "UT", 1)

    run(tmp_path, [silent], body, route={"retry": RETRY_5XX, "timeouts": Timeouts(request_s=0.1)})


def test_per_try_timeouts_are_retried(tmp_path: Path) -> None:
    policy = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), per_try_timeout_s=0.05)

    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"upstream request timeout")
        assert outcome(lab.records[0]) == (504, "URX,UT", 3)
        assert len(upstream.calls) == 3

    run(tmp_path, [silent], body, route={"retry": policy})


def test_connect_failure_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        nobody = Address("127.0.0.1", free_port())

        async def body(lab: Lab) -> None:
            response = await lab.request()
            assert response.status == 503
            assert response.body.endswith(b"reset reason: remote connection failure")
            assert outcome(lab.records[0]) == (503, "UF", 1)

        await with_sidecar(tmp_path, lambda port: http_parts(port, [nobody], route={}, cluster={}), body)

    trio.run(main)


def test_no_endpoint_means_no_healthy_upstream(tmp_path: Path) -> None:
    async def main() -> None:
        async def body(lab: Lab) -> None:
            response = await lab.request()
            assert (response.status, response.body) == (503, b"no healthy upstream")
            assert outcome(lab.records[0]) == (503, "UH", 1)

        await with_sidecar(tmp_path, lambda port: http_parts(port, [], route={}, cluster={}), body)

    trio.run(main)


def test_requests_over_the_breaker_are_refused(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.2)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        responses = []

        async def one() -> None:
            responses.append(await lab.request())

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
        assert sorted(response.status for response in responses) == [200, 503, 503, 503, 503]
        refused = next(response for response in responses if response.status == 503)
        assert refused.headers["x-envoy-overloaded"] == "true"
        assert refused.body.endswith(b"reset reason: overflow")
        assert sorted(outcome(record)[1] for record in lab.records) == ["", "UO", "UO", "UO", "UO"]

    run(tmp_path, [slow], body, cluster={"circuit_breaking": CircuitBreakingLimits(requests_max=1)})


def test_requests_queue_for_the_only_connection(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.05)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(lab.request)
        assert [outcome(record) for record in lab.records] == [(200, "", 1)] * 4
        assert upstream.connections == 1

    run(tmp_path, [slow], body, cluster={"circuit_breaking": CircuitBreakingLimits(connections_max=1)})


def test_a_lowered_limit_holds_for_connections_that_are_open_already(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.05)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(lab.request)
        cluster = lab.sidecar.clusters["c"]
        endpoint = cluster.endpoints["c-0"]
        assert endpoint.connections == 4
        parts = lab.sidecar.snapshot.parts
        config = attrs.evolve(cluster.config, circuit_breaking=CircuitBreakingLimits(connections_max=1))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lab.request)
            await trio.sleep(0.02)  # Three are in use now, and one idle.
            lab.sidecar.apply(Snapshot({**parts, part_key(config): config}))
            assert endpoint.connections == 3
        assert endpoint.connections == 1
        assert cluster.breaker.connections == 1
        assert [outcome(record) for record in lab.records] == [(200, "", 1)] * 7

    run(tmp_path, [slow], body)


def test_retries_stop_when_the_budget_is_empty(tmp_path: Path) -> None:
    async def slow_sick(call: UpstreamCall) -> None:
        await trio.sleep(0.1)
        await call.answer(503, b"")

    policy = RetryPolicy(
        retries_max=1, conditions=(RetryOn.SERVER_ERROR,), budget=RetryBudget(percent=20.0, concurrency_min=2)
    )

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(lab.request)
        flags = [outcome(record)[1] for record in lab.records]
        assert set(flags) == {"UO", "URX"}
        # 20 % of 20 is 4, and fewer as requests end; Envoy was recorded with 4.
        assert 2 <= flags.count("URX") <= 4
        assert len(upstream.calls) == 20 + flags.count("URX")

    run(tmp_path, [slow_sick], body, route={"retry": policy})


def test_sick_endpoint_is_ejected_after_consecutive_failures(tmp_path: Path) -> None:
    async def bad(call: UpstreamCall) -> None:
        await call.answer(500, b"")

    async def body(lab: Lab, upstream: Upstream) -> None:
        statuses = [(await lab.request()).status for _ in range(14)]
        assert statuses.count(500) == 3
        assert statuses[6:] == [200] * 8

    run(
        tmp_path,
        [bad],
        body,
        upstreams=[[ok]],
        cluster={
            "load_balancing": LoadBalancing(balancer=Balancer.ROUND_ROBIN),
            "outlier_detection": OutlierDetection(consecutive_5xx=3, ejection_percent_max=50),
        },
    )


def test_client_that_leaves_cancels_the_upstream_request(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        stream = await lab.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
        while not upstream.calls:
            await trio.sleep(0.01)
        await stream.aclose()
        while not lab.records:
            await trio.sleep(0.01)
        assert outcome(lab.records[0]) == (0, "DC", 1)
        assert lab.sidecar.clusters["c"].breaker.requests == 0

    run(tmp_path, [silent], body)


def test_large_bodies_stream_both_ways(tmp_path: Path) -> None:
    size = 3_000_000

    async def mirror(call: UpstreamCall) -> None:
        await call.answer(200, call.body)

    async def body(lab: Lab, upstream: Upstream) -> None:
        sent = bytes(range(256)) * (size // 256)
        response = await lab.request(f"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: {len(sent)}\r\n\r\n", sent)
        assert response.body == sent

    run(tmp_path, [mirror], body)


def test_truncated_response_resets_the_client(tmp_path: Path) -> None:
    async def truncated(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await call.stream.aclose()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            received = b""
            try:
                while data := await stream.receive_some():
                    received += data
            except trio.BrokenResourceError:
                pass
        assert not received.endswith(b"0\r\n\r\n") and received.count(b"abc") <= 1
        assert lab.records[0].detail.startswith("upstream_reset_after_response_started")

    run(tmp_path, [truncated], body)


def test_malformed_request_is_refused_and_closed(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        for bad in (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ):
            response = await lab.request(bad)
            assert response.status == 400
            assert response.headers["connection"] == "close"
        assert not upstream.calls
        assert [outcome(record) for record in lab.records] == [(400, "DPE", 0), (400, "DPE", 0), (400, "", 0)]
        assert [record.detail for record in lab.records] == [
            "http1.codec_error",
            "http1.content_length_and_chunked_not_allowed",
            "missing_host_header",
        ]

    run(tmp_path, [ok], body)


def test_upstream_garbage_is_a_bad_gateway(tmp_path: Path) -> None:
    async def garbage(call: UpstreamCall) -> None:
        await call.stream.send_all(b"not http at all\r\n\r\n")

    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        assert response.status == 502
        assert outcome(lab.records[0]) == (502, "UPE", 1)

    run(tmp_path, [garbage], body)


def test_drain_finishes_what_is_under_way_and_closes_connections(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.3)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream, trio.open_nursery() as nursery:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            while not upstream.calls:
                await trio.sleep(0.01)
            nursery.start_soon(lab.sidecar.drain)
            response = await read_response(stream)
            assert response.status == 200
            assert response.headers["connection"] == "close"
        assert lab.sidecar.drain_state.in_flight == 0

    run(tmp_path, [slow], body)


def test_clients_that_end_their_stream_at_any_moment_leave_nothing_behind(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.002)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async def rude(delay_s: float) -> None:
            async with await lab.connect() as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
                await trio.sleep(delay_s)
                await stream.send_eof()
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(rude, (number % 6) * 0.0008)
        breaker = lab.sidecar.clusters["c"].breaker
        assert (breaker.requests, breaker.pending_requests) == (0, 0)
        assert lab.sidecar.drain_state.in_flight == 0
        assert len(lab.records) == 60

    run(tmp_path, [slow], body)


def test_bad_chunk_that_came_with_the_head_is_refused(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", b"zz\r\nhello\r\n"
        )
        assert response.status == 400
        assert outcome(lab.records[0]) == (400, "DPE", 0)

    run(tmp_path, [ok], body)


def test_only_websocket_upgrades_go_on(tmp_path: Path) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        for protocol in ("h2c", "websocket"):
            await lab.request(f"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n")
        heads = [call.head.lower() for call in upstream.calls]
        assert b"upgrade" not in heads[0]
        assert b"upgrade: websocket" in heads[1]

    run(tmp_path, [ok], body)


def test_switched_protocols_are_relayed_both_ways(tmp_path: Path) -> None:
    async def switch(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly")
        while data := await call.stream.receive_some():
            await call.stream.send_all(data.upper())
        await call.stream.send_eof()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            received = b""
            while not received.endswith(b"early"):
                received += await stream.receive_some()
            assert received.startswith(b"HTTP/1.1 101")
            await stream.send_all(b"frame")
            assert await stream.receive_some() == b"FRAME"
            await stream.send_eof()
            assert await stream.receive_some() == b""

    run(tmp_path, [switch], body)


def test_interim_responses_go_on_to_the_client(tmp_path: Path) -> None:
    async def hints(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        await trio.sleep(0.01)
        await call.answer()

    async def body(lab: Lab, upstream: Upstream) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            received = b""
            while not received.endswith(b"ok"):
                received += await stream.receive_some()
        assert received.index(b" 103 ") < received.index(b" 200 ")

    run(tmp_path, [hints], body)
