"""Modelled TLS: who is accepted and refused as with OpenSSL, in the same round trips, with sizes that repeat."""

import itertools
import random

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from mesh.identity.certificate import KeyType
from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import BrokenConnection, IdentityError
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, ServerTls
from mesh.protocol.detection import Detected, detect
from mesh.runtime.environment import Connection, Tls
from sim import tls_wire
from sim.host import Host
from sim.tls import ModelledTls
from sim.world import EPOCH, World
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, client_tls, server_tls, svid
from tests.mesh.identity.pumping import MemoryReactor, memory_pair

ROOT = authority()
WEB_SVID = svid(ROOT, WEB)
CART_SVID = svid(ROOT, CART)
CLIENT_TLS = client_tls(ROOT, own=WEB_SVID)
SERVER_TLS = server_tls(ROOT, own=CART_SVID)


def modelled(now: float = NOW) -> ModelledTls:
    return ModelledTls(lambda: now, random.Random(3))


class Link:
    """A client and a server over connections in memory."""

    def __init__(
        self, client: ClientTls = CLIENT_TLS, server: ServerTls = SERVER_TLS, *, tls: Tls | None = None
    ) -> None:
        self.reactor = MemoryReactor()
        self.raw_client, self.raw_server = memory_pair(self.reactor)
        tls = tls or modelled()
        self.client_context, self.server_context = tls.client(client), tls.server(server)

    def shake(self) -> list[Connection]:
        return self.reactor.run(
            self.client_context.handshake(self.raw_client), self.server_context.handshake(self.raw_server)
        )


def test_both_sides_learn_whom_they_talk_to() -> None:
    client, server = Link().shake()
    assert (client.peer, server.peer) == (CART, WEB)
    assert client.secure and server.secure


def test_bytes_pass_unchanged_in_both_directions() -> None:
    link = Link()
    client, server = link.shake()
    handshake_bytes = len(link.raw_client.wire)
    assert link.reactor.run(client.send(b"ask"), server.receive()) == [None, b"ask"]
    assert link.raw_client.wire[handshake_bytes:] == b"ask"
    assert link.reactor.run(server.send(b"answer"), client.receive()) == [None, b"answer"]
    assert client.receive == link.raw_client.receive, "nothing stands between once the ticket has come"
    client.close()
    assert link.reactor.run(server.receive()) == [b""]


@pytest.mark.parametrize("bite", [1, 5, 100])
def test_any_split_of_the_bytes_gives_the_same_result(bite: int) -> None:
    link = Link()
    link.raw_client.bite = link.raw_server.bite = bite

    async def ask() -> bytes:
        client = await link.client_context.handshake(link.raw_client)
        await client.send(b"early")
        return await client.receive()

    async def serve() -> bytes:
        server = await link.server_context.handshake(link.raw_server)
        received = b""
        while len(received) < 5:
            received += await server.receive()
        await server.send(b"late")
        return received

    assert link.reactor.run(ask(), serve()) == [b"late"[:bite], b"early"]


def test_first_bytes_are_a_client_hello_with_name_and_protocols() -> None:
    link = Link(client_tls(ROOT, own=WEB_SVID, alpn=("h2", "http/1.1")))
    link.shake()
    first = bytearray(link.raw_client.wire)
    assert detect(bytes(first)) is Detected.TLS
    assert first[:3] == b"\x16\x03\x01"
    found = tls_wire.cut_record(first)
    assert found is not None
    assert tls_wire.read_client_hello(found[1][4:]) == tls_wire.ClientHello(
        server_name="cart.mesh", alpn=("h2", "http/1.1")
    )


def test_openssl_answers_the_client_hello() -> None:
    link = Link(tls=OpenSslTls(lambda: NOW))
    answers: list[bytes] = []

    async def say_hello() -> None:
        await link.raw_client.send(tls_wire.client_hello("cart.mesh", (), random.Random(1)))
        answers.append(await link.raw_client.receive())
        link.raw_client.close()

    link.reactor.run(say_hello(), link.server_context.handshake(link.raw_server))
    assert answers[0][5] == tls_wire.SERVER_HELLO


def test_sizes_and_round_trips_are_close_to_openssls() -> None:
    model, real = Link(), Link(tls=OpenSslTls(lambda: NOW))
    for link in (model, real):
        link.shake()
        assert len(link.raw_client.sent) == len(link.raw_server.sent) == 2
    # OpenSSL sends its root along, and tickets that hold the client's certificate.
    for modelled_bytes, real_bytes, tolerance in zip(
        (*model.raw_client.sent, *model.raw_server.sent),
        (*real.raw_client.sent, *real.raw_server.sent),
        (0.0, 0.5, 0.5, 0.7),
        strict=True,
    ):
        assert abs(modelled_bytes - real_bytes) <= tolerance * real_bytes


