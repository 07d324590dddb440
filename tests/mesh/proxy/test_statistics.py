"""Statistics: what requests leave on /stats and /stats/prometheus, under Envoy's names."""

from pathlib import Path
from typing import Any

import attrs
import trio

from mesh.config.snapshot import Backend, InboundListener, Part, Route
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import PeerMatch
from mesh.policy.fault_injection import Abort, Fault
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from tests.mesh.proxy.laboratory import Fleet, Lab, admin_page, ok, read_response, run_fleet, sick, silent


async def stats(lab: Lab) -> dict[str, float]:
    found = [line.split(": ", 1) for line in (await admin_page(lab, "/stats")).splitlines()]
    plain = [(name, value) for name, value in found if value.isdigit()]
    assert plain == sorted(plain)
    assert all(value == "No recorded values" or value.startswith("B0.5(") for _, value in found[len(plain) :])
    return {name: float(value) for name, value in plain}


def route(**fields: Any) -> Route:
    return Route(name="r", backends=(Backend(cluster="c"),), **fields)


def picked(all_stats: dict[str, float], prefix: str, *names: str) -> list[float]:
    return [all_stats[f"{prefix}.{name}"] for name in names]


def test_requests_and_retries_are_counted_under_envoys_names(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            for _ in range(2):
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
                await read_response(stream)
            found = await stats(lab)
        # The first request: 503, 503, 200; the second: 200.
        requests = (
            "upstream_rq_total",
            "upstream_rq_completed",
            "upstream_rq_200",
            "upstream_rq_2xx",
            "upstream_rq_active",
        )
        assert picked(found, "cluster.c", *requests) == [4, 2, 2, 2, 0]
        retries = "upstream_rq_retry", "upstream_rq_retry_success", "retry.upstream_rq_503", "retry.upstream_rq_5xx"
        assert picked(found, "cluster.c", *retries) == [2, 1, 2, 2]
        assert picked(found, "cluster.c", "upstream_rq_retry_backoff_exponential", "upstream_rq_5xx") == [2, 0]
        connections = "upstream_cx_total", "upstream_cx_active", "upstream_cx_destroy", "upstream_rq_pending_total"
        assert picked(found, "cluster.c", *connections) == [1, 1, 0, 1]
        down = "downstream_rq_total", "downstream_rq_2xx", "downstream_rq_active", "downstream_cx_total", "no_route"
        assert picked(found, "http.out", *down) == [2, 2, 0, 1, 0]
        assert found[f"listener.127.0.0.1_{lab.port}.downstream_cx_active"] == 1

    retry = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), budget=None, backoff_base_s=0.001)
    run_fleet(tmp_path, body, {"c": [[sick, sick, ok]]}, routes=[route(retry=retry)])


def test_timeouts_and_clients_that_leave_are_counted(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 504
        stream = await lab.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
        while fleet.calls() != [2]:
            await trio.sleep(0.005)
        found = await stats(lab)
        assert picked(found, "http.out", "downstream_rq_active") == [1]
        assert picked(found, "cluster.c", "upstream_rq_active", "upstream_rq_timeout", "upstream_rq_504") == [1, 1, 1]
        await stream.aclose()
        await lab.record(1)
        found = await stats(lab)
        assert picked(found, "cluster.c", "upstream_rq_completed", "upstream_rq_tx_reset") == [1, 2]
        names = "downstream_rq_active", "downstream_rq_completed", "downstream_rq_rx_reset", "downstream_rq_5xx"
        assert picked(found, "http.out", *names) == [0, 1, 1, 1]
        assert not any(name.endswith("_0") for name in found)

    run_fleet(tmp_path, body, {"c": [[silent]]}, routes=[route(timeouts=Timeouts(request_s=0.2))])


def test_requests_that_break_the_protocol_are_counted_once(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request("GET / HTTP/1.1\r\n\r\n")).status == 400
        late = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        assert (await lab.request(late, b"zz\r\n")).status == 400
        assert picked(await stats(lab), "http.out", "downstream_rq_total", "downstream_rq_4xx") == [2, 2]
        assert picked(await stats(lab), "http.out", "downstream_rq_active") == [0]

    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[route()])


