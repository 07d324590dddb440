"""Versions of TLS, ciphers and server names: alike with OpenSSL and modelled, in the same round trips."""

import random

import attrs
import pytest

from mesh.identity.certificate import KeyType
from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import BrokenConnection, ConfigError, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import TlsParameters, TlsVersion
from mesh.runtime.environment import Tls
from sim.tls import ModelledTls
from tests.mesh.identity.identity_credentials import CART, NOW, WEB, authority, client_tls, server_tls, svid
from tests.mesh.identity.pumping import MemoryReactor, memory_pair

ROOT = authority()
CLIENT = client_tls(ROOT, own=svid(ROOT, WEB))
SERVER = server_tls(ROOT, own=svid(ROOT, CART))
ONLY_12 = TlsParameters(version_min=TlsVersion.TLS12, version_max=TlsVersion.TLS12)
BOTH = TlsParameters(version_min=TlsVersion.TLS12)
ONLY_13 = TlsParameters()

IMPLEMENTATIONS = {
    "modelled": lambda: ModelledTls(lambda: NOW, random.Random(3)),
    "openssl": lambda: OpenSslTls(lambda: NOW),
}


@pytest.fixture(params=IMPLEMENTATIONS)
def tls(request: pytest.FixtureRequest) -> Tls:
    return IMPLEMENTATIONS[request.param]()


class Link:
    """A client and a server over connections in memory."""

    def __init__(self, tls: Tls, client=CLIENT, server=SERVER) -> None:
        self.reactor = MemoryReactor()
        self.client_context, self.server_context = tls.client(client), tls.server(server)
        self.shake()

    def shake(self) -> None:
        self.raw_client, self.raw_server = memory_pair(self.reactor)
        self.client, self.server = self.reactor.run(
            self.client_context.handshake(self.raw_client), self.server_context.handshake(self.raw_server)
        )

    def flights(self) -> tuple[int, int]:
        return len(self.raw_client.sent), len(self.raw_server.sent)


def between(tls: Tls, client: TlsParameters, server: TlsParameters) -> Link:
    return Link(tls, attrs.evolve(CLIENT, parameters=client), attrs.evolve(SERVER, parameters=server))


@pytest.mark.parametrize(("client", "server"), [(ONLY_12, ONLY_12), (ONLY_12, BOTH), (BOTH, ONLY_12)])
def test_tls12_takes_a_round_trip_more_and_proves_the_same(
    tls: Tls, client: TlsParameters, server: TlsParameters
) -> None:
    link = between(tls, client, server)
    assert (link.client.peer, link.server.peer) == (CART, WEB)
    # In 1.3 the client's second flight ends its handshake. In 1.2 it then waits for the server's second one.
    assert link.flights() == (2, 2)
    assert link.client.receive_now() is None, "no ticket follows"
    assert link.reactor.run(link.client.send(b"ask"), link.server.receive()) == [None, b"ask"]
    assert link.reactor.run(link.server.send(b"answer"), link.client.receive()) == [None, b"answer"]
    link.client.close()
    assert link.reactor.run(link.server.receive()) == [b""]


@pytest.mark.parametrize("side", ["client", "server"])
def test_tls12_client_is_done_only_with_the_servers_second_flight(tls: Tls, side: str) -> None:
    reactor = MemoryReactor()
    raw_client, raw_server = memory_pair(reactor)
    parameters = ONLY_12 if side == "client" else ONLY_13
    client = tls.client(attrs.evolve(CLIENT, parameters=parameters))
    server = tls.server(attrs.evolve(SERVER, parameters=BOTH))
    sent_before_done: list[int] = []

    async def shake_and_note() -> None:
        await client.handshake(raw_client)
        sent_before_done.append(len(raw_server.sent))

    reactor.run(shake_and_note(), server.handshake(raw_server))
    assert sent_before_done == [2 if side == "client" else 1]


def test_the_newest_common_version_is_taken(tls: Tls) -> None:
    link = between(tls, BOTH, BOTH)
    assert link.client.peer == CART
    first_flight = bytes(link.raw_server.wire)
    assert b"\x00\x2b\x00\x02\x03\x04" in first_flight  # supported_versions of a ServerHello: 1.3