@pytest.mark.parametrize("key_type", list(KeyType))
def test_sizes_repeat_with_fresh_keys(key_type: KeyType) -> None:
    sizes = set()
    for _ in range(4):
        root = authority(key_type=key_type)
        link = Link(
            client_tls(root, own=svid(root, WEB, key_type=key_type)),
            server_tls(root, own=svid(root, CART, key_type=key_type)),
        )
        link.shake()
        sizes.add((tuple(link.raw_client.sent), tuple(link.raw_server.sent)))
    assert len(sizes) == 1 or key_type is KeyType.ECDSA_P256


def test_protocol_is_agreed_on() -> None:
    client, _ = Link(
        client_tls(ROOT, own=WEB_SVID, alpn=("h2", "http/1.1")), server_tls(ROOT, own=CART_SVID, alpn=("http/1.1",))
    ).shake()
    assert client.alpn == "http/1.1"  # type: ignore[attr-defined]


# Refusals, the same on both implementations.

IMPLEMENTATIONS = {"modelled": modelled, "openssl": lambda now=NOW: OpenSslTls(lambda: now)}


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest):
    return IMPLEMENTATIONS[request.param]


def test_client_refuses_another_service_and_the_server_learns_why(implementation) -> None:
    link = Link(client_tls(ROOT, own=WEB_SVID, expected=(SpiffeId("mesh.example", "/payment"),)), tls=implementation())
    client, server = link.shake()
    assert str(client) == "expected spiffe://mesh.example/payment, got spiffe://mesh.example/cart"
    assert isinstance(server, RefusedByPeer) and "access denied" in str(server)
    assert link.raw_client.closed and link.raw_server.closed


def test_client_refuses_an_expired_server_at_virtual_time(implementation) -> None:
    link = Link(tls=implementation(NOW + DAY_S + 1))
    client, server = link.shake()
    assert isinstance(client, PeerRefused) and client.fault is Fault.EXPIRED
    assert isinstance(server, RefusedByPeer) and "certificate expired" in str(server)


def test_client_of_unknown_authority_hears_of_it_when_it_receives(implementation) -> None:
    link = Link(client_tls(ROOT, own=svid(authority(), WEB)), tls=implementation())
    client, server = link.shake()
    assert isinstance(server, PeerRefused) and server.fault is Fault.UNKNOWN_AUTHORITY
    first, second = link.reactor.run(client.receive(), client.receive())
    assert isinstance(first, RefusedByPeer) and "unknown ca" in str(first)
    assert isinstance(second, RefusedByPeer)


def test_client_of_unknown_authority_hears_of_it_while_it_watches(implementation) -> None:
    link = Link(client_tls(ROOT, own=svid(authority(), WEB)), tls=implementation())
    client, _ = link.shake()
    calls = itertools.count()
    client.watch(lambda: next(calls))
    link.reactor.spin()
    assert next(calls) == 1
    with pytest.raises(RefusedByPeer):
        client.receive_now()


def test_watching_ignores_a_session_ticket_and_reports_data_and_end(implementation) -> None:
    link = Link(tls=implementation())
    client, server = link.shake()
    calls: list[bytes | None] = []
    client.watch(lambda: calls.append(client.receive_now()))
    link.reactor.spin()
    assert calls == []
    link.reactor.run(server.send(b"unasked"))
    assert calls == [b"unasked"]
    server.close()
    link.reactor.spin()
    assert calls == [b"unasked", b""]


def test_client_without_certificate(implementation) -> None:
    anonymous = client_tls(ROOT, own=None)
    link = Link(anonymous, tls=implementation())
    client, server = link.shake()
    assert isinstance(server, PeerRefused) and server.fault is Fault.MISSING
    (heard,) = link.reactor.run(client.receive())
    assert isinstance(heard, RefusedByPeer) and "certificate required" in str(heard)
    for trust in (ROOT.trust_bundle,), ():
        server_config = ServerTls(svid=CART_SVID, trust=trust, require_client_certificate=False)
        client, server = Link(anonymous, server_config, tls=implementation()).shake()
        assert client.peer == CART and server.peer is None


def test_server_known_by_its_name(implementation) -> None:
    own = svid(ROOT, SpiffeId("mesh.example", "/control-plane"), names=("control-plane", "10.0.0.1"))
    config = ServerTls(svid=own, require_client_certificate=False)
    trust = (ROOT.trust_bundle,)
    for name, accepted in (("control-plane", True), ("10.0.0.1", True), ("10.0.0.2", False)):
        link = Link(ClientTls(trust=trust, server_name=name, sni=name), config, tls=implementation())
        client, _ = link.shake()
        assert isinstance(client, IdentityError) is not accepted