def test_nobody_to_ask_and_nowhere_to_go_are_counted(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        found = await stats(lab)
        assert picked(found, "cluster.c", "upstream_cx_none_healthy", "upstream_rq_503", "upstream_rq_total") == [
            1,
            1,
            0,
        ]

    run_fleet(tmp_path, body, {"c": []}, routes=[route()])


def test_policies_of_an_inbound_are_counted_across_changes(tmp_path: Path) -> None:
    made: list[InboundListener] = []

    def listeners(port: int, fleet: Fleet) -> list[Part]:
        limit = RateLimit(rate=Rate(count=2, interval_s=3600.0))
        inbound = InboundListener(
            name="in",
            address=Address("127.0.0.1", port),
            application=fleet.one().address,
            protocol=Protocol.HTTP,
            tls_mode=TlsMode.OFF,
            permissions=None,
            rate_limits=(CallerRateLimit(match=PeerMatch(), limit=limit),),
            faults=(Fault(abort=Abort(status=418, percent=100.0)),),
        )
        made.append(inbound)
        return [inbound]

    async def body(lab: Lab, fleet: Fleet) -> None:
        assert [(await lab.request()).status for _ in range(3)] == [418, 418, 429]
        [inbound] = made
        changed = attrs.evolve(inbound, timeouts=Timeouts(request_s=1.0))
        parts = [part for part in lab.sidecar.snapshot.parts.values() if not isinstance(part, InboundListener)]
        lab.sidecar.apply(type(lab.sidecar.snapshot).of(*parts, changed))
        assert (await lab.request()).status == 429
        found = await stats(lab)
        assert picked(found, "in.http_local_rate_limit", "enabled", "ok", "rate_limited", "enforced") == [4, 2, 2, 2]
        assert picked(found, "http.in.fault", "aborts_injected", "active_faults") == [2, 0]
        assert picked(found, "http.in", "downstream_rq_4xx", "downstream_rq_total") == [4, 4]

    run_fleet(tmp_path, body, {"c": [[ok]]}, listeners=listeners)


def test_prometheus_reads_the_same_with_labels(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        lines = (await admin_page(lab, "/stats/prometheus")).splitlines()
        for line in (
            'envoy_cluster_upstream_rq_total{envoy_cluster_name="c"} 1',
            'envoy_cluster_upstream_rq{envoy_cluster_name="c",envoy_response_code="200"} 1',
            'envoy_cluster_upstream_rq_xx{envoy_cluster_name="c",envoy_response_code_class="2"} 1',
            'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="c"} 1',
            'envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="out",envoy_response_code_class="2"} 1',
            'envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="out",le="+Inf"} 1',
            f'envoy_listener_downstream_cx_total{{envoy_listener_address="127.0.0.1_{lab.port}"}} 1',
            "envoy_server_live{} 1",  # With braces, as Envoy writes it.
            "# TYPE envoy_cluster_upstream_cx_active gauge",
            "# TYPE envoy_cluster_upstream_rq_time histogram",
        ):
            assert line in lines

    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[route()])


def test_only_what_is_asked_for_is_shown(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        found = (await admin_page(lab, "/stats?filter=cluster.*upstream_rq_2&usedonly")).splitlines()
        assert found == ["cluster.c.upstream_rq_200: 1", "cluster.c.upstream_rq_2xx: 1"]
        found = (await admin_page(lab, "/stats?format=prometheus&filter=server.live")).splitlines()
        assert found == ["# TYPE envoy_server_live gauge", "envoy_server_live{} 1"]
        assert "filter: " in await admin_page(lab, "/stats?filter=(")

    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[route()])


def test_heads_that_come_too_late_connections_and_members_are_counted(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost:")
            assert (await read_response(stream)).status == 408
        async with await lab.connect() as stream:
            assert await stream.receive_some() == b""
        found = await stats(lab)
        late = picked(found, "http.out", "downstream_rq_header_timeout", "downstream_cx_idle_timeout")
        assert late == [1, 1]
        assert picked(found, "cluster.c", "membership_change", "membership_total") == [1, 1]
        lines = await admin_page(lab, "/stats/prometheus")
        assert 'envoy_cluster_upstream_cx_connect_ms_count{envoy_cluster_name="c"} 1' in lines

    spans = Timeouts(idle_s=0.3, request_headers_s=0.1)
    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[route(timeouts=spans)])
