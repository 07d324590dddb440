"""Our own answers: each as recorded from Envoy 1.40, to plain clients and to gRPC ones.

Source of the expectations: recorded cases no_route, no_endpoints, fault_abort_418, local_ratelimit, rbac_deny, redirect,
upstream_garbage, connect_refused, headers_too_big, slow_client (status, headers, body, details, flags).
"""

from pathlib import Path

import pytest
import trio

from mesh.config.snapshot import Backend, Route
from mesh.model.errors import RemoteProtocolError
from mesh.model.names import Address
from mesh.policy.failure import FailureKind
from mesh.policy.routing import PathMatch, PathMatchKind, RouteMatch
from mesh.policy.timeout import Timeouts
from mesh.protocol.http1 import RequestParser
from mesh.proxy.local_reply import (
    ACCESS_DENIED,
    NO_HEALTHY_UPSTREAM,
    NO_ROUTE,
    REQUEST_TIMEOUT,
    UNRESOLVED,
    LocalReply,
    bad_request,
    encode_local_reply,
    redirected,
    upstream_failure,
)
from tests.mesh.proxy.laboratory import (
    Fleet,
    Lab,
    UpstreamCall,
    flags,
    free_port,
    http_parts,
    ok,
    read_response,
    run_fleet,
    sick,
    silent,
    with_sidecar,
)

