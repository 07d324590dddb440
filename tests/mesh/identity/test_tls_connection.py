"""TLS on pumps: OpenSSL over connections in memory, at a wall clock that is not the machine's."""

import itertools
import random
import ssl

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.identity.certificate import KeyType
from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls import OpenSslTls
from mesh.identity.tls_connection import TlsConnection
from mesh.model.errors import BrokenConnection, ClosedConnection, ConfigError, DeadlineExceeded, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, ServerTls
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, client_tls, server_tls, svid
from tests.mesh.identity.pumping import MemoryReactor, memory_pair

ROOT = authority()
WEB_SVID = svid(ROOT, WEB)
CART_SVID = svid(ROOT, CART)
CLIENT_TLS = client_tls(ROOT, own=WEB_SVID)
SERVER_TLS = server_tls(ROOT, own=CART_SVID)


class Link:
    """A client and a server with their raw connections below."""

    def __init__(self, client: ClientTls = CLIENT_TLS, server: ServerTls = SERVER_TLS, *, now: float = NOW) -> None:
        self.reactor = MemoryReactor()
        self.raw_client, self.raw_server = memory_pair(self.reactor)
        self.client_context = OpenSslTls(lambda: now).client(client)
        self.server_context = OpenSslTls(lambda: now).server(server)

    def shake(self) -> list[TlsConnection]:
        return self.reactor.run(
            self.client_context.handshake(self.raw_client), self.server_context.handshake(self.raw_server)
        )

    def again(self) -> list[TlsConnection]:
        self.raw_client, self.raw_server = memory_pair(self.reactor)
        return self.shake()


@pytest.fixture(scope="module")
def link() -> Link:
    return Link()


async def receive_all(connection: TlsConnection) -> bytes:
    parts = []
    while part := await connection.receive():
        assert len(part) <= 256 * 1024
        parts.append(part)
    return b"".join(parts)


async def send_and_end(connection: TlsConnection, *parts: bytes) -> None:
    for part in parts:
        await connection.send(part)
    await connection.send_eof()


def test_both_sides_learn_whom_they_talk_to(link: Link) -> None:
    client, server = link.again()
    assert (client.peer, server.peer) == (CART, WEB)
    assert client.secure and server.secure
    assert client.remote == link.raw_client.remote and server.local == link.raw_server.local


def test_bytes_are_protected_on_the_wire_and_equal_at_the_end(link: Link) -> None:
    client, server = link.again()
    _, received = link.reactor.run(client.send(b"a secret"), server.receive())
    assert received == b"a secret"
    assert b"a secret" not in link.raw_client.wire


@pytest.mark.parametrize("size", [1, 16384, 16385, 262144, 262145, 3_000_000])
def test_sizes_around_records_and_chunks_arrive_whole(link: Link, size: int) -> None:
    client, server = link.again()
    data = random.Random(size).randbytes(size)
    _, received = link.reactor.run(send_and_end(client, data), receive_all(server))
    assert received == data


def test_big_transfers_wait_for_a_slow_peer(link: Link) -> None:
    client, server = link.again()
    client_raw = link.raw_client
    client_raw.room = 10_000
    peak = 0

    async def receive_slowly() -> int:
        nonlocal peak
        total = 0
        while part := await server.receive():
            peak = max(peak, len(link.raw_server._inbox))
            total += len(part)
        return total

    _, total = link.reactor.run(send_and_end(client, b"x" * 1_000_000), receive_slowly())
    assert total == 1_000_000
    assert peak <= 10_000


@settings(max_examples=40, deadline=None)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=40_000), max_size=5),
    bite=st.sampled_from([1, 4, 5, 6, 21, 22, 100, 16406, 70_000]),
)
def test_any_split_of_the_ciphertext_gives_the_same_bytes(messages: list[bytes], bite: int) -> None:
    link = Link()
    client, server = link.shake()
    link.raw_server.bite = bite
    link.raw_server.other.room = 1 << 22
    _, received = link.reactor.run(send_and_end(client, *messages), receive_all(server))
    assert received == b"".join(messages)


@pytest.mark.parametrize("bite", [1, 7, 100])
def test_handshake_survives_any_split(bite: int) -> None:
    link = Link()
    link.raw_client.bite = link.raw_server.bite = bite
    client, server = link.shake()
    assert (client.peer, server.peer) == (CART, WEB)


