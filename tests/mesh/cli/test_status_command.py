"""`mesh status`, `diff`, `audit`: who has what, what would change for whom, who did it; on a page of 100 columns."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Mesh
from fake_control_plane import FakeControlPlane, problem

from mesh.cli.api_client import ApiClient, Query
from mesh.cli.failures import CommandFailed
from mesh.cli.status import render_status

NOW = 1_800_000_000.0
VERSIONS = {"wantedVersion": "3f9a7c21d04b", "sentVersion": "3f9a7c21d04b"}


def proxy(name: str, *, acked: str = "3f9a7c21d04b", **more: Any) -> dict[str, Any]:
    base = {
        "mesh": "shop",
        "name": name,
        "instance": "cp-1",
        "presence": "connected",
        **VERSIONS,
        "ackedVersion": acked,
    }
    return {**base, "lagSeconds": 0.0, "refusal": None, "certificateExpires": None, "inbounds": [], **more}


STATUS = {
    "instance": "cp-1",
    "revision": 41,
    "published": {"shop": 41},
    "proxies": [
        proxy("web-1", certificateExpires="2027-01-15T08:53:20Z"),
        proxy(
            "web-2", acked="0000aaaa", lagSeconds=4.13, refusal={"reason": "listener 10001: address in use", "count": 2}
        ),
        proxy("orders-1", acked="", presence="lost", lagSeconds=340, inbounds=[{"name": "http", "ready": False}]),
        proxy("orders-2", acked="0000aaaa", certificateExpires="2027-01-15T07:50:00Z"),
        proxy("orders-3", departure="draining"),
    ],
}


def test_status_says_who_has_what_and_why_not() -> None:
    assert render_status(STATUS, now=NOW).splitlines() == [
        "MESH  PROXY     STATE     WANTED    SENT      ACKED      LAG     CERT  NOT READY  CONTROL PLANE",
        "shop  web-1     live      3f9a7c21  3f9a7c21  3f9a7c21    0s      53m             cp-1",
        "shop  web-2     refused   3f9a7c21  3f9a7c21  0000aaaa  4.1s                      cp-1",
        "shop  orders-1  lost      3f9a7c21  3f9a7c21  -           5m           http       cp-1",
        "shop  orders-2  sent      3f9a7c21  3f9a7c21  0000aaaa    0s  expired             cp-1",
        "shop  orders-3  draining  3f9a7c21  3f9a7c21  3f9a7c21    0s                      cp-1",
        "shop/web-2 refused: listener 10001: address in use",
        "revision 41 is live on 1 of 5 proxies; 1 refused; 1 lost; 1 sent; 1 draining",
    ]


def test_what_was_refused_before_it_was_mended_is_the_past() -> None:
    refusal = {"version": "0000aaaa", "reason": "port 8055 is in use", "count": 1}
    mended = {"revision": 42, "proxies": [proxy("web-1", refusal=refusal)]}
    assert render_status(mended).splitlines()[-1] == "revision 42 is live on 1 of 1 proxy"
    assert "refused" not in render_status(mended)


def test_status_of_nobody_is_a_line() -> None:
    assert render_status({"revision": 3, "proxies": []}) == "revision 3 is live on 0 of 0 proxies"


def test_dataplane_without_a_sidecar_is_offline() -> None:
    nothing = {"wantedVersion": "", "sentVersion": "", "instance": ""}
    status = {"revision": 3, "proxies": [proxy("web-1"), proxy("web-2", acked="", presence="offline", **nothing)]}
    _, _, row, last = render_status(status, now=NOW).splitlines()
    assert row.split() == ["shop", "web-2", "offline", "-", "-", "-", "0s"]
    assert last == "revision 3 is live on 1 of 2 proxies; 1 offline"


def test_status_as_data_is_the_apis(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.answer("GET", "/status", STATUS)
    ended = mesh("status", "-m", "shop", "-o", "json")
    assert (ended.code, json.loads(ended.stdout)) == (0, STATUS)
    assert plane.asked[-1].query == {"mesh": "shop"}


def test_watching_goes_on_until_it_is_interrupted(
    mesh: Mesh, plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.answer("GET", "/status", STATUS)
    rounds = iter([None, None])

    def sleep(seconds: float) -> None:
        if next(rounds, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr("mesh.cli.status.time.sleep", sleep)
    ended = mesh("status", "--watch")
    assert ended.code == 130
    assert ended.stdout.count("revision 41 is live") == 3


def test_watching_outlives_the_control_plane(
    mesh: Mesh, plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.answer("GET", "/status", STATUS)
    get, rounds = ApiClient.get, iter(["there", "away", "there"])

    def get_sometimes(client: ApiClient, path: str, query: Query | None = None) -> Any:
        match next(rounds, "over"):
            case "over":
                raise KeyboardInterrupt
            case "away":
                raise CommandFailed("no control plane answers")
        return get(client, path, query)

    monkeypatch.setattr(ApiClient, "get", get_sometimes)
    monkeypatch.setattr("mesh.cli.status.WATCH_S", 0.0)
    ended = mesh("status", "--watch")
    assert ended.code == 130
    assert ended.stdout.count("revision 41 is live") == 2
    assert "warning: no control plane answers" in ended.stderr


POLICY = """\
type: MeshTimeout
name: soon
mesh: shop
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 300ms}}}]}
"""


def change(part: str, before: Any, after: Any, op: str = "replace") -> dict[str, Any]:
    return {"part": part, "op": op, "before": before, "after": after}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_diff_shows_what_would_change_and_groups_proxies(mesh: Mesh, plane: FakeControlPlane, policy: Path) -> None:
    slow = {"name": "orders", "timeouts": {"request_s": 15.0, "idle_s": 3600.0}}
    quick = {"name": "orders", "timeouts": {"request_s": 0.3, "idle_s": 3600.0}}
    changes = [change("cluster/orders", slow, quick), change("route/new", None, {"path": "/"}, "add")]
    plane.answer(
        "POST",
        "/diff",
        {
            "proxies": [
                *({"mesh": "shop", "name": f"web-{number}", "changes": changes} for number in range(1, 9)),
                {"mesh": "shop", "name": "cart-1", "changes": [change("route/old", {"path": "/"}, None, "remove")]},
                {"mesh": "shop", "name": "idle-1", "changes": []},
            ],
            "resources": [{"type": "MeshTimeout", "mesh": "shop", "name": "soon", "action": "created"}],
        },
    )
    ended = mesh("diff", "-f", policy)
    assert ended.code == 0
    assert ended.stdout.splitlines() == [
        "+ MeshTimeout shop/soon",
        "",
        "shop/web-1, shop/web-2, shop/web-3, shop/web-4, shop/web-5, shop/web-6 and 2 more: 2 parts",
        "  ~ cluster/orders",
        "      timeouts.request_s 15.0 -> 0.3",
        "  + route/new",
        "",
        "shop/cart-1: 1 part",
        "  - route/old",
        "",
        "9 proxies would change",
    ]
    full = mesh("diff", "-f", policy, "--full")
    assert "      path = /" in full.stdout.splitlines()
    assert "      path / gone" in full.stdout.splitlines()
    assert "shop/web-8: 2 parts" in full.stdout
    assert mesh("diff", "-f", policy, "--exit-code").code == 1


def test_diff_of_nothing(mesh: Mesh, plane: FakeControlPlane, policy: Path) -> None:
    plane.answer(
        "POST", "/diff", {"proxies": [], "resources": [{"type": "MeshTimeout", "name": "soon", "action": "unchanged"}]}
    )
    ended = mesh("diff", "-f", policy, "--exit-code")
    assert (ended.code, ended.stdout) == (0, "no resource would change\n\nno proxy would change\n")


def test_diff_of_a_deletion(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.answer("POST", "/diff", {"proxies": [], "resources": []})
    assert mesh("diff", "--delete", "mt/soon", "--delete", "zone/east", "-m", "shop").code == 0
    assert plane.bodies("POST", "/diff") == [
        {
            "resources": [],
            "deletions": [{"type": "MeshTimeout", "mesh": "shop", "name": "soon"}, {"type": "Zone", "name": "east"}],
        }
    ]
    assert mesh("diff", "--delete", "soon").errors == [
        "--delete: 'soon' names no resource (write KIND/NAME, as meshretry/all)"
    ]
    assert mesh("diff").code == 2


def test_diff_of_what_is_wrong_has_its_place(mesh: Mesh, plane: FakeControlPlane, policy: Path) -> None:
    invalid = [{"field": "resources[0].spec.to[0]", "reason": "no such mesh"}]
    plane.answer("POST", "/diff", problem(400, "Could not", invalid_parameters=invalid), status=400)
    ended = mesh("diff", "-f", policy)
    assert (ended.code, ended.errors) == (2, [f"{policy}:4:13: spec.to[0]: no such mesh"])


def test_audit_shows_the_newest_first(mesh: Mesh, plane: FakeControlPlane) -> None:
    entry = {
        **{
            "sequence": 12,
            "at": "2026-11-23T20:33:26.123Z",
            "by": "user=jo groups=mesh-system:operator from=127.0.0.1",
        },
        **{"action": "update", "type": "MeshTimeout", "mesh": "shop", "name": "soon", "version": 3, "revision": 41},
    }
    plane.answer("GET", "/audit", {"items": [entry], "next": 12})
    ended = mesh("audit", "--size", "1", "--before", "13")
    assert ended.stdout.splitlines() == [
        "NR  WHEN (UTC)           WHO  ACTION  KIND         MESH  NAME",
        "12  2026-11-23 20:33:26  jo   update  MeshTimeout  shop  soon",
    ]
    assert ended.stderr == "there are more: add --before 12\n"
    assert plane.asked[-1].query == {"size": "1", "before": "13"}
