"""The HTTP server on real sockets, asked by curl and by clients that do not behave."""

import json
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.runtime.real.asgi_server import Bound, HttpLimits, serve, server_context

ANY_PORT = Address("127.0.0.1", 0)
QUICK = HttpLimits(handshake_s=0.3, headers_s=0.3, send_s=0.3, linger_s=0.3, grace_s=0.5)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Tell what came; `/big` answers at length, `/deaf` without reading, `/slow` late, `/crash` never."""
    path = scope["path"]
    body = b""
    if path == "/crash":
        raise RuntimeError("planted")
    if path == "/slow":
        await trio.sleep(0.3)
    while path != "/deaf":
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = (
        b"x" * 50_000_000 if path == "/big" else json.dumps({"body": len(body), "scheme": scope["scheme"]}).encode()
    )
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Served:
    def __init__(self, bound: Bound, stop: trio.Event, logged: list[Any]) -> None:
        self.bound = bound
        self.stop = stop
        self.logged = logged

    @property
    def url(self) -> str:
        return f"http://{self.bound.plain}"

    async def connect(self) -> trio.SocketStream:
        assert self.bound.plain
        return await trio.open_tcp_stream(self.bound.plain.host, self.bound.plain.port)


def run(body: Callable[[Served], Awaitable[None]], *, limits: HttpLimits = QUICK, **where: Any) -> list[Any]:
    """Run a test's body beside a server, which has to stop in time."""
    capture = structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[capture])
    options: dict[str, Any] = {"log": log, "limits": limits, "plain": ANY_PORT} | where

    async def main() -> None:
        stop = trio.Event()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:

                async def server(task_status: Any) -> None:
                    await serve(echo, **options, shutdown=stop.wait, task_status=task_status)

                bound = await nursery.start(server)
                await body(Served(bound, stop, capture.entries))
                stop.set()

    trio.run(main, strict_exception_groups=True)
    return capture.entries


async def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        ["curl", "-s", "-S", "-m", "10", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )


async def read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    async for chunk in stream:
        data += chunk
    return data


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    certfile.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    keyfile.write_bytes(pem)
    return str(certfile), str(keyfile)


def test_plain_and_tls_listeners_answer_and_name_no_software(certificate: tuple[str, str]) -> None:
    async def body(served: Served) -> None:
        plain = await curl("-i", served.url + "/", "-d", "hello")
        head, _, content = plain.stdout.partition(b"\r\n\r\n")
        assert json.loads(content) == {"body": 5, "scheme": "http"}
        assert b"200" in head.splitlines()[0] and b"server:" not in head.lower()
        assert served.bound.tls
        port = served.bound.tls.port
        for option in ("--tlsv1.2", "--tlsv1.3"):
            tls = await curl(option, "--cacert", certificate[0], f"https://localhost:{port}/", "-d", "hello")
            assert json.loads(tls.stdout) == {"body": 5, "scheme": "https"}, tls.stderr
        wrong = await curl("--insecure", f"http://127.0.0.1:{port}/")
        assert wrong.returncode != 0

    assert run(body, tls=(ANY_PORT, server_context(*certificate))) == []


def test_old_tls_is_refused(certificate: tuple[str, str]) -> None:
    assert server_context(*certificate).minimum_version is ssl.TLSVersion.TLSv1_2


def test_body_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(20_000_000))

    async def body(served: Served) -> None:
        for _ in range(3):
            answer = await curl(served.url + "/deaf", "-H", "Expect:", "-T", str(upload))
            assert answer.stdout.startswith(b'{"body"'), answer.stderr

    assert run(body) == []


def test_client_that_reads_nothing_is_dropped() -> None:
    async def body(served: Served) -> None:
        stream = await served.connect()
        await stream.send_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(0.8)
        received = 0
        try:
            async for chunk in stream:
                received += len(chunk)
        except trio.BrokenResourceError:
            pass  # Reset, or ended early: as good.
        assert received < 50_000_000
        await stream.aclose()

    run(body)


def test_headers_that_never_end_are_not_waited_for() -> None:
    async def body(served: Served) -> None:
        stream = await served.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost:")
        with trio.fail_after(2):
            for _ in range(20):
                try:
                    await stream.send_all(b" ")
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.05)
        await stream.aclose()
        silent = await served.connect()
        with trio.fail_after(2):
            assert await read_all(silent) == b""
        await silent.aclose()

    assert run(body) == []