def test_data_that_comes_with_finished_is_not_lost() -> None:
    link = Link()

    async def talk() -> TlsConnection:
        client = await link.client_context.handshake(link.raw_client)
        await client.send(b"early")  # before the server has seen Finished: both arrive together
        return client

    _, server = link.reactor.run(talk(), link.server_context.handshake(link.raw_server))
    assert link.reactor.run(server.receive()) == [b"early"]


def test_data_with_finished_reaches_who_only_watches() -> None:
    link = Link()
    seen: list[bytes | None] = []

    async def talk() -> TlsConnection:
        client = await link.client_context.handshake(link.raw_client)
        await client.send(b"early")
        return client

    _, server = link.reactor.run(talk(), link.server_context.handshake(link.raw_server))
    server.watch(lambda: seen.append(server.receive_now()))
    link.reactor.spin()
    assert seen == [b"early"]


def test_half_close_leaves_the_other_direction_open(link: Link) -> None:
    client, server = link.again()

    async def answer_after_the_end() -> bytes:
        request = await receive_all(server)
        await server.send(b"answer to " + request)
        server.close()
        return request

    async def ask() -> bytes:
        await send_and_end(client, b"question")
        return await receive_all(client)

    assert link.reactor.run(ask(), answer_after_the_end()) == [b"answer to question", b"question"]


def test_half_close_keeps_what_was_received_and_not_yet_read(link: Link) -> None:
    client, server = link.again()
    link.raw_server.other.room = 1 << 20
    link.reactor.run(client.send(b"x" * 600_000))
    _, first = link.reactor.run(server.send_eof(), server.receive())
    client.close()
    (rest,) = link.reactor.run(receive_all(server))
    assert len(first) + len(rest) == 600_000


def test_nothing_can_be_sent_after_the_end(link: Link) -> None:
    client, _ = link.again()
    _, refused = link.reactor.run(client.send_eof(), client.send(b"more"))
    assert isinstance(refused, ClosedConnection)
    assert link.reactor.run(client.send_eof()) == [None]


def test_close_sends_a_close_notify(link: Link) -> None:
    client, server = link.again()
    before = len(link.raw_client.wire)
    client.close()
    client.close()
    assert len(link.raw_client.wire) - before == 24
    assert link.reactor.run(server.receive(), server.receive()) == [b"", b""]


def test_closed_connection_refuses_everything(link: Link) -> None:
    client, _ = link.again()
    client.close()
    errors = link.reactor.run(client.receive(), client.send(b"x"), client.send_eof())
    assert [type(error) for error in errors] == [ClosedConnection] * 3


def test_end_without_close_notify_is_an_end_between_records(link: Link) -> None:
    client, server = link.again()
    link.reactor.run(client.send(b"whole"), link.raw_client.send_eof())
    assert link.reactor.run(receive_all(server)) == [b"whole"]


@pytest.mark.parametrize("kept", [1, 4, 5, 30])
def test_end_within_a_record_is_a_broken_connection(link: Link, kept: int) -> None:
    client, server = link.again()
    link.reactor.run(client.send(b"whole"), client.send(b"cut" * 30))
    inbox = link.raw_server._inbox
    del inbox[22 + 5 + kept :]
    link.raw_client._end()
    first, second, third = link.reactor.run(server.receive(), server.receive(), server.receive())
    assert first == b"whole"
    assert isinstance(second, BrokenConnection) and "cut" in second.reason
    assert isinstance(third, BrokenConnection)


def test_altered_bytes_break_the_connection_and_the_peer_hears_of_it(link: Link) -> None:
    client, server = link.again()
    link.reactor.run(client.send(b"good"), client.send(b"altered"))
    link.raw_server._inbox[-1] ^= 1
    good, altered = link.reactor.run(server.receive(), server.receive())
    assert good == b"good"
    assert isinstance(altered, BrokenConnection) and not isinstance(altered, IdentityError)
    server.close()
    (heard,) = link.reactor.run(client.receive())
    assert isinstance(heard, BrokenConnection) and "bad record mac" in heard.reason


def test_reset_is_a_broken_connection(link: Link) -> None:
    client, server = link.again()
    client.abort()
    received, sent = link.reactor.run(server.receive(), server.send(b"x"))
    assert isinstance(received, BrokenConnection) and isinstance(sent, BrokenConnection)