def test_plaintext_instead_of_a_handshake_is_a_broken_connection(implementation) -> None:
    link = Link(tls=implementation())
    _, server = link.reactor.run(
        link.raw_client.send(b"GET / HTTP/1.1\r\n\r\n"), link.server_context.handshake(link.raw_server)
    )
    assert isinstance(server, BrokenConnection) and not isinstance(server, IdentityError)


def test_peer_that_goes_away_is_a_broken_connection(implementation) -> None:
    link = Link(tls=implementation())
    _, server = link.reactor.run(link.raw_client.send_eof(), link.server_context.handshake(link.raw_server))
    assert isinstance(server, BrokenConnection)


def test_end_in_place_of_the_ticket_is_an_end() -> None:
    link = Link()

    async def vanish() -> None:
        server = await link.server_context.handshake(link.raw_server)
        link.raw_client._inbox.clear()
        server.close()

    client, _ = link.reactor.run(link.client_context.handshake(link.raw_client), vanish())
    assert link.reactor.run(client.receive()) == [b""]


# Streams.


async def stream_pair(client: ClientTls = CLIENT_TLS, server: ServerTls = SERVER_TLS) -> list[object]:
    left, right = trio.testing.memory_stream_pair()
    results: dict[str, object] = {}

    async def keep(side: str, handshake) -> None:
        try:
            results[side] = await handshake
        except (IdentityError, BrokenConnection) as error:
            results[side] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, "client", modelled().client(client).handshake_stream(left))
        nursery.start_soon(keep, "server", modelled().server(server).handshake_stream(right))
    return [results["client"], results["server"]]


def test_stream_keeps_trios_contract() -> None:
    async def make() -> tuple[HalfCloseableStream, HalfCloseableStream]:
        (client, _), (server, _) = await stream_pair()  # type: ignore[misc]
        return client, server

    async def main() -> None:
        with trio.fail_after(20):
            await trio.testing.check_half_closeable_stream(make, None)

    trio.run(main)


def test_streams_learn_whom_they_talk_to_and_why_not() -> None:
    async def main() -> None:
        (client, seen), (server, seen_by_server) = await stream_pair()  # type: ignore[misc]
        assert (seen, seen_by_server) == (CART, WEB)
        await server.send_all(b"answer")
        assert await client.receive_some(3) == b"ans"
        assert await client.receive_some() == b"wer"
        (client, _), refusal = await stream_pair(client_tls(ROOT, own=svid(authority(), WEB)))  # type: ignore[misc]
        assert isinstance(refusal, PeerRefused)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="unknown ca"):
                await client.receive_some()

    trio.run(main)


# In the simulated world.


@pytest.mark.parametrize("kind", list(IMPLEMENTATIONS))
def test_worlds_with_tls_repeat_and_expire_in_virtual_time(kind: str) -> None:
    assert world_hash(kind) == world_hash(kind)


def world_hash(kind: str) -> str:
    root = authority(now=EPOCH)
    cart, web = svid(root, CART, now=EPOCH, lifetime_s=60.0), svid(root, WEB, now=EPOCH)

    def make_tls(host: Host) -> Tls:
        if kind == "openssl":
            return OpenSslTls(host.wall_clock)
        return ModelledTls(host.wall_clock, host.world.randomness.stream("tls", host.name))

    async def serve(host: Host) -> None:
        env = host.environment
        context = env.tls.server(server_tls(root, own=cart))

        async def echo(raw: Connection) -> None:
            connection = await context.handshake(raw)
            while data := await connection.receive():
                await connection.send(data)

        env.reactor.listen(Address("0.0.0.0", 443), echo)

    world = World(seed=1, tls_factory=make_tls)
    server = world.add_host("cart", boot=serve)
    client = world.add_host("web", boot=_stay)

    async def ask() -> bytes:
        context = client.environment.tls.client(client_tls(root, own=web))
        stream, peer = await context.handshake_stream(
            await client.environment.network.connect(Address(server.address, 443))
        )
        assert peer == CART
        async with stream:
            await stream.send_all(b"hello")
            return bytes(await stream.receive_some())

    async def main(_: World) -> None:
        assert await ask() == b"hello"
        await trio.sleep(61)
        with pytest.raises(PeerRefused, match="expired at 2026-01-01T00:01:00Z"):
            await ask()

    return world.run(main).event_hash


async def _stay(_: Host) -> None:
    await trio.sleep_forever()