PLAIN, _ = RequestParser().parse(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") or (None, 0)
GRPC, _ = RequestParser().parse(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc+proto\r\n\r\n") or (
    None,
    0,
)
HEAD, _ = RequestParser().parse(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n") or (None, 0)
GARBAGE = b"upstream connect error or disconnect/reset before headers. reset reason: protocol error"


def read(data: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    ("reply", "status", "body", "grpc_status"),
    [
        (NO_ROUTE, 404, b"", "12"),
        (NO_HEALTHY_UPSTREAM, 503, b"no healthy upstream", "14"),
        (LocalReply(status=418, body=b"fault filter abort"), 418, b"fault filter abort", "2"),
        (LocalReply(status=429, body=b"local_rate_limited"), 429, b"local_rate_limited", "14"),
        (ACCESS_DENIED, 403, b"RBAC: access denied", "7"),
        (UNRESOLVED, 500, b"", "2"),
        (REQUEST_TIMEOUT, 504, b"upstream request timeout", "14"),
        (upstream_failure(FailureKind.PROTOCOL_ERROR, retried=False), 502, GARBAGE, "14"),
    ],
)
def test_answer_has_the_form_that_its_client_reads(
    reply: LocalReply, status: int, body: bytes, grpc_status: str
) -> None:
    data, size = encode_local_reply(reply, PLAIN, close=False)
    headers = {"content-length": str(len(body)), **({"content-type": "text/plain"} if body else {})}
    assert (read(data), size) == ((status, headers, body), len(body))
    data, size = encode_local_reply(reply, GRPC, close=False)
    message = {"grpc-message": body.decode()} if body else {}
    told = {"content-length": "0", "content-type": "application/grpc", "grpc-status": grpc_status, **message}
    assert (read(data), size) == ((200, told, b""), 0)


def test_head_request_gets_no_body() -> None:
    data, size = encode_local_reply(NO_HEALTHY_UPSTREAM, HEAD, close=True)
    status, headers, body = read(data)
    assert (status, body, size) == (503, b"", 0)
    assert (headers["content-length"], headers["connection"]) == ("19", "close")


def test_message_that_is_not_plain_text_is_percent_encoded() -> None:
    data, _ = encode_local_reply(LocalReply(status=503, body="50 % übrig\n".encode()), GRPC, close=False)
    assert read(data)[1]["grpc-message"] == "50 %25 %C3%BCbrig%0A"


def test_overload_is_said_to_grpc_clients_too() -> None:
    data, _ = encode_local_reply(upstream_failure(FailureKind.OVERFLOW, retried=False), GRPC, close=False)
    assert read(data)[1]["x-envoy-overloaded"] == "true"


def test_redirect_has_no_text() -> None:
    data, _ = encode_local_reply(redirected(301, b"https://svc/new"), PLAIN, close=False)
    assert read(data) == (301, {"content-length": "0", "location": "https://svc/new"}, b"")


@pytest.mark.parametrize(
    ("message", "status", "detail", "body"),
    [
        ("no host field", 400, "missing_host_header", b""),
        (
            "both content-length and transfer-encoding",
            400,
            "http1.content_length_and_chunked_not_allowed",
            b"Bad Request",
        ),
        ("the head is longer than 61440 bytes", 431, "http1.headers_too_large", b"Request Header Fields Too Large"),
        ("more than 100 header fields", 431, "http1.too_many_headers", b"Request Header Fields Too Large"),
        ("invalid request: whatever", 400, "http1.codec_error", b"Bad Request"),
    ],
)
def test_broken_requests_are_named_as_envoy_names_them(message: str, status: int, detail: str, body: bytes) -> None:
    reply = bad_request(RemoteProtocolError(message, status=status))
    assert (reply.status, reply.detail, reply.body, reply.close) == (status, detail, body, True)


def test_refused_connect_says_what_the_operating_system_said(tmp_path: Path) -> None:
    async def main() -> None:
        nobody = Address("127.0.0.1", free_port())

        async def body(lab: Lab) -> None:
            await lab.request()
            record = await lab.record()
            assert record.detail == (
                "upstream_reset_before_response_started"
                "{remote_connection_failure|delayed_connect_error:_Connection_refused}"
            )
            response = await lab.request(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n"
            )
            assert (response.status, response.headers["grpc-status"]) == (200, "14")
            assert response.headers["grpc-message"].endswith("reset reason: remote connection failure")
            assert [record.status for record in lab.records] == [503, 503]

        await with_sidecar(tmp_path, lambda port: http_parts(port, [nobody], route={}, cluster={}), body)

    trio.run(main)


def test_response_that_ends_early_is_an_error_of_the_protocol(tmp_path: Path) -> None:
    async def truncated(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await call.stream.aclose()

    async def half_a_head(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-le")
        await call.stream.aclose()

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            record = await lab.record()
        assert (record.status, flags(record)) == (200, "UPE")
        assert record.detail == "upstream_reset_after_response_started{protocol_error}"
        assert (await lab.request()).status == 502
        assert flags(await lab.record(1)) == "UPE"

    run_fleet(
        tmp_path, body, {"c": [[truncated, half_a_head]]}, routes=[Route(name="r", backends=(Backend(cluster="c"),))]
    )


def test_what_has_no_path_has_no_route(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        tunnel = await lab.request("CONNECT svc:80 HTTP/1.1\r\nhost: svc:80\r\n\r\n")
        assert (tunnel.status, tunnel.headers["connection"]) == (404, "close")
        assert (await lab.request("OPTIONS * HTTP/1.1\r\nhost: svc\r\n\r\n")).status == 404
        assert (await lab.request("OPTIONS http://svc HTTP/1.1\r\nhost: svc\r\n\r\n")).status == 404
        assert [flags(record) for record in lab.records] == ["NR", "", ""]
        assert fleet.calls() == [0]

    run_fleet(tmp_path, body, {"c": [[ok]]}, routes=[Route(name="r", backends=(Backend(cluster="c"),))])


def test_silence_is_blamed_on_whom_it_comes_from(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        upstreams = await lab.request()
        assert (upstreams.status, upstreams.body) == (504, b"stream timeout")
        clients = await lab.request("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 9\r\n\r\n", b"half")
        assert (clients.status, clients.body, clients.headers["connection"]) == (408, b"stream timeout", "close")
        assert [(flags(record), record.detail) for record in lab.records] == [("SI", "stream_idle_timeout")] * 2

    route = Route(name="r", backends=(Backend(cluster="c"),), timeouts=Timeouts(stream_idle_s=0.15))
    run_fleet(tmp_path, body, {"c": [[silent]]}, routes=[route])


def test_longest_duration_of_a_stream_ends_it(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"downstream duration timeout")
        record = await lab.record()
        assert (record.detail, flags(record)) == ("max_duration_timeout", "")

    route = Route(name="r", backends=(Backend(cluster="c"),), timeouts=Timeouts(stream_s_max=0.1))
    run_fleet(tmp_path, body, {"c": [[silent]]}, routes=[route])


def test_connection_that_is_too_old_is_closed_with_the_next_answer(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            for path, connection in (("/", None), ("/later", "close")):
                await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: svc\r\n\r\n".encode())
                assert (await read_response(stream)).headers.get("connection") == connection
                await trio.sleep(0.3)
            assert await stream.receive_some() == b""
        async with await lab.connect() as stream:
            await trio.sleep(0.3)
            await stream.send_all(b"GET /nowhere HTTP/1.1\r\nhost: svc\r\n\r\n")
            refused = await read_response(stream)
            assert (refused.status, refused.headers["connection"]) == (404, "close")

    nowhere = RouteMatch(path=PathMatch(kind=PathMatchKind.EXACT, value="/"))
    later = RouteMatch(path=PathMatch(kind=PathMatchKind.EXACT, value="/later"))
    routes = [
        Route(name=str(match), match=match, backends=(Backend(cluster="c"),), timeouts=Timeouts(connection_s_max=0.25))
        for match in (nowhere, later)
    ]
    run_fleet(tmp_path, body, {"c": [[ok, sick]]}, routes=routes)
