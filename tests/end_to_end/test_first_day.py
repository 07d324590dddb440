"""The first day of somebody who knows Kuma, on real processes: curl, three HTTP servers, policies, and kill -9 in between.

Once with SQLite and one control plane that is killed and comes back, once with PostgreSQL and two, of which one is killed.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installation import Caller, Day, Plane, free_port, wait_until

from tests.postgres_server import PostgresServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

MESH_AND_IDENTITY = """
type: Mesh
name: shop
---
type: MeshIdentity
name: identity
mesh: shop
spec:
  selector: {dataplane: {matchLabels: {}}}
  spiffeID: {trustDomain: shop.mesh.local, path: "/workload/{{ .Workload }}"}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
---
type: MeshTrafficPermission
name: web-may-call-catalog
mesh: shop
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: catalog}}
  rules:
    - default: {allow: [{spiffeID: {type: Exact, value: "spiffe://shop.mesh.local/workload/web"}}]}
"""
ORDERS_PERMISSION = """
type: MeshTrafficPermission
name: web-may-call-orders
mesh: shop
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: orders}}
  rules:
    - default: {allow: [{spiffeID: {type: Exact, value: "spiffe://shop.mesh.local/workload/web"}}]}
"""
SHORT_TIMEOUT = """
type: MeshTimeout
name: orders-answer-soon
mesh: shop
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: web}}
  to:
    - targetRef: {kind: MeshService, labels: {kuma.io/display-name: orders}}
      default: {http: {requestTimeout: 300ms}}
"""
SERVICES = ("web", "catalog", "orders")


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    try:
        yield day
    finally:
        day.stop()


def live_through(day: Day, planes: list[Plane], other_plane: Callable[[], Plane]) -> None:
    """The day itself. `other_plane` kills the control plane in use with kill -9 and returns the one to go on with."""
    ca, admin = planes[0].data / "ca.pem", planes[0].data / "admin.token"
    assert admin.stat().st_mode & 0o077 == 0, "the administrator's token is nobody else's business"
    day.use(planes[0], ca=ca, token=admin)
    applied = day.mesh("apply", "-f", "-", stdin=MESH_AND_IDENTITY)
    assert applied.count("created") == 3, applied
    assert "mesh-timeout-all-shop" in day.mesh("get", "meshtimeouts", "-m", "shop")

    for name in SERVICES:
        day.start_service(name, planes, calls=("catalog", "orders") if name == "web" else ())
    wait_until(lambda: day.curl("catalog") == (200, "catalog"), timeout_s=30, what="web reaches the catalog")
    assert "web-1" in day.mesh("inspect", "dataplanes", "-m", "shop")

    # Nobody is allowed until somebody says so, and it acts as soon as `apply --wait` returns.
    wait_until(lambda: day.curl("orders")[0] == 403, timeout_s=10, what="orders has joined, and lets nobody in")
    day.mesh("apply", "--wait", "-f", "-", stdin=ORDERS_PERMISSION)
    assert day.curl("orders") == (200, "orders")
    assert day.curl("orders", "/slow") == (200, "orders")

    with Caller(day).calling() as caller:
        day.mesh("apply", "--wait", "-f", "-", stdin=SHORT_TIMEOUT)
        assert day.curl("orders", "/slow")[0] == 504
        plane = other_plane()  # kill -9, right after an acknowledged write
        day.use(plane, ca=ca, token=admin)
        assert "orders-answer-soon" in day.mesh("get", "meshtimeouts", "-m", "shop")
        assert day.curl("orders", "/slow")[0] == 504, "the sidecars outlive their control plane"
        wait_until(
            lambda: (
                len(day.proxies()) == 3
                and all(p["presence"] == "connected" and p["ackedVersion"] == p["wantedVersion"] for p in day.proxies())
            ),
            timeout_s=40,
            what="all sidecars are back",
        )
        day.mesh("delete", "meshtimeout", "orders-answer-soon", "-m", "shop")
        wait_until(lambda: day.curl("orders", "/slow")[0] == 200, timeout_s=10, what="the deletion acts")
    assert caller.failed == []
    assert caller.answered > 50

    refused = day.try_mesh(
        "apply", "-f", "-", stdin=SHORT_TIMEOUT.replace("requestTimeout: 300ms", "requestTimeut: 1s")
    )
    assert refused.returncode == 2
    assert "did you mean 'requestTimeout'?" in refused.stderr
    for secret in (admin.read_text().strip(), (day.folder / "web.token").read_text().strip()):
        for log in day.folder.glob("*.log"):
            assert secret not in log.read_text(), f"a token stands in {log.name}"


def test_with_sqlite_and_a_control_plane_that_is_killed_and_comes_back(day: Day) -> None:
    plane = Plane(day.folder / "cp", free_port(), free_port())
    day.start_plane(plane)

    def restart() -> Plane:
        plane.kill()
        assert day.try_mesh("get", "meshes").returncode != 0
        day.start_plane(plane)
        return plane

    live_through(day, [plane], restart)


def test_with_postgresql_and_two_control_planes_of_which_one_is_killed(
    day: Day, postgres_server: PostgresServer
) -> None:
    key = day.folder / "encryption.key"
    store = ("--store", postgres_server.database_url(), "--encryption-key-file", str(key))
    planes = [Plane(day.folder / f"cp-{n}", free_port(), free_port(), store) for n in (1, 2)]
    for plane in planes:
        day.start_plane(plane)

    def kill_the_first() -> Plane:
        first, second = planes
        first.kill()
        return second

    live_through(day, planes, kill_the_first)