def test_bytes_put_back_come_first(link: Link) -> None:
    client, server = link.again()
    link.reactor.run(client.send(b"abc"))
    (data,) = link.reactor.run(server.receive())
    server.unread(data[1:])
    server.unread(data[:1])
    assert server.receive_now() == b"abc"
    assert server.receive_now() is None


def test_send_cut_short_by_a_deadline_never_goes_on(link: Link) -> None:
    client, server = link.again()
    link.raw_client.room = 100

    async def send_with_deadline() -> None:
        try:
            await client.send(b"x" * 1000)
        except DeadlineExceeded:
            with pytest.raises(BrokenConnection):
                await client.send(b"more")

    async def interrupt() -> None:
        writer = link.raw_client._writer
        assert writer is not None
        writer.throw(DeadlineExceeded())

    link.reactor.run(send_with_deadline(), interrupt())
    on_the_wire = len(link.raw_client.wire)
    client.close()
    assert len(link.raw_client.wire) == on_the_wire  # No close_notify into the middle of a record.
    assert isinstance(link.reactor.run(receive_all(server))[0], BrokenConnection)


class Watched:
    def __init__(self, connection: TlsConnection) -> None:
        self.calls = 0
        self.connection = connection
        connection.watch(self.on_event)

    def on_event(self) -> None:
        self.calls += 1


def test_watching_ignores_a_session_ticket(link: Link) -> None:
    client, _ = link.again()
    watched = Watched(client)
    assert len(link.raw_client._inbox) > 100, "the ticket waits"
    link.reactor.spin()
    assert watched.calls == 0
    assert not link.raw_client._inbox


def test_watching_reports_data_and_the_end(link: Link) -> None:
    client, server = link.again()
    watched = Watched(client)
    link.reactor.spin()
    link.reactor.run(server.send(b"unasked"))
    assert watched.calls == 1
    assert client.receive_now() == b"unasked"
    server.close()
    link.reactor.spin()
    assert watched.calls == 2
    assert client.receive_now() == b""


def test_watching_reports_half_a_record_only_when_it_is_whole(link: Link) -> None:
    client, server = link.again()
    watched = Watched(server)
    record = client._session.encrypt(b"slow")
    link.reactor.run(link.raw_client.send(record[:-1]))
    assert watched.calls == 0
    link.reactor.run(link.raw_client.send(record[-1:]))
    assert watched.calls == 1 and server.receive_now() == b"slow"


def test_watching_reports_a_break_that_the_next_receive_raises(link: Link) -> None:
    client, server = link.again()
    watched = Watched(server)
    link.reactor.run(link.raw_client.send(b"\x17\x03\x03\x00\x20" + bytes(32)))
    assert watched.calls == 1
    first, second = link.reactor.run(server.receive(), server.receive())
    assert isinstance(first, BrokenConnection) and isinstance(second, BrokenConnection)
    assert client.receive_now() is None


def test_watching_reports_at_once_an_end_that_came_with_the_last_data(link: Link) -> None:
    client, server = link.again()
    link.reactor.run(server.send(b"bye"))
    server.close()
    assert link.reactor.run(client.receive()) == [b"bye"]
    assert Watched(client).calls == 1


def test_protocol_is_agreed_on() -> None:
    link = Link(
        client_tls(ROOT, own=WEB_SVID, alpn=("h2", "http/1.1")), server_tls(ROOT, own=CART_SVID, alpn=("http/1.1",))
    )
    client, server = link.shake()
    assert (client.alpn, server.alpn) == ("http/1.1", "http/1.1")


def test_second_connection_to_a_server_is_resumed_with_the_same_identities() -> None:
    link = Link()
    client, server = link.shake()
    full = list(link.raw_server.sent)
    link.reactor.run(server.send(b"data brings the ticket"), client.receive())
    client, server = link.again()
    assert sum(link.raw_server.sent) < sum(full) / 1.3
    assert client._session._object.session_reused
    assert (client.peer, server.peer) == (CART, WEB)


def test_resumed_session_of_an_expired_certificate_is_refused() -> None:
    link = Link()
    now = [NOW]
    link.client_context = OpenSslTls(lambda: now[0]).client(CLIENT_TLS)
    client, server = link.shake()
    link.reactor.run(server.send(b"data brings the ticket"), client.receive())
    now[0] = NOW + 2 * DAY_S
    refusal, _ = link.again()
    assert isinstance(refusal, PeerRefused) and refusal.fault is Fault.EXPIRED


