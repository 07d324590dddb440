"""What an inbound does with each of its callers, through a whole sidecar: rates, faults, permissions, versions of TLS."""

import attrs
import pytest
import trio

from mesh.config.snapshot import InboundListener, Part, Snapshot, TrustPart
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import MeshError
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, Svid, TlsParameters, TlsVersion, TrustBundle
from mesh.model.traffic import Protocol, ResponseFlag, TlsMode
from mesh.policy.authorization import MatchKind, PeerMatch, Permissions
from mesh.policy.fault_injection import Abort, Fault
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.routing import HeaderChanges
from mesh.policy.timeout import CallerTimeouts, Timeouts
from mesh.proxy.plan import HttpPlan, ListenerPlan
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness
from mesh.telemetry.access_log import encode_line
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, read_response, with_sidecar

RANDOM = SystemRandomness(3).stream("serials")
AUTHORITY = Authority.create("mesh", now=wall_clock(), serial_random=RANDOM)
TRUST = (TrustBundle(trust_domain="mesh", roots_pem=(AUTHORITY.root_pem,)),)
EVERYBODY = PeerMatch()
OF_WEB = PeerMatch(spiffe_id="spiffe://mesh/web")
ANY_OF_MESH = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://mesh/")
ONLY_13 = TlsParameters()
ONLY_12 = TlsParameters(version_min=TlsVersion.TLS12, version_max=TlsVersion.TLS12)
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
GRPC = b"POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n"


def svid(name: str) -> Svid:
    return issue_svid(AUTHORITY, SpiffeId("mesh", f"/{name}"), lifetime_s=600.0, now=wall_clock(), serial_random=RANDOM)


async def ok(call: UpstreamCall) -> None:
    await call.answer()


def run(tmp_path, body, *, handler=ok, tls=False, **inbound):
    """Run `body(lab, change)` with an inbound that has these properties; `change` gives it others."""
    mode = TlsMode.STRICT if tls else TlsMode.OFF

    async def main() -> None:
        upstream = Upstream([handler])
        async with trio.open_nursery() as nursery:
            await nursery.start(upstream.serve)

            def parts(port: int, **fields) -> list[Part]:
                usual = {"protocol": Protocol.HTTP, "tls_mode": mode, "permissions": None}
                address = Address("127.0.0.1", port)
                return [
                    TrustPart(trust_domain="mesh", roots_pem=(AUTHORITY.root_pem,)),
                    InboundListener(name="in", address=address, application=upstream.address, **{**usual, **fields}),
                ]

            async def in_lab(lab: Lab) -> None:
                lab.sidecar.use_identity(svid("backend"))
                with trio.fail_after(20):
                    await body(lab, lambda **fields: lab.sidecar.apply(Snapshot.of(*parts(lab.port, **fields))))

            await with_sidecar(tmp_path, lambda port: parts(port, **inbound), in_lab)
            nursery.cancel_scope.cancel()

    trio.run(main)


def listener_plan(lab: Lab) -> ListenerPlan:
    return next(iter(lab.sidecar.listeners.values())).plan


def http_plan(lab: Lab) -> HttpPlan:
    handle = listener_plan(lab).handle
    assert isinstance(handle, HttpPlan)
    return handle


async def records(lab: Lab, count: int):
    while len(lab.records) < count:
        await trio.sleep(0.01)
    return lab.records


async def open_tls(lab: Lab, name: str, *, sni: str = "", parameters: TlsParameters = ONLY_13):
    config = ClientTls(
        svid=svid(name), trust=TRUST, expected_peers=(SpiffeId("mesh", "/backend"),), sni=sni, parameters=parameters
    )
    stream, _ = await OpenSslTls(wall_clock).client(config).handshake_stream(await lab.connect())
    return stream


async def ask(stream, request: bytes = GET):
    await stream.send_all(request)
    return await read_response(stream)


def limited(count: int, match: PeerMatch = EVERYBODY, **answer) -> CallerRateLimit:
    return CallerRateLimit(match=match, limit=RateLimit(rate=Rate(count=count, interval_s=3600.0), **answer))


# Rate limits.


