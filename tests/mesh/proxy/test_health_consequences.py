"""What follows from the results of health checks, and of changes while they run: for endpoints, ejections and connections."""

import math

import attrs
import trio
from structlog.testing import capture_logs

from mesh.policy.health_check import HealthCheckKind
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.protocol.http1 import ResponseHead, ResponseParser
from mesh.proxy.admin import health_flags
from tests.mesh.proxy.checked_cluster import OK, QUICK, SICK, Checked, run

LEAVE_ME = b"HTTP/1.1 503 X\r\nx-envoy-immediate-health-check-fail: true\r\ncontent-length: 0\r\n\r\n"


def test_an_endpoint_that_goes_is_asked_no_more() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        gone = checked.servers.pop()
        checked.update()
        await checked.until(lambda: not gone.open)
        asked = len(gone.received)
        await trio.sleep(0.1)
        assert len(gone.received) == asked
        assert checked.stats()["healthy"] == 0

    run(body, QUICK)


def test_an_endpoint_that_drains_is_asked_no_more_until_it_is_back() -> None:
    async def body(checked: Checked) -> None:
        server = checked.servers[0]
        await checked.until(lambda: checked.cluster.pick())
        checked.update(healthy=False)
        assert list(health_flags(checked.endpoint)) == ["failed_eds_health"]
        await checked.until(lambda: not server.open)
        checked.update(healthy=True)
        assert checked.cluster.pick() is checked.endpoint  # as well as it was
        await checked.until(lambda: server.open)

    run(body, QUICK)


def test_other_checks_begin_anew_and_leave_the_well_ones_well() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        checked.update(health_checks=(attrs.evolve(QUICK, path="/other"),))
        assert checked.cluster.pick() is checked.endpoint
        await checked.until(lambda: checked.servers[0].received[-1].startswith(b"GET /other "))
        checked.servers[0].answer = SICK
        await checked.until(lambda: checked.endpoint.check_failed)
        checked.update(health_checks=())
        assert checked.cluster.pick() is checked.endpoint
        assert checked.stats() == {}

    run(body, QUICK)


def test_checks_that_are_new_to_a_cluster_make_nobody_unhealthy() -> None:
    async def body(checked: Checked) -> None:
        checked.update(health_checks=(QUICK,))
        assert checked.cluster.pick() is checked.endpoint
        await checked.until(lambda: checked.stats()["success"])

    run(body)


def test_other_configuration_leaves_checks_alone() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"])
        checked.update(load_balancing=LoadBalancing())
        await checked.until(lambda: checked.stats()["success"] >= 3)
        assert checked.servers[0].connections == 1

    run(body, QUICK)


def test_every_check_has_to_pass() -> None:
    refused = attrs.evolve(QUICK, kind=HealthCheckKind.TCP, send=b"x", receive=(b"never",), timeout_s=0.03)

    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.stats()["success"] >= 3)
        assert checked.endpoint.check_failed

    run(body, QUICK, refused)


def head_of(data: bytes) -> ResponseHead:
    parsed = ResponseParser().parse(data)
    assert parsed is not None
    return parsed[0]


def test_a_response_that_says_so_fails_its_endpoint_which_is_left_alone_even_in_a_panic() -> None:
    async def body(checked: Checked) -> None:
        cluster = checked.cluster
        await checked.until(lambda: checked.stats()["healthy"] == 2)
        for server in checked.servers:
            server.answer = b""  # No further result.
        cluster.on_response(checked.endpoint, 503, head_of(LEAVE_ME))
        await trio.sleep(0.01)
        assert checked.stats()["passive_failure"] == checked.stats()["failure"] == 1
        assert list(health_flags(checked.endpoint)) == ["failed_active_hc", "excluded_via_immediate_hc_fail"]
        assert {cluster.pick() for _ in range(4)} == {cluster.endpoints["e-1"]}

    run(body, attrs.evolve(QUICK, timeout_s=5.0), servers=2, load_balancing=LoadBalancing(panic_percent=100.0))


def test_without_checks_that_header_means_nothing() -> None:
    async def body(checked: Checked) -> None:
        checked.cluster.on_response(checked.endpoint, 503, head_of(LEAVE_ME))
        checked.cluster.fail_health_check(checked.endpoint)
        assert checked.cluster.pick() is checked.endpoint

    run(body)


def test_a_check_whose_answer_says_so_excludes_too_until_one_passes() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        checked.servers[0].answer = LEAVE_ME
        await checked.until(lambda: checked.endpoint.excluded)
        checked.servers[0].answer = OK
        await checked.until(lambda: checked.cluster.pick())
        assert not checked.endpoint.excluded

    run(body, QUICK)


def test_a_passed_check_returns_who_was_ejected() -> None:
    async def body(checked: Checked) -> None:
        await checked.until(lambda: checked.cluster.pick())
        checked.cluster.on_response(checked.endpoint, 500)
        assert list(health_flags(checked.endpoint)) == ["failed_outlier_check"]
        assert checked.cluster.pick() is None
        await checked.until(lambda: checked.cluster.pick())

    detection = OutlierDetection(consecutive_5xx=1, ejection_percent_max=100)
    with capture_logs() as logs:
        run(body, QUICK, outlier_detection=detection)
    assert [line["event"] for line in logs][-2:] == ["endpoint.ejected", "endpoint.returned"]


def test_idle_connections_to_a_failed_endpoint_are_closed() -> None:
    async def body(checked: Checked) -> None:
        cluster, server = checked.cluster, checked.servers[0]
        await checked.until(lambda: cluster.pick())

        async def use() -> None:
            cluster.pool.release(await cluster.pool.open(checked.endpoint, deadline=math.inf))

        checked.reactor.start(use(), name="use")
        await checked.until(lambda: checked.endpoint.idle)
        server.answer = SICK
        await checked.until(lambda: checked.endpoint.check_failed)
        assert (checked.endpoint.idle, cluster.breaker.connections) == ([], 0)

    run(body, QUICK)


def test_slow_start_begins_with_the_check_that_was_passed() -> None:
    async def body(checked: Checked) -> None:
        assert checked.endpoint.healthy_since == -math.inf
        await checked.until(lambda: checked.cluster.pick())
        first = checked.endpoint.healthy_since
        assert first > 0.0
        checked.servers[0].answer = SICK
        await checked.until(lambda: checked.endpoint.check_failed)
        checked.servers[0].answer = OK
        await checked.until(lambda: checked.cluster.pick())
        assert checked.endpoint.healthy_since > first

    run(body, QUICK)