def test_idle_connections_are_kept_for_a_while_and_requests_may_be_pipelined() -> None:
    async def body(served: Served) -> None:
        stream = await served.connect()
        request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        await stream.send_all(request * 3)
        data = await read_all(stream)
        assert data.count(b"HTTP/1.1 200") == 3
        await stream.aclose()

    assert run(body) == []


def test_client_may_close_its_side_before_the_answer() -> None:
    async def body(served: Served) -> None:
        async with await served.connect() as stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            await stream.send_eof()
            assert b"200" in await read_all(stream)

    assert run(body) == []


def test_crash_of_the_application_is_a_500_and_ends_nothing_else() -> None:
    async def body(served: Served) -> None:
        answer = await curl("-o", "/dev/null", "-w", "%{http_code}", served.url + "/crash")
        assert answer.stdout == b"500"
        assert (await curl(served.url + "/")).returncode == 0
        assert [entry["event"] for entry in served.logged] == ["http_connection.crashed"]

    run(body)


@pytest.mark.parametrize(
    "start",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET " + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_ends_with_its_connection(start: bytes) -> None:
    async def body(served: Served) -> None:
        async with await served.connect() as stream:
            await stream.send_all(start)
            with trio.fail_after(5):
                try:
                    assert b" 200 " not in await read_all(stream)
                except trio.BrokenResourceError:
                    pass
        assert (await curl(served.url + "/")).returncode == 0

    run(body)


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_upgrades_are_passed_over(protocol: bytes) -> None:
    async def body(served: Served) -> None:
        async with await served.connect() as stream:
            head = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nhttp2-settings: AAMA\r\nupgrade: "
            await stream.send_all(head + protocol + b"\r\n\r\n")
            data = await read_all(stream)
            assert b"HTTP/1.1 200" in data and b"101" not in data

    assert run(body) == []


def test_answers_under_way_are_finished_before_the_end() -> None:
    async def body(served: Served) -> None:
        async with trio.open_nursery() as nursery:
            idle = await served.connect()

            async def ask() -> None:
                answer = await curl(served.url + "/slow")
                assert answer.returncode == 0, answer.stderr

            nursery.start_soon(ask)
            await trio.sleep(0.1)
            served.stop.set()
            await trio.sleep(0.05)
            with pytest.raises(OSError, match=r"all attempts to connect .* failed"):
                await served.connect()
            await idle.aclose()

    assert run(body) == []


def test_more_clients_than_allowed_wait_for_their_turn() -> None:
    async def body(served: Served) -> None:
        first = await served.connect()
        answer = await curl(served.url + "/")  # Comes in when the first has said nothing for too long.
        assert answer.returncode == 0
        await first.aclose()

    assert run(body, limits=HttpLimits(connections_max=1, headers_s=0.3)) == []


def test_taken_address_is_the_operators_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("127.0.0.1", taken.getsockname()[1])

        async def main() -> None:
            await serve(echo, plain=address, log=structlog.get_logger())

        with pytest.raises(ConfigError, match="in use"):
            trio.run(main)


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /slow HTTP/1.1\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"A: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"A%d: b\r\n" % number for number in range(3000)) + b"\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
def test_request_that_others_may_read_otherwise_is_refused_and_ends_the_connection(
    request_bytes: bytes, status: int
) -> None:
    async def body(served: Served) -> None:
        stream = await served.connect()
        await stream.send_all(request_bytes + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await read_all(stream)
        await stream.aclose()
        assert answer.startswith(b"HTTP/1.1 %d " % status) and answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in answer.lower()

    assert run(body) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_idle_connections_make_room_for_who_has_something_to_ask(scheme: str, certificate: tuple[str, str]) -> None:
    async def body(served: Served) -> None:
        address = served.bound.tls if scheme == "https" else served.bound.plain
        assert address
        idle = [await trio.open_tcp_stream(address.host, address.port) for _ in range(5)]
        with trio.fail_after(5):
            answer = await curl("-k", f"{scheme}://{address}/slow")
            assert answer.returncode == 0, answer.stderr
            assert await idle[0].receive_some() == b""
        for stream in idle:
            await stream.aclose()

    patient = HttpLimits(connections_max=3)
    assert run(body, limits=patient, tls=(ANY_PORT, server_context(*certificate))) == []