# Refusals. Both sides fail, each with the reason it can know.


def test_client_refuses_another_service_and_the_server_learns_why() -> None:
    link = Link(client_tls(ROOT, own=WEB_SVID, expected=(SpiffeId("mesh.example", "/payment"),)))
    client, server = link.shake()
    assert str(client) == "expected spiffe://mesh.example/payment, got spiffe://mesh.example/cart"
    assert client.fault is Fault.WRONG_IDENTITY
    assert isinstance(server, RefusedByPeer) and "access denied" in str(server)
    assert link.raw_client.closed and link.raw_server.closed


@pytest.mark.parametrize(
    ("now", "reason", "alert"),
    [
        (NOW + DAY_S + 1, "expired at 2001-09-10T01:46:40Z; it is 2001-09-10T01:46:41Z", "certificate expired"),
        (NOW - 60, "is not valid before 2001-09-09T01:46:30Z; it is 2001-09-09T01:45:40Z", "certificate unknown"),
    ],
)
def test_dates_are_checked_by_the_wall_clock_given(now: float, reason: str, alert: str) -> None:
    client, server = Link(now=now).shake()
    assert isinstance(client, PeerRefused) and reason in str(client)
    assert isinstance(server, IdentityError) and alert in str(server)


def test_server_refuses_an_expired_client_by_the_wall_clock_given() -> None:
    old = svid(ROOT, WEB, lifetime_s=100.0)
    link = Link(client_tls(ROOT, own=old), now=NOW + 101)
    client, server = link.shake()
    assert isinstance(server, PeerRefused) and server.fault is Fault.EXPIRED
    # In TLS 1.3 the client is done before the server has seen its certificate; OpenSSL lets us send no other alert.
    assert link.reactor.run(client.receive()) == [b""]


def test_client_of_unknown_authority_hears_of_it_when_it_receives() -> None:
    other = authority()
    link = Link(client_tls(ROOT, own=svid(other, WEB)))
    client, server = link.shake()
    assert isinstance(server, PeerRefused) and server.fault is Fault.UNKNOWN_AUTHORITY
    (heard,) = link.reactor.run(client.receive())
    assert isinstance(heard, RefusedByPeer) and "unknown ca" in str(heard)
    assert isinstance(heard, IdentityError) and isinstance(heard, BrokenConnection)


def test_client_without_certificate_is_refused_where_one_is_required() -> None:
    link = Link(client_tls(ROOT, own=None))
    client, server = link.shake()
    assert isinstance(server, PeerRefused) and server.fault is Fault.MISSING
    (heard,) = link.reactor.run(client.receive())
    assert isinstance(heard, RefusedByPeer) and "certificate required" in str(heard)


def test_client_without_certificate_stays_anonymous_where_none_is_required() -> None:
    client, server = Link(client_tls(ROOT, own=None), server_tls(ROOT, own=CART_SVID, required=False)).shake()
    assert client.peer == CART and server.peer is None


def test_server_of_unknown_authority_is_refused() -> None:
    other = authority()
    client, server = Link(server=server_tls(ROOT, own=svid(other, CART))).shake()
    assert isinstance(client, PeerRefused) and client.fault is Fault.UNKNOWN_AUTHORITY
    assert isinstance(server, RefusedByPeer) and "unknown ca" in str(server)


def test_identity_of_a_trust_domain_needs_that_domains_root() -> None:
    other = authority("other.example")
    forged = svid(authority("other.example"), SpiffeId("other.example", "/cart"))
    honest = svid(other, SpiffeId("other.example", "/cart"))
    trust = (ROOT.trust_bundle, other.trust_bundle)
    expected = (SpiffeId("other.example", "/cart"),)
    accepted, _ = Link(
        client_tls(ROOT, own=WEB_SVID, trust=trust, expected=expected), server_tls(ROOT, own=honest)
    ).shake()
    assert accepted.peer == SpiffeId("other.example", "/cart")
    refused, _ = Link(
        client_tls(ROOT, own=WEB_SVID, trust=trust, expected=expected), server_tls(ROOT, own=forged)
    ).shake()
    assert isinstance(refused, PeerRefused)


