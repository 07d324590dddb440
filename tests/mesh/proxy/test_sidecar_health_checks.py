"""Health checks of a whole sidecar: configured by a snapshot, over real TLS, seen on its page for operators."""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import pytest
import trio

from mesh.config.snapshot import Cluster, Part, Snapshot
from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.proxy.admin import Admin
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, admin_page
from tests.mesh.proxy.outside_world import NAME, ROOT, parts_of, run, server_context, tells

QUICK = HealthCheck(
    kind=HealthCheckKind.HTTP, interval_s=0.02, no_traffic_interval_s=0.02, timeout_s=0.5, path="/healthz"
)


def checked(parts: Sequence[Part], *checks: HealthCheck) -> list[Part]:
    return [
        attrs.evolve(
            part,
            health_checks=checks,
            load_balancing=LoadBalancing(panic_percent=0.0),
            outlier_detection=OutlierDetection(consecutive_5xx=5, ejection_percent_max=100),
        )
        if isinstance(part, Cluster)
        else part
        for part in parts
    ]


def endpoint_page(lab: Lab) -> Any:
    _, _, page = Admin(lab.sidecar)._clusters()
    return msgspec.json.decode(page)[0]["endpoints"][0]


async def statistics(lab: Lab) -> dict[str, float]:
    lines = (await admin_page(lab, "/stats")).splitlines()
    return {name: float(value) for name, _, value in (line.partition(": ") for line in lines) if value.isdigit()}


async def until_served(lab: Lab, status: int) -> None:
    while (await lab.request()).status != status:
        await trio.sleep(0.01)


def test_a_server_is_checked_by_its_own_name_over_its_tls(tmp_path: Any) -> None:
    origination = tells(roots=ROOT)

    async def answer(call: UpstreamCall) -> None:
        await call.answer(503 if sick and call.head.startswith(b"GET /healthz ") else 200)

    sick: list[bool] = []

    async def body(lab: Lab, upstream: Upstream) -> None:
        upstream.handlers[:] = [answer]
        parts = parts_of(lab.port, [Address(NAME, upstream.address.port)], origination)
        lab.sidecar.apply(Snapshot.of(*parts))
        await until_served(lab, 200)
        lab.sidecar.apply(Snapshot.of(*checked(parts, QUICK)))
        while (await statistics(lab)).get("cluster.api.health_check.success", 0) < 3:
            await trio.sleep(0.01)
        check = next(call.head for call in upstream.calls if call.head.startswith(b"GET /healthz"))
        assert f"host: {NAME}\r\nuser-agent: Envoy/HC".encode() in check
        assert upstream.connections == 2  # the requests' and the checks'
        assert endpoint_page(lab)["health_flags"] == []

        sick.append(True)
        await until_served(lab, 503)
        assert endpoint_page(lab)["health_flags"] == ["failed_active_hc"]
        assert (await statistics(lab))["cluster.api.membership_healthy"] == 0

        lab.sidecar.apply(Snapshot.of(*parts))
        assert (await lab.request()).status == 200
        asked = len(upstream.calls)
        await trio.sleep(0.06)
        assert len(upstream.calls) == asked

    run(tmp_path, body, origination, server=server_context(tmp_path))


def test_statistics_have_envoys_names(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        parts = parts_of(lab.port, [Address("127.0.0.1", upstream.address.port)])
        lab.sidecar.apply(Snapshot.of(*checked(parts, QUICK)))
        await until_served(lab, 200)
        text = await admin_page(lab, "/stats/prometheus")
        for line in (
            'envoy_cluster_health_check_healthy{envoy_cluster_name="api"} 1',
            'envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name="api"} 0',
            'envoy_cluster_circuit_breakers_default_remaining_retries{envoy_cluster_name="api"} 3',
            'envoy_cluster_outlier_detection_ejections_enforced_total{envoy_cluster_name="api"} 0',
            'envoy_cluster_lb_healthy_panic{envoy_cluster_name="api"} 0',
        ):
            assert line in text.splitlines()

    run(tmp_path, body, None)


def test_an_ejection_is_seen_on_the_page(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        async def sick(call: UpstreamCall) -> None:
            await call.answer(500)

        upstream.handlers[:] = [sick]
        parts = parts_of(lab.port, [Address("127.0.0.1", upstream.address.port)])
        lab.sidecar.apply(Snapshot.of(*checked(parts)))
        for _ in range(5):
            await lab.request()
        assert (await lab.request()).status == 503
        page = endpoint_page(lab)
        assert (page["healthy"], page["health_flags"]) == (False, ["failed_outlier_check"])

    run(tmp_path, body, None)


@pytest.mark.parametrize(
    "check",
    [
        attrs.evolve(QUICK, path="/a b"),
        attrs.evolve(QUICK, path="/\x00"),
        attrs.evolve(QUICK, headers_set=(("x-a", "b\r\nx-c: d"),)),
        attrs.evolve(QUICK, headers_add=(("Content-Length", "5"),)),
    ],
)
def test_what_cannot_be_asked_is_refused_whole(tmp_path: Any, check: HealthCheck) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        before = lab.sidecar.snapshot
        parts = parts_of(lab.port, [Address("127.0.0.1", upstream.address.port)])
        with pytest.raises(ConfigError, match=r"cluster/api: health check: "):
            lab.sidecar.apply(Snapshot.of(*checked(parts, check)))
        assert lab.sidecar.snapshot is before

    run(tmp_path, body, None)