def test_above_the_rate_the_answer_is_envoys(tmp_path):
    async def body(lab, change):
        async with await lab.connect() as stream:
            assert [(await ask(stream)).status for _ in range(2)] == [200, 200]
            refused = await ask(stream)
            assert (refused.status, refused.body) == (429, b"local_rate_limited")
            assert refused.headers["content-type"] == "text/plain"
            call = await ask(stream, GRPC)
            assert (call.status, call.headers["grpc-status"], call.body) == (200, "14", b"")
            assert call.headers["grpc-message"] == "local_rate_limited"
        http = (await records(lab, 4))[2]
        assert (http.status, http.detail, http.tries) == (429, "local_rate_limited", 0)
        assert http.flags == (ResponseFlag.RATE_LIMITED,)
        counts = http_plan(lab).rate_limiter.limiter.counts
        assert (counts.enabled, counts.ok, counts.rate_limited, counts.enforced) == (4, 2, 2, 2)

    run(tmp_path, body, rate_limits=(limited(2),))


def test_answer_has_the_status_and_headers_that_were_asked_for(tmp_path):
    async def body(lab, change):
        assert (await lab.request()).status == 200
        refused = await lab.request()
        assert refused.status == 503
        assert (refused.headers["x-over"], refused.headers["x-more"]) == ("1", "2")
        assert refused.headers["content-type"] == "application/json"
        change(rate_limits=(limited(1, status=200),))
        assert (await lab.request()).status == 429, "an answer that looks like a success is none: Envoy's rule"

    headers = HeaderChanges(set=(("x-over", "1"), ("content-type", "application/json")), add=(("x-more", "2"),))
    run(tmp_path, body, rate_limits=(limited(1, status=503, headers=headers),))


def test_callers_have_limits_of_their_own_and_a_change_keeps_what_they_used(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab, "web") as web, await open_tls(lab, "cart") as cart:
            assert [(await ask(web)).status for _ in range(2)] == [200, 429]
            assert [(await ask(cart)).status for _ in range(3)] == [200, 200, 429]
            # Another setting of the same inbound: the plan is new, the buckets are as empty as before.
            change(rate_limits=limits, timeouts=Timeouts(idle_s=77.0))
            assert [(await ask(peer)).status for peer in (web, cart)] == [429, 429]
            # It counts from the next request on, also on connections that were waiting for it.
            change(rate_limits=(CallerRateLimit(match=OF_WEB), limits[1]))
            assert [(await ask(peer)).status for peer in (web, cart)] == [200, 429]

    limits = (limited(1, OF_WEB), limited(2, ANY_OF_MESH))
    run(tmp_path, body, tls=True, rate_limits=limits)


def test_connections_above_their_rate_are_closed_before_tls(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab, "web") as stream:
            assert (await ask(stream)).status == 200
            with pytest.raises(MeshError):
                await open_tls(lab, "web")
            assert (await ask(stream)).status == 200, "whoever is in stays in"
        counts = listener_plan(lab).connection_limiter.counts
        assert (counts.ok, counts.rate_limited) == (1, 1)

    run(tmp_path, body, tls=True, connection_rate=Rate(count=1, interval_s=3600.0))


# Faults and timeouts.


def test_abort_is_envoys_and_asks_nobody(tmp_path):
    async def body(lab, change):
        async with await lab.connect() as stream:
            aborted = await ask(stream)
            assert (aborted.status, aborted.body) == (418, b"fault filter abort")
            call = await ask(stream, GRPC)
            assert (call.headers["grpc-status"], call.headers["grpc-message"]) == ("2", "fault filter abort")
        first = (await records(lab, 2))[0]
        assert (first.detail, first.flags, first.tries) == ("fault_filter_abort", (ResponseFlag.FAULT_INJECTED,), 0)
        counts = http_plan(lab).faults.injector.counts
        assert (counts.aborts_injected, counts.active) == (2, 0)

    run(tmp_path, body, faults=(Fault(abort=Abort(status=418, percent=100.0)),))


def test_abort_without_a_body_leaves_the_connection_in_order(tmp_path):
    async def body(lab, change):
        async with await lab.connect() as stream:
            assert [(await ask(stream)).status for _ in range(3)] == [204, 204, 204]

    run(tmp_path, body, faults=(Fault(abort=Abort(status=204, percent=100.0)),))


def test_faults_are_for_the_callers_that_they_mean(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab, "web") as web, await open_tls(lab, "cart") as cart:
            assert ((await ask(web)).status, (await ask(cart)).status) == (503, 200)

    run(tmp_path, body, tls=True, faults=(Fault(match=OF_WEB, abort=Abort(status=503, percent=100.0)),))


