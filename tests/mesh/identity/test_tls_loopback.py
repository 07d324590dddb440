"""TLS on real sockets: the reactor's connections, and OpenSSL's own client against our server."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import structlog
import trio

from mesh.identity.authority import Authority
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address, SpiffeId
from mesh.model.security import Svid
from mesh.runtime.environment import Connection, TlsContext
from mesh.runtime.reactor import EpollReactor
from tests.mesh.identity.identity_credentials import CART, WEB, authority, client_tls, server_tls, svid

LOOPBACK = Address("127.0.0.1", 0)


class Echo:
    """A server that answers what it receives in capitals and remembers whom it has seen."""

    def __init__(self, reactor: EpollReactor, context: TlsContext) -> None:
        self.seen: list[SpiffeId | None] = []
        self._context = context
        self.listener = reactor.listen(LOOPBACK, self.serve)

    async def serve(self, raw: Connection) -> None:
        connection = await self._context.handshake(raw)
        self.seen.append(connection.peer)
        while data := await connection.receive():
            await connection.send(data.upper())
        connection.close()


@pytest.fixture(scope="module")
def now() -> float:
    return time.time()


@pytest.fixture(scope="module")
def root(now: float) -> Authority:
    return authority(now=now)


@pytest.fixture(scope="module")
def cart(root: Authority, now: float) -> Svid:
    return svid(root, CART, now=now, names=("cart.example",))


@pytest.fixture(scope="module")
def web(root: Authority, now: float) -> Svid:
    return svid(root, WEB, now=now)


def test_megabytes_there_and_back_over_sockets(root: Authority, cart: Svid, web: Svid) -> None:
    async def main() -> None:
        reactor = EpollReactor(log=structlog.get_logger())
        tls = OpenSslTls(time.time)
        echo = Echo(reactor, tls.server(server_tls(root, own=cart)))
        context = tls.client(client_tls(root, own=web))
        data = bytes(range(97, 122)) * 100_000
        finished = trio.Event()
        received = bytearray()

        async def ask() -> None:
            connection = await context.handshake(await reactor.connect(echo.listener.address))

            async def send() -> None:
                await connection.send(data)
                await connection.send_eof()

            reactor.start(send(), name="send")
            while part := await connection.receive():
                received.extend(part)
            connection.close()
            finished.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            reactor.start(ask(), name="ask")
            with trio.fail_after(20):
                await finished.wait()
            nursery.cancel_scope.cancel()
        assert bytes(received) == data.upper()
        assert echo.seen == [WEB]

    trio.run(main)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_openssl_s_client_talks_to_our_server(root: Authority, cart: Svid, web: Svid, tmp_path: Path) -> None:
    async def main() -> None:
        reactor = EpollReactor(log=structlog.get_logger())
        tls = OpenSslTls(time.time, dates_by_openssl=True)
        echo = Echo(reactor, tls.server(server_tls(root, own=cart)))
        (tmp_path / "root.pem").write_text(root.root_pem)
        (tmp_path / "web.pem").write_text(web.chain_pem + web.private_key_pem)
        address = f"127.0.0.1:{echo.listener.address.port}"
        trusting = ["openssl", "s_client", "-connect", address, "-CAfile", str(tmp_path / "root.pem")]
        trusting += ["-verify_return_error", "-verify_hostname", "cart.example"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            with trio.fail_after(20):
                known = await run([*trusting, "-cert", str(tmp_path / "web.pem")], send=b"hello\n")
                unknown = await run(trusting, send=b"hello\n")
            nursery.cancel_scope.cancel()
        assert b"TLSv1.3" in known and b"Verification: OK" in known and b"HELLO" in known
        assert b"alert certificate required" in unknown and b"HELLO" not in unknown
        assert echo.seen == [WEB]

    trio.run(main)


async def run(command: list[str], *, send: bytes) -> bytes:
    """Run a client, give it a line on its standard input, and return its output once it has printed an answer."""
    output = bytearray()
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None and process.stdout is not None
    async with process.stdin, process.stdout:
        await process.stdin.send_all(send)
        async for part in process.stdout:
            output += part
            if b"HELLO" in output or b"alert" in output:
                break
        process.kill()
        await process.wait()
    return bytes(output)


def test_expired_client_hears_of_it_where_openssl_checks_dates_too(root: Authority, cart: Svid, now: float) -> None:
    async def main() -> None:
        reactor = EpollReactor(log=structlog.get_logger())
        echo = Echo(reactor, OpenSslTls(time.time, dates_by_openssl=True).server(server_tls(root, own=cart)))
        expired = svid(root, WEB, now=now - 1000, lifetime_s=10.0)
        context = OpenSslTls(time.time).client(client_tls(root, own=expired))
        heard: list[Exception] = []
        finished = trio.Event()

        async def ask() -> None:
            connection = await context.handshake(await reactor.connect(echo.listener.address))
            try:
                await connection.receive()
            except RefusedByPeer as error:
                heard.append(error)
            connection.close()
            finished.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            reactor.start(ask(), name="ask")
            with trio.fail_after(10):
                await finished.wait()
            nursery.cancel_scope.cancel()
        assert "certificate expired" in str(heard[0])
        assert echo.seen == []

    trio.run(main)
