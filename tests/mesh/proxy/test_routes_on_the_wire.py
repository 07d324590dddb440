"""Routes over real sockets: backends by weight, those that are not there, headers that change, requests that belong together."""

from pathlib import Path

import trio

from mesh.config.snapshot import Backend, OutboundListener, Part, Route
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import HeaderChanges, PathMatch, PathMatchKind, RouteMatch
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, flags, ok, run_fleet, sick

WEIGHTED = (Backend(cluster="a", weight=3), Backend(cluster="b", weight=1))


def test_weights_share_the_requests(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(120):
            assert (await lab.request()).status == 200
        ([a], [b]) = fleet.calls("a"), fleet.calls("b")
        assert a + b == 120
        assert 75 <= a <= 105  # 90 are expected; the seed is fixed
        assert {record.cluster for record in lab.records} == {"a", "b"}

    run_fleet(tmp_path, body, {"a": [[ok]], "b": [[ok]]}, routes=[Route(name="r", backends=WEIGHTED)])


def test_all_tries_of_a_request_go_to_the_backend_that_was_drawn(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(8):
            await lab.request()
        assert [record.tries for record in lab.records] == [3] * 8
        assert all(calls % 3 == 0 for calls in fleet.calls("a") + fleet.calls("b"))

    route = Route(
        name="r",
        backends=(Backend(cluster="a"), Backend(cluster="b")),
        retry=RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), budget=None, backoff_base_s=0.001),
    )
    run_fleet(tmp_path, body, {"a": [[sick]], "b": [[sick]]}, routes=[route])


def test_backends_that_are_not_there_are_answered_with_500(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (500, b"")
        record = await lab.record()
        assert (record.detail, flags(record), record.tries) == ("direct_response", "", 0)
        assert (await lab.request("GET /there HTTP/1.1\r\nhost: svc\r\n\r\n")).status == 200

    there = Route(name="there", match=path("/there"), backends=(Backend(cluster="a"), Backend(cluster="", weight=0)))
    run_fleet(tmp_path, body, {"a": [[ok]]}, routes=[there, Route(name="r", backends=(Backend(cluster=""),))])


def path(value: str) -> RouteMatch:
    return RouteMatch(path=PathMatch(kind=PathMatchKind.PREFIX, value=value))


def test_request_without_a_route_is_not_found(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (404, b"")
        record = await lab.record()
        assert (record.detail, flags(record), record.tries) == ("route_not_found", "NR", 0)

    run_fleet(tmp_path, body, {"a": [[ok]]}, routes=[Route(name="r", match=path("/a"), backends=WEIGHTED[:1])])


def test_headers_change_both_ways(tmp_path: Path) -> None:
    async def answer(call: UpstreamCall) -> None:
        await call.answer(200, b"ok", ["x-secret: 1", "x-version: old"])

    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request("GET / HTTP/1.1\r\nhost: svc\r\nx-set: theirs\r\nX-Gone: 1\r\n\r\n")
        assert "x-secret" not in response.headers
        assert response.headers["x-version"] == "new"
        seen = fleet.one().calls[0].head.decode().lower()
        assert "x-gone" not in seen and "theirs" not in seen
        assert "\r\nx-set: ours" in seen and "\r\nx-added: 1" in seen

    route = Route(
        name="r",
        backends=(Backend(cluster="c"),),
        request_headers=(HeaderChanges(set=(("x-set", "ours"),), add=(("x-added", "1"),), remove=("x-gone",)),),
        response_headers=(HeaderChanges(set=(("x-version", "new"),), remove=("x-secret",)),),
    )
    run_fleet(tmp_path, body, {"c": [[answer]]}, routes=[route])


def test_changes_of_response_headers_reach_our_own_answers_too(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.headers["x-version"]) == (503, "new")
        assert response.headers["content-type"] == "text/html"

    changes = HeaderChanges(set=(("x-version", "new"), ("content-type", "text/html")))
    route = Route(name="r", backends=(Backend(cluster="c"),), response_headers=(changes,))
    run_fleet(tmp_path, body, {"c": []}, routes=[route])


def test_generated_cookie_brings_a_client_back_to_its_endpoint(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        cookie = (await lab.request()).headers["set-cookie"].partition(";")[0]
        [first] = [index for index, calls in enumerate(fleet.calls()) if calls]
        for _ in range(5):
            response = await lab.request(f"GET / HTTP/1.1\r\nhost: svc\r\ncookie: {cookie}\r\n\r\n")
            assert "set-cookie" not in response.headers
        assert fleet.calls()[first] == 6

    policy = HashPolicy(source=HashSource.COOKIE, name="place", cookie_ttl_s=60.0)
    run_fleet(
        tmp_path,
        body,
        {"c": [[ok], [ok], [ok]]},
        routes=[Route(name="r", backends=(Backend(cluster="c"),), hash_policies=(policy,))],
        cluster={"load_balancing": LoadBalancing(balancer=Balancer.RING_HASH)},
    )


def test_slow_and_failing_endpoints_get_less_where_latency_decides(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.05)
        await call.answer()

    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(90):
            await lab.request()
        quick, slowly, failing = fleet.calls()
        # The better of two that are drawn: five, three and one of nine.
        assert failing < slowly < quick
        seen = {endpoint.name: endpoint.latency for endpoint in lab.sidecar.clusters["c"].endpoints.values()}
        now = lab.env.reactor.now()
        # A failure counts as five seconds: whoever fails fast is not quick.
        at = {name: latency.at(now) for name, latency in seen.items() if latency is not None}
        assert at["c-0"] < 0.03 and at["c-1"] > 0.03
        assert failing == 0 or at["c-2"] > 1.0

    run_fleet(
        tmp_path,
        body,
        {"c": [[ok], [slow], [sick]]},
        routes=[Route(name="r", backends=(Backend(cluster="c"),))],
        cluster={"load_balancing": LoadBalancing(balancer=Balancer.PEAK_EWMA)},
    )


def test_opaque_connections_of_one_client_belong_together(tmp_path: Path) -> None:
    def listeners(port: int, fleet: Fleet) -> list[Part]:
        policies = (HashPolicy(source=HashSource.HEADER, name="x"), HashPolicy(source=HashSource.CONNECTION))
        route = Route(name="r", backends=(Backend(cluster="c"),), hash_policies=policies)
        return [
            OutboundListener(name="out", address=Address("127.0.0.1", port), protocol=Protocol.TCP, routes=(route,))
        ]

    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(6):
            assert (await lab.request()).status == 200
        assert sorted(fleet.calls()) == [0, 0, 6]

    maglev = {"load_balancing": LoadBalancing(balancer=Balancer.MAGLEV)}
    run_fleet(tmp_path, body, {"c": [[ok], [ok], [ok]]}, listeners=listeners, cluster=maglev)


def test_opaque_connections_are_shared_by_weight_too(tmp_path: Path) -> None:
    def listeners(port: int, fleet: Fleet) -> list[Part]:
        route = Route(name="r", backends=WEIGHTED)
        return [
            OutboundListener(name="out", address=Address("127.0.0.1", port), protocol=Protocol.TCP, routes=(route,))
        ]

    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(40):
            assert (await lab.request()).status == 200
        ([a], [b]) = fleet.calls("a"), fleet.calls("b")
        assert a + b == 40 and 22 <= a <= 38
        while lab.sidecar.clusters["a"].breaker.connections:
            await trio.sleep(0.005)

    run_fleet(tmp_path, body, {"a": [[ok]], "b": [[ok]]}, listeners=listeners)