@pytest.mark.parametrize("name", ["control-plane.example", "10.1.2.3", "::1"])
def test_server_is_known_by_name_where_no_identity_is_expected(name: str) -> None:
    names = ("control-plane.example", "10.1.2.3", "::1")
    own = svid(ROOT, SpiffeId("mesh.example", "/control-plane"), names=names)
    client, server = Link(
        client_tls(ROOT, own=None, expected=(), server_name=name), server_tls(ROOT, own=own, required=False)
    ).shake()
    assert client.peer == SpiffeId("mesh.example", "/control-plane") and server.peer is None
    refused, _ = Link(
        client_tls(ROOT, own=None, expected=(), server_name="other.example"), server_tls(ROOT, own=own, required=False)
    ).shake()
    assert isinstance(refused, PeerRefused) and "expected other.example" in str(refused)


def test_plaintext_instead_of_a_handshake_is_a_broken_connection() -> None:
    link = Link()

    async def speak_http() -> bytes:
        await link.raw_client.send(b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n")
        return await link.raw_client.receive()

    _, server = link.reactor.run(speak_http(), link.server_context.handshake(link.raw_server))
    assert isinstance(server, BrokenConnection) and "http request" in server.reason


def test_older_tls_is_refused() -> None:
    link = Link()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    outbound = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outbound).do_handshake()
    _, server = link.reactor.run(link.raw_client.send(outbound.read()), link.server_context.handshake(link.raw_server))
    assert isinstance(server, BrokenConnection) and "no version of TLS" in server.reason


def test_peer_that_goes_away_during_the_handshake_is_a_broken_connection() -> None:
    link = Link()
    _, server = link.reactor.run(link.raw_client.send_eof(), link.server_context.handshake(link.raw_server))
    assert isinstance(server, BrokenConnection)
    assert link.raw_server.closed


def test_deadline_during_the_handshake_closes_the_connection() -> None:
    link = Link()

    async def interrupt() -> None:
        reader = link.raw_server._reader
        assert reader is not None
        reader.throw(DeadlineExceeded())

    server, _ = link.reactor.run(link.server_context.handshake(link.raw_server), interrupt())
    assert isinstance(server, DeadlineExceeded)
    assert link.raw_server.aborted


@pytest.mark.parametrize("key_type", list(KeyType))
def test_both_kinds_of_keys_work(key_type: KeyType) -> None:
    root = authority(key_type=key_type)
    link = Link(
        client_tls(root, own=svid(root, WEB, key_type=key_type)),
        server_tls(root, own=svid(root, CART, key_type=key_type)),
    )
    client, server = link.shake()
    assert (client.peer, server.peer) == (CART, WEB)


def test_ed25519_handshakes_have_the_same_sizes_every_time() -> None:
    sizes = set()
    for _ in range(5):
        root = authority()
        link = Link(client_tls(root, own=svid(root, WEB)), server_tls(root, own=svid(root, CART)))
        link.shake()
        sizes.add((tuple(link.raw_client.sent), tuple(link.raw_server.sent)))
    assert len(sizes) == 1


def test_key_and_certificate_that_do_not_fit_are_refused() -> None:
    mixed = attrs.evolve(WEB_SVID, private_key_pem=CART_SVID.private_key_pem)
    with pytest.raises(IdentityError, match="cannot be used"):
        OpenSslTls(lambda: NOW).client(client_tls(ROOT, own=mixed))


def test_server_names_that_cannot_be_sent_are_refused() -> None:
    tls = OpenSslTls(lambda: NOW)
    for name in (".example", "x" * 64 + ".example"):
        with pytest.raises(ConfigError):
            tls.client(ClientTls(trust=(), sni=name))


def test_no_secret_stands_in_a_repr(link: Link) -> None:
    client, _ = link.again()
    for shown in (repr(client), repr(WEB_SVID), repr(ROOT), repr(CLIENT_TLS)):
        assert "PRIVATE" not in shown and "key=" not in shown


def test_pings_cost_one_send_each_way(link: Link) -> None:
    client, server = link.again()
    link.reactor.run(client.send(b"x"), server.receive())
    link.raw_client.sent.clear()
    for _ in itertools.repeat(None, 3):
        link.reactor.run(client.send(b"ping"), server.receive())
    assert link.raw_client.sent == [26, 26, 26]
