"""Active health checks over real loopback: what each kind asks, and which answers pass."""

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from mesh.model.traffic import Protocol
from mesh.policy.health_check import HealthCheckKind
from mesh.policy.load_balancing import LoadBalancing
from mesh.proxy.admin import health_flags
from mesh.proxy.upstream_pool import UpstreamSecurity
from tests.mesh.proxy.checked_cluster import OK, QUICK, SICK, Checked, Server, http2, run
from tests.mesh.proxy.laboratory import free_port


def test_nobody_is_used_before_its_first_check_and_one_is_enough() -> None:
    async def body(checked: Checked) -> None:
        assert checked.cluster.pick() is None
        assert list(health_flags(checked.endpoint)) == ["failed_active_hc"]
        await checked.until(lambda: checked.cluster.pick())
        assert checked.stats()["attempt"] == checked.stats()["success"] == 1
        assert list(health_flags(checked.endpoint)) == []

    run(body, QUICK)


def test_panic_uses_those_that_are_not_known_yet() -> None:
    async def body(checked: Checked) -> None:
        assert checked.cluster.pick() is checked.endpoint
        assert checked.cluster.panicking
        assert {name: value for name, _, value in checked.cluster.samples()}["lb_healthy_panic"] == 1

    run(body, QUICK, load_balancing=LoadBalancing())


def test_what_an_http_check_asks() -> None:
    """The host is the cluster's name and the agent Envoy/HC: recorded from Envoy."""
    check = attrs.evolve(
        QUICK, path="/ready?deep=1", headers_set=(("X-Probe", "a"),), headers_add=(("x-probe", "b"), ("x-more", "c"))
    )

    async def body(checked: Checked) -> None:
        await checked.until(lambda: len(checked.servers[0].received) == 3)
        assert checked.servers[0].received[0] == (
            b"GET /ready?deep=1 HTTP/1.1\r\nhost: payments\r\nuser-agent: Envoy/HC\r\n"
            b"x-probe: a\r\nx-probe: b\r\nx-more: c\r\n\r\n"
        )
        assert checked.servers[0].connections == 1  # from one check to the next

    run(body, check)


def test_headers_that_are_set_take_the_place_of_ours() -> None:
    check = attrs.evolve(QUICK, headers_set=(("Host", "other"), ("User-Agent", "me")))

    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.servers[0].received)
        assert checked.servers[0].received[0] == b"GET / HTTP/1.1\r\nhost: other\r\nuser-agent: me\r\n\r\n"

    run(body, check)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 250 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 250 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_expected_statuses_pass_whatever_their_framing(answer: bytes) -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 2)
        assert checked.stats()["failure"] == 0

    run(body, attrs.evolve(QUICK, expected_statuses=(204, 250)), answer=answer)


def test_connections_are_not_kept_where_that_is_wished() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 3 and checked.servers[0].connections >= 3)

    run(body, attrs.evolve(QUICK, reuse_connection=False))


def test_an_unexpected_status_fails_at_once_and_recovery_takes_its_threshold() -> None:
    async def body(checked: Checked) -> None:
        server = checked.servers[0]
        await checked.until(lambda: checked.cluster.pick())
        server.answer = SICK
        await checked.until(lambda: checked.endpoint.check_failed)
        assert checked.stats()["failure"] == 1
        assert checked.cluster.pick() is None
        server.answer, passed = OK, checked.stats()["success"]
        await checked.until(lambda: checked.cluster.pick())
        assert checked.stats()["success"] == passed + QUICK.healthy_threshold
        assert checked.stats()["network_failure"] == 0

    with capture_logs() as logs:
        run(body, QUICK)
    assert [(line["event"], line["endpoint"]) for line in logs] == [
        ("endpoint.check_passed", "e-0"),
        ("endpoint.check_failed", "e-0"),
        ("endpoint.check_passed", "e-0"),
    ]
    assert (logs[1]["cluster"], logs[1]["check"], logs[1]["failure"]) == ("payments", "http", "active")
    assert logs[1]["reason"] == "HTTP status 503"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "timeout"),
        (b"220 smtp ready\r\n\r\n", "invalid status line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "timeout"),
    ],
)
def test_no_usable_answer_counts_as_the_network(answer: bytes, reason: str) -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        checked.servers[0].answer = answer
        await checked.until(lambda: checked.endpoint.check_failed)
        assert checked.stats()["network_failure"] == checked.stats()["failure"] == QUICK.unhealthy_threshold

    with capture_logs() as logs:
        run(body, attrs.evolve(QUICK, timeout_s=0.05))
    failed = [line for line in logs if line["event"] == "endpoint.check_failed"]
    assert reason in failed[0]["reason"]