def test_timeouts_are_for_the_callers_that_they_mean(tmp_path):
    async def slowly(call: UpstreamCall) -> None:
        await trio.sleep(0.4)
        await call.answer()

    async def body(lab, change):
        async with await open_tls(lab, "web") as web, await open_tls(lab, "cart") as cart:
            assert ((await ask(web)).status, (await ask(cart)).status) == (504, 200)

    own = CallerTimeouts(match=OF_WEB, timeouts=Timeouts(request_s=0.1))
    run(tmp_path, body, handler=slowly, tls=True, caller_timeouts=(own,))


# Permissions.


def test_denial_names_the_policy_and_is_counted(tmp_path):
    async def body(lab, change):
        async with await open_tls(lab, "web") as web, await open_tls(lab, "cart") as cart:
            assert [(await ask(peer)).status for peer in (web, cart)] == [403, 200]
            change(permissions=Permissions())
            assert (await ask(cart)).status == 403
        assert [record.detail for record in await records(lab, 3)] == [
            "rbac_access_denied_matched_policy[no-web]",
            "via_upstream",
            "rbac_access_denied_matched_policy[none]",
        ]
        counts = listener_plan(lab).authorizer.counts
        assert (counts.allowed, counts.denied) == (1, 2)

    permissions = Permissions(deny=(attrs.evolve(OF_WEB, origin="no-web"),), allow=(ANY_OF_MESH,))
    run(tmp_path, body, tls=True, permissions=permissions)


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_shadow_denial_lets_in_and_is_logged_and_counted(tmp_path, protocol):
    async def body(lab, change):
        async with await open_tls(lab, "web") as web:
            assert (await ask(web)).status == 200
        (record,) = await records(lab, 1)
        assert record.shadow_denied == "rbac_access_denied_matched_policy[trial]"
        assert b'"shadow_denied":"rbac_access_denied_matched_policy[trial]"' in encode_line(record, clock_offset_s=0.0)
        record.shadow_denied = ""
        assert b"shadow_denied" not in encode_line(record, clock_offset_s=0.0)
        counts = listener_plan(lab).authorizer.counts
        assert (counts.allowed, counts.denied, counts.shadow_denied) == (1, 0, 1)

    permissions = Permissions(allow_with_shadow_deny=(attrs.evolve(OF_WEB, origin="trial"),))
    run(tmp_path, body, tls=True, permissions=permissions, protocol=protocol)


def test_permission_by_the_server_name_that_was_asked_for(tmp_path):
    async def body(lab, change):
        statuses = []
        for sni in ("pay.mesh", "other.mesh", ""):
            async with await open_tls(lab, "web", sni=sni) as stream:
                statuses.append((await ask(stream)).status)
        assert statuses == [200, 403, 403]

    run(tmp_path, body, tls=True, permissions=Permissions(allow=(attrs.evolve(OF_WEB, sni="pay.mesh"),)))


# TLS.


def test_versions_of_tls_are_those_of_the_inbound(tmp_path):
    async def body(lab, change):
        with pytest.raises(MeshError, match="no version of TLS that both sides speak"):
            await open_tls(lab, "web", parameters=ONLY_12)
        change(tls_parameters=attrs.evolve(ONLY_12, version_max=TlsVersion.TLS13))
        for parameters in (ONLY_12, ONLY_13):
            async with await open_tls(lab, "web", parameters=parameters) as stream:
                assert (await ask(stream)).status == 200

    run(tmp_path, body, tls=True)


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_permissive_port_takes_plaintext_and_tls(tmp_path, protocol):
    async def body(lab, change):
        async with await open_tls(lab, "web") as secured, await lab.connect() as plain:
            assert [(await ask(stream)).status for stream in (plain, secured)] == [200, 200]

    run(tmp_path, body, tls_mode=TlsMode.PERMISSIVE, protocol=protocol)


def test_permissive_opaque_port_lets_the_server_speak_first(tmp_path):
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hi"
        await stream.send_all(b"bye")

    async def in_lab(lab: Lab) -> None:
        with trio.fail_after(10):
            async with await lab.connect() as stream:
                assert await stream.receive_some() == b"hello"
                await stream.send_all(b"hi")
                assert await stream.receive_some() == b"bye"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, greet, [listener])
            application = Address("127.0.0.1", listener.socket.getsockname()[1])

            def parts(port: int) -> list[Part]:
                address = Address("127.0.0.1", port)
                mode = TlsMode.PERMISSIVE
                opened = {"application": application, "tls_mode": mode, "permissions": None}
                return [InboundListener(name="in", address=address, **opened)]

            await with_sidecar(tmp_path, parts, in_lab)
            nursery.cancel_scope.cancel()

    trio.run(main)
