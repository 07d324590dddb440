"""Redirects and rewrites over real sockets: where the client is sent, what the upstream is asked for instead."""

from pathlib import Path

from mesh.config.snapshot import Backend, Route
from mesh.policy.routing import PathMatch, PathMatchKind, PathRewrite, Redirect, Rewrite, RouteMatch
from tests.mesh.proxy.laboratory import Fleet, Lab, flags, ok, run_fleet

API = RouteMatch(path=PathMatch(kind=PathMatchKind.PREFIX, value="/api"))


def test_redirect_is_answered_without_a_try(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request("GET /api/x?q=1 HTTP/1.1\r\nhost: svc:8080\r\n\r\n")
        assert (response.status, response.body) == (301, b"")
        assert response.headers["location"] == "https://svc:8080/new/x?q=1"
        assert "content-type" not in response.headers
        record = await lab.record()
        assert (record.detail, flags(record), record.tries, record.cluster) == ("direct_response", "", 0, "")

    redirect = Redirect(scheme="https", path=PathRewrite(value="/new", prefix=True), status=301)
    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[Route(name="r", match=API, redirect=redirect)])


def test_redirected_grpc_call_learns_it_in_its_own_form(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request(
            "POST /api HTTP/1.1\r\nhost: svc\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n"
        )
        # As recorded from Envoy.
        assert (response.status, response.headers["grpc-status"]) == (200, "2")
        assert response.headers["location"] == "https://svc/api"
        assert "grpc-message" not in response.headers
        assert (await lab.record()).status == 301

    redirect = Redirect(scheme="https", status=301)
    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[Route(name="r", match=API, redirect=redirect)])


def test_upstream_is_asked_for_the_rewritten_path_and_told_the_original(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request("GET /api/x?q=1 HTTP/1.1\r\nhost: svc\r\nx-envoy-original-path: /forged\r\n\r\n")
        await lab.request("GET http://other/api HTTP/1.1\r\nhost: svc\r\n\r\n")
        first, second = (call.head.decode().split("\r\n") for call in fleet.one().calls)
        assert first[0] == "GET /v2/x?q=1 HTTP/1.1"
        assert [line for line in first if "original-path" in line] == ["x-envoy-original-path: /api/x?q=1"]
        assert second[0] == "GET /v2 HTTP/1.1"
        assert "x-envoy-original-path: /api" in second
        assert lab.records[0].path == b"/api/x?q=1"

    rewrite = Rewrite(path=PathRewrite(value="/v2", prefix=True))
    run_fleet(
        tmp_path,
        body,
        {"c": [[ok]]},
        routes=[Route(name="r", match=API, rewrite=rewrite, backends=(Backend(cluster="c"),))],
    )


def test_upstream_is_called_by_the_rewritten_host(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request()
        hosts = [line for line in fleet.one().calls[0].head.decode().lower().split("\r\n") if line.startswith("host:")]
        assert hosts == ["host: other.example"]
        assert b"\r\nx-envoy-original-host: svc" in fleet.one().calls[0].head
        assert lab.records[0].authority == b"svc"

    route = Route(name="r", rewrite=Rewrite(hostname="other.example"), backends=(Backend(cluster="c"),))
    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[route])