def test_every_failure_is_logged_where_that_is_wished() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["failure"] == 3)

    counts = []
    for always in (False, True):
        with capture_logs() as logs:
            run(body, attrs.evolve(QUICK, log_failures_always=always), answer=SICK)
        counts.append(sum(line["event"] == "health_check.failed" for line in logs))
    assert counts[0] == 1  # an endpoint's first
    assert counts[1] >= 3


def test_connecting_is_all_of_a_tcp_check_that_receives_nothing() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 2 and checked.servers[0].connections >= 2)
        assert checked.servers[0].received == []

    run(body, attrs.evolve(QUICK, kind=HealthCheckKind.TCP, send=b"ping"))


def test_a_tcp_check_waits_for_what_it_expects() -> None:
    check = attrs.evolve(QUICK, kind=HealthCheckKind.TCP, send=b"PING\r\n", receive=(b"+", b"PONG"), timeout_s=0.05)

    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] == 2)
        assert checked.servers[0].received == [b"PING\r\n"] * 2
        assert checked.servers[0].connections == 1
        checked.servers[0].answer = b"-LOADING\r\n"
        await checked.until(lambda: checked.endpoint.check_failed)

    run(body, check, answer=b"+OK PONG\r\n")


def test_nobody_listens() -> None:
    async def body(checked: Checked) -> None:
        checked.servers[0].port = free_port()
        checked.update()
        await checked.until(lambda: checked.stats()["network_failure"] == 2)
        assert checked.endpoint.check_failed

    run(body, attrs.evolve(QUICK, kind=HealthCheckKind.TCP), answer=b"")


def test_a_connection_that_ended_between_checks_is_no_failure() -> None:
    async def once(server: Server, stream: trio.SocketStream) -> None:
        async with stream:
            server.received.append(bytes(await stream.receive_some()))
            await stream.send_all(server.answer)

    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 3)
        assert checked.stats()["failure"] == 0

    run(body, QUICK, serve_one=once)


SERVING, NOT_SERVING = b"\0\0\0\0\2\x08\x01", b"\0\0\0\0\2\x08\x02"


def test_grpc_health() -> None:
    async def body(checked: Checked) -> None:
        server = checked.servers[0]
        await checked.until(lambda: checked.stats()["success"] >= 2)
        assert server.connections == 1
        for part in (
            b"'/grpc.health.v1.Health/Check'",
            b"':authority': b'payments'",
            b"'grpc-timeout': b'300m'",
            b"'te': b'trailers'",
        ):
            assert part.replace(b": b'", b": '") in server.received[0].replace(b"b'", b"'")
        server.answer = NOT_SERVING
        await checked.until(lambda: checked.endpoint.check_failed)

    with capture_logs() as logs:
        run(
            body,
            attrs.evolve(QUICK, kind=HealthCheckKind.GRPC),
            serve_one=http2,
            answer=SERVING,
            protocol=Protocol.GRPC,
        )
    assert logs[-1]["reason"] == "not_serving"


def test_http_checks_of_clusters_that_speak_http2() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        assert b"Envoy/HC" in checked.servers[0].received[0]
        checked.servers[0].answer = b"500"
        await checked.until(lambda: checked.endpoint.check_failed)

    run(body, QUICK, serve_one=http2, answer=b"200", protocol=Protocol.HTTP2)


def test_checks_never_go_in_plaintext_where_tls_is_required() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["network_failure"] >= 2)
        assert checked.servers[0].connections == 0
        checked.update()  # TLS is no longer required
        await checked.until(lambda: checked.cluster.pick())

    with capture_logs() as logs:
        run(body, QUICK, security=UpstreamSecurity(required=True))
    assert logs[0]["reason"] == "TLS error: this proxy has no certificate yet"


def test_checks_take_no_places_of_requests() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 2)
        assert checked.cluster.breaker.connections == 0
        assert checked.cluster.stats.connections_total == 0

    run(body, QUICK)
