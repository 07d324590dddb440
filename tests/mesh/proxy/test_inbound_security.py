"""An inbound listener under mutual TLS: who gets in, and what a change of permissions does to connections that are open."""

import trio

from mesh.config.snapshot import InboundListener, Part, Snapshot, TrustPart
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, Svid, TrustBundle
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import MatchKind, PeerMatch, Permissions
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, read_response, with_sidecar

RANDOM = SystemRandomness(3).stream("serials")
AUTHORITY = Authority.create("mesh", now=wall_clock(), serial_random=RANDOM)
ALLOW_WEB = Permissions(allow=(PeerMatch(spiffe_id_kind=MatchKind.EXACT, spiffe_id="spiffe://mesh/web"),))
NOBODY = Permissions()


def svid(name: str, authority: Authority = AUTHORITY) -> Svid:
    return issue_svid(authority, SpiffeId("mesh", f"/{name}"), lifetime_s=600.0, now=wall_clock(), serial_random=RANDOM)


def inbound(port: int, application: Address, protocol: Protocol, permissions: Permissions, mode: TlsMode) -> list[Part]:
    return [
        TrustPart(trust_domain="mesh", roots_pem=(AUTHORITY.root_pem,)),
        InboundListener(
            name="in",
            address=Address("127.0.0.1", port),
            application=application,
            protocol=protocol,
            tls_mode=mode,
            permissions=permissions,
        ),
    ]


async def ok(call: UpstreamCall) -> None:
    await call.answer()


async def open_tls(port: int, identity: Svid | None) -> trio.abc.HalfCloseableStream:
    trust = (TrustBundle(trust_domain="mesh", roots_pem=(AUTHORITY.root_pem,)),)
    client = OpenSslTls(wall_clock).client(
        ClientTls(svid=identity, trust=trust, expected_peers=(SpiffeId("mesh", "/backend"),))
    )
    stream, _ = await client.handshake_stream(await trio.open_tcp_stream("127.0.0.1", port))
    return stream


def run(tmp_path, body, *, protocol=Protocol.HTTP, permissions=ALLOW_WEB, mode=TlsMode.STRICT):
    async def main() -> None:
        upstream = Upstream([ok])
        async with trio.open_nursery() as nursery:
            await nursery.start(upstream.serve)

            async def in_lab(lab: Lab) -> None:
                def change(permissions: Permissions, mode: TlsMode = TlsMode.STRICT) -> None:
                    parts = inbound(lab.port, upstream.address, protocol, permissions, mode)
                    lab.sidecar.apply(Snapshot.of(*parts))

                lab.sidecar.use_identity(svid("backend"))
                await body(lab, change)

            await with_sidecar(
                tmp_path, lambda port: inbound(port, upstream.address, protocol, permissions, mode), in_lab
            )
            nursery.cancel_scope.cancel()

    trio.run(main)


async def ask(stream) -> int:
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    return (await read_response(stream)).status


def test_permitted_peer_is_let_in_and_told_to_the_application(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab.port, svid("web")) as stream:
            assert await ask(stream) == 200
        assert lab.records[0].peer == "spiffe://mesh/web"

    run(tmp_path, body)


def test_peer_without_permission_is_denied(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab.port, svid("evil")) as stream:
            assert await ask(stream) == 403

    run(tmp_path, body)


def test_taking_a_permission_away_holds_for_open_connections(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab.port, svid("web")) as stream:
            assert await ask(stream) == 200
            change(NOBODY)
            assert await ask(stream) == 403
            change(ALLOW_WEB)
            assert await ask(stream) == 200

    run(tmp_path, body)


def test_plaintext_connection_ends_when_tls_becomes_strict(tmp_path):
    async def body(lab, change):
        async with await trio.open_tcp_stream("127.0.0.1", lab.port) as stream:
            assert await ask(stream) == 200  # Permissive lets in who has no identity; no permission is asked of them.
            change(ALLOW_WEB)
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            try:
                received = await stream.receive_some()
            except trio.BrokenResourceError:
                received = b""
            assert received == b""

    run(tmp_path, body, mode=TlsMode.PERMISSIVE)


def test_opaque_connection_is_reset_when_its_permission_is_taken_away(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab.port, svid("web")) as stream:
            assert await ask(stream) == 200
            change(NOBODY)
            try:
                received = await stream.receive_some()
            except trio.BrokenResourceError:
                received = b""
            assert received == b""

    run(tmp_path, body, protocol=Protocol.TCP)


def test_request_and_end_in_one_piece_leave_nothing_behind(tmp_path):
    async def body(lab, change):
        for _ in range(20):
            async with await open_tls(lab.port, svid("web")) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                await stream.send_eof()
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        await trio.sleep(0.1)
        cluster = next(iter(lab.sidecar.clusters.values()))
        assert (cluster.breaker.requests, cluster.breaker.pending_requests) == (0, 0)
        assert lab.sidecar.drain_state.in_flight == 0

    run(tmp_path, body)