@pytest.mark.parametrize(("client", "server"), [(ONLY_12, ONLY_13), (ONLY_13, ONLY_12)])
def test_no_common_version_fails_with_that_reason_on_both_sides(
    tls: Tls, client: TlsParameters, server: TlsParameters
) -> None:
    link = between(tls, client, server)
    for error in (link.client, link.server):
        assert isinstance(error, BrokenConnection) and not isinstance(error, IdentityError)
        assert str(error) == "TLS error: no version of TLS that both sides speak"
    assert link.raw_client.closed and link.raw_server.closed


def test_refusals_reach_the_peer_in_tls12_too(tls: Tls) -> None:
    parameters = attrs.evolve(CLIENT, parameters=ONLY_12)
    server = attrs.evolve(SERVER, parameters=ONLY_12)
    link = Link(tls, attrs.evolve(parameters, expected_peers=(SpiffeId("mesh.example", "/payment"),)), server)
    assert isinstance(link.client, PeerRefused) and link.client.fault is Fault.WRONG_IDENTITY
    stranger = Link(tls, attrs.evolve(parameters, svid=svid(authority(), WEB)), server)
    assert isinstance(stranger.server, PeerRefused) and stranger.server.fault is Fault.UNKNOWN_AUTHORITY
    assert isinstance(stranger.client, RefusedByPeer) and "unknown ca" in str(stranger.client)
    nobody = Link(tls, attrs.evolve(parameters, svid=None), server)
    assert isinstance(nobody.server, PeerRefused) and nobody.server.fault is Fault.MISSING


def test_server_learns_the_name_that_was_asked_for(tls: Tls) -> None:
    for parameters in (ONLY_12, ONLY_13):
        server = attrs.evolve(SERVER, parameters=parameters)
        for name in ("80.web.default.mesh.local", "WEB.Example", ""):
            client = attrs.evolve(CLIENT, sni=name, parameters=parameters)
            assert Link(tls, client, server).server.sni == name.lower()


def test_resumed_connections_name_what_they_ask_for_now() -> None:
    tls = OpenSslTls(lambda: NOW)
    for parameters in (ONLY_12, ONLY_13):
        link = Link(tls, attrs.evolve(CLIENT, parameters=parameters), attrs.evolve(SERVER, parameters=parameters))
        link.reactor.run(link.server.send(b"x"), link.client.receive())
        # Clusters differ in whom they ask for, not in credentials: they share what OpenSSL keeps of a server.
        link.client_context = tls.client(attrs.evolve(CLIENT, sni="other.mesh", parameters=parameters))
        link.shake()
        assert (link.server.sni, link.server.peer, link.client.peer) == ("other.mesh", WEB, CART)


def test_tls12_speaks_the_ciphers_that_were_chosen() -> None:
    root = authority(key_type=KeyType.ECDSA_P256)
    own = (svid(root, WEB, key_type=KeyType.ECDSA_P256), svid(root, CART, key_type=KeyType.ECDSA_P256))
    chacha = attrs.evolve(ONLY_12, ciphers=("ECDHE-ECDSA-CHACHA20-POLY1305",))
    aes = attrs.evolve(ONLY_12, ciphers=("ECDHE-ECDSA-AES128-GCM-SHA256",))
    tls = OpenSslTls(lambda: NOW)

    def link(client: TlsParameters, server: TlsParameters) -> Link:
        return Link(
            tls,
            attrs.evolve(client_tls(root, own=own[0]), parameters=client),
            attrs.evolve(server_tls(root, own=own[1]), parameters=server),
        )

    chosen = link(ONLY_12, chacha)
    assert chosen.client._session._object.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    nothing_common = link(chacha, aes)
    assert isinstance(nothing_common.server, BrokenConnection) and "no shared cipher" in str(nothing_common.server)
    with pytest.raises(ConfigError, match="none of the ciphers"):
        tls.server(attrs.evolve(SERVER, parameters=attrs.evolve(ONLY_12, ciphers=("NO-SUCH-CIPHER",))))


def test_modelled_sizes_of_tls12_are_close_to_openssls() -> None:
    links = [between(make(), ONLY_12, ONLY_12) for make in IMPLEMENTATIONS.values()]
    sizes = [(*link.raw_client.sent, *link.raw_server.sent) for link in links]
    for modelled_bytes, real_bytes, tolerance in zip(*sizes, (0.1, 0.5, 0.5, 0.8), strict=True):
        assert abs(modelled_bytes - real_bytes) <= tolerance * real_bytes, sizes
