"""Calls to servers outside the mesh: TLS begun by the sidecar against real OpenSSL, and names resolved by it."""

import ssl
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio

from mesh.config.snapshot import (
    Cluster,
    ClusterEndpoints,
    Endpoint,
    Origination,
    OutboundListener,
    Part,
    PemSource,
    Route,
    Snapshot,
    UpstreamTls,
    Verification,
)
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import ConnectFailed
from mesh.model.names import Address, SpiffeId
from mesh.model.security import NamePattern, TlsVersion
from mesh.model.traffic import Protocol, ResponseFlag
from mesh.proxy import name_resolution, sidecar
from mesh.proxy.admin import Admin
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, free_port, with_sidecar

RANDOM = SystemRandomness(3).stream("serials")
AUTHORITY = Authority.create("outside", now=wall_clock(), serial_random=RANDOM)
STRANGER = Authority.create("outside", now=wall_clock(), serial_random=RANDOM)
NAME = "api.example.com"
ROOT = PemSource(text=AUTHORITY.root_pem)


def certificate(authority: Authority = AUTHORITY, *names: str, lifetime_s: float = 600.0) -> Any:
    return issue_svid(
        authority,
        SpiffeId("outside", "/server"),
        lifetime_s=lifetime_s,
        now=wall_clock(),
        serial_random=RANDOM,
        names=names or (NAME,),
    )


def server_context(folder: Any, own: Any = None, *, client_root: str = "") -> ssl.SSLContext:
    own = own or certificate()
    (folder / "server.pem").write_text(own.chain_pem + own.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if client_root:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_root)
    return context


@attrs.define
class Names:
    """A network that only resolves; `known` is read at each question. A name that is absent is unknown."""

    known: dict[str, Sequence[str]]
    asked: list[str] = attrs.field(factory=list)
    gate: trio.Event | None = None

    async def resolve(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if name not in self.known:
            raise ConnectFailed("dns resolution failure")
        return self.known[name]


def parts_of(
    port: int,
    endpoints: Sequence[Address],
    origination: Origination | None = None,
    *,
    cluster: str = "api",
    priorities: Sequence[int] = (),
) -> list[Part]:
    found = [
        Endpoint(name=str(address), address=address, hostname=address.host, priority=priority)
        for address, priority in zip(endpoints, priorities or [0] * len(endpoints), strict=True)
    ]
    parts: list[Part] = [
        Cluster(name=cluster, protocol=Protocol.HTTP, tls=UpstreamTls() if origination else None),
        ClusterEndpoints(cluster=cluster, endpoints=tuple(found)),
        OutboundListener(
            name=cluster,
            address=Address("127.0.0.1", port),
            protocol=Protocol.HTTP,
            routes=(Route(name=cluster, cluster=cluster),),
        ),
    ]
    return parts if origination is None else [attrs.evolve(origination, cluster=cluster), *parts]


def run(
    tmp_path: Any, body: Any, origination: Origination | None, *, server: ssl.SSLContext | None = None, **env: Any
) -> None:
    """Run `body(lab, upstream)` with the upstream reached as `NAME`, which is 127.0.0.1 unless a network says otherwise."""
    network = env.pop("network", None) or Names({NAME: ("127.0.0.1",)})

    async def main() -> None:
        upstream = Upstream([ok], tls=server)
        async with trio.open_nursery() as nursery:
            await nursery.start(upstream.serve)
            place = Address(NAME, upstream.address.port)
            await with_sidecar(
                tmp_path,
                lambda port: parts_of(port, [place], origination),
                lambda lab: body(lab, upstream),
                network=network,
                **env,
            )
            nursery.cancel_scope.cancel()

    trio.run(main)


async def ok(call: UpstreamCall) -> None:
    await call.answer()


def ask_once(tmp_path: Any, origination: Origination, tls: ssl.SSLContext) -> tuple[int, str]:
    """Return the status of one request, and why it was not answered by the server."""
    answers = []

    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        answers.append((response.status, lab.records[0].detail))

    run(tmp_path, body, origination, server=tls)
    return answers[0]


def tells(**fields: Any) -> Origination:
    return Origination(cluster="api", **fields)


def test_a_server_is_called_by_its_own_name(tmp_path: Any) -> None:
    tls = server_context(tmp_path)
    asked: list[str | None] = []
    tls.sni_callback = lambda _, name, __: asked.append(name)

    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request("GET /x HTTP/1.1\r\nHost: api.extsvc.mesh.local\r\n\r\n")
        assert (response.status, response.body) == (200, b"ok")
        assert b"api.extsvc.mesh.local" not in upstream.calls[0].head
        assert f"host: {NAME}".encode() in upstream.calls[0].head.lower()
        assert lab.records[0].authority == b"api.extsvc.mesh.local"

    run(tmp_path, body, tells(roots=ROOT), server=tls)
    assert asked == [NAME]


OTHER_ROOT = PemSource(text=STRANGER.root_pem)
PREFIX = (NamePattern(value="api.exam", prefix=True),)


@pytest.mark.parametrize(
    ("origination", "status"),
    [
        (tells(roots=ROOT, subject_names=PREFIX), 200),
        (tells(roots=ROOT, subject_names=(NamePattern(value="spiffe://outside/server"),)), 200),
        (tells(roots=ROOT, server_name="other.example.com"), 503),
        (tells(roots=ROOT, server_name="other.example.com", subject_names=PREFIX), 200),
        (tells(roots=ROOT, subject_names=(NamePattern(value="api.exam"),)), 503),
        (tells(roots=OTHER_ROOT), 503),
        (tells(), 503),  # The system's roots do not know it.
        (tells(roots=OTHER_ROOT, verification=Verification.SKIP_SAN), 503),
        (tells(roots=ROOT, server_name="other", verification=Verification.SKIP_SAN), 200),
        (tells(roots=OTHER_ROOT, verification=Verification.SKIP_CA), 200),
        (tells(server_name="other", verification=Verification.SKIP_CA), 503),
        (tells(server_name="other", verification=Verification.SKIP_ALL), 200),
    ],
)
def test_a_server_proves_what_is_asked_of_it(tmp_path: Any, origination: Origination, status: int) -> None:
    answered, detail = ask_once(tmp_path, origination, server_context(tmp_path))
    assert answered == status
    assert detail == (
        "via_upstream" if status == 200 else "upstream_reset_before_response_started{remote_connection_failure}"
    )


def test_a_wildcard_stands_for_one_label(tmp_path: Any) -> None:
    tls = server_context(tmp_path, certificate(AUTHORITY, "*.example.com"))
    assert ask_once(tmp_path, tells(roots=ROOT), tls)[0] == 200
    assert ask_once(tmp_path, tells(roots=ROOT, server_name="a.b.example.com"), tls)[0] == 503


def test_an_expired_certificate_is_refused(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 503

    run(
        tmp_path, body, tells(roots=ROOT), server=server_context(tmp_path), tls=OpenSslTls(lambda: wall_clock() + 601.0)
    )


@pytest.mark.parametrize("version", [TlsVersion.TLS12, TlsVersion.TLS13])
def test_versions_are_kept_to(tmp_path: Any, version: TlsVersion) -> None:
    origination = tells(roots=ROOT, version_min=version, version_max=version)
    tls = server_context(tmp_path)
    assert ask_once(tmp_path, origination, tls)[0] == 200
    wrong = ssl.TLSVersion.TLSv1_3 if version is TlsVersion.TLS12 else ssl.TLSVersion.TLSv1_2
    tls.minimum_version = tls.maximum_version = wrong
    assert ask_once(tmp_path, origination, tls)[0] == 503


@pytest.mark.parametrize(("protocol", "agreed"), [(Protocol.GRPC, "h2"), (Protocol.TCP, None)])
def test_http2_is_agreed_on_with_the_server(tmp_path: Any, protocol: Protocol, agreed: str | None) -> None:
    tls = server_context(tmp_path)
    tls.set_alpn_protocols(["http/1.1", "h2"])
    chosen: list[str | None] = []

    async def body(lab: Lab, upstream: Upstream) -> None:
        parts = parts_of(lab.port, [Address(NAME, upstream.address.port)], tells(roots=ROOT))
        other = [attrs.evolve(p, protocol=protocol) if hasattr(p, "protocol") else p for p in parts]
        lab.sidecar.apply(Snapshot.of(*other))
        security = lab.sidecar.clusters["api"].pool.security
        stream = await trio.open_tcp_stream("127.0.0.1", upstream.address.port)
        protected, _ = await security.context_by_host[NAME].handshake_stream(stream)
        chosen.append(protected.alpn)
        await trio.aclose_forcefully(protected)

    run(tmp_path, body, tells(roots=ROOT), server=tls)
    assert chosen == [agreed]


def test_a_refusal_under_an_old_version_does_not_hang(tmp_path: Any) -> None:
    tls = server_context(tmp_path)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ask_once(tmp_path, tells(roots=ROOT, server_name="other"), tls)[0] == 503


@attrs.define
class Host:
    """The files and variables of the sidecar's host."""

    files: dict[str, bytes] = attrs.field(factory=dict)
    variables: dict[str, str] = attrs.field(factory=dict)

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)


def test_a_client_certificate_lies_in_a_file_and_its_key_in_a_variable(tmp_path: Any) -> None:
    own = certificate(AUTHORITY, "client")
    host = Host({"/c.pem": own.chain_pem.encode()}, {"KEY": own.private_key_pem})
    tls = server_context(tmp_path, client_root=AUTHORITY.root_pem)
    shown = tells(roots=ROOT, certificate=PemSource(path="/c.pem"), private_key=PemSource(variable="KEY"))

    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 200

    run(tmp_path, body, shown, server=tls, host_files=host)


@pytest.mark.parametrize(
    "unusable",
    [
        tells(roots=PemSource(path="/absent.pem")),
        tells(roots=PemSource(variable="ABSENT")),
        tells(roots=PemSource(missing="there is no Secret 'ca'")),
        tells(roots=PemSource(text="no certificate")),
        tells(roots=PemSource(text="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")),
        tells(roots=ROOT, certificate=ROOT, private_key=PemSource(text="-----BEGIN PRIVATE KEY-----\n")),
    ],
)
def test_what_cannot_be_read_closes_its_cluster_and_no_other(tmp_path: Any, unusable: Origination) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        port = free_port()
        place = Address(NAME, upstream.address.port)
        good = parts_of(port, [place], tells(roots=ROOT), cluster="good")
        lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], unusable), *good))
        assert (await lab.request()).status == 503
        assert lab.records[0].flags == (ResponseFlag.UPSTREAM_CONNECTION_FAILURE,)
        assert (await attrs.evolve(lab, port=port).request()).status == 200
        assert upstream.connections == 1

    run(tmp_path, body, unusable, server=server_context(tmp_path), host_files=Host())


def test_without_its_origination_a_cluster_is_not_called_in_plaintext(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        place = Address(NAME, upstream.address.port)
        parts = parts_of(lab.port, [place], tells(roots=ROOT))
        lab.sidecar.apply(Snapshot.of(*parts[1:]))
        assert (await lab.request()).status == 503
        assert upstream.connections == 0

    run(tmp_path, body, None)


def test_a_file_that_is_there_at_last_is_used(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "TICK_S", 0.01)
    monkeypatch.setattr(sidecar, "REREAD_S", 0.01)
    host = Host()

    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 503
        host.files["/ca.pem"] = AUTHORITY.root_pem.encode()
        with trio.fail_after(5):
            while (await lab.request()).status != 200:
                await trio.sleep(0.01)

    run(tmp_path, body, tells(roots=PemSource(path="/ca.pem")), server=server_context(tmp_path), host_files=host)


def test_connections_made_under_laxer_rules_are_not_used_again(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 200
        assert (await lab.request()).status == 200
        assert upstream.connections == 1
        place = Address(NAME, upstream.address.port)
        lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], tells(roots=OTHER_ROOT))))
        assert (await lab.request()).status == 503

    run(tmp_path, body, tells(verification=Verification.SKIP_ALL), server=server_context(tmp_path))


def test_secrets_are_not_in_the_configuration_dump(tmp_path: Any) -> None:
    own = certificate(AUTHORITY, "client")
    shown = tells(
        roots=ROOT, certificate=PemSource(text=own.chain_pem), private_key=PemSource(text=own.private_key_pem)
    )

    async def body(lab: Lab, upstream: Upstream) -> None:
        _, _, dumped = Admin(lab.sidecar)._config_dump()
        assert b"PRIVATE KEY" not in dumped and b"(hidden)" in dumped and b"origination/api" in dumped

    run(tmp_path, body, shown, server=server_context(tmp_path))


# Names.


def test_a_request_waits_until_the_name_is_known(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        async def let_go() -> None:
            await trio.sleep(0.05)
            assert network.gate is not None
            network.gate.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go)
            assert (await lab.request()).status == 200
        assert [endpoint.label for endpoint in lab.sidecar.clusters["api"].endpoints.values()] == [
            str(upstream.address)
        ]
        assert (await lab.request()).status == 200
        assert lab.sidecar.clusters["api"].breaker.connections == 1

    async def main() -> None:
        network.gate = trio.Event()

    network = Names({NAME: ("127.0.0.1",)})
    trio.run(main)
    run(tmp_path, body, None, network=network)


def test_a_name_that_nobody_knows_is_no_endpoint(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 503
        assert lab.records[0].flags == (ResponseFlag.UPSTREAM_CONNECTION_FAILURE,)

    run(tmp_path, body, None, network=Names({}))


def test_waiting_ends_with_the_cluster(tmp_path: Any) -> None:
    network = Names({})

    async def body(lab: Lab, upstream: Upstream) -> None:
        async def take_away() -> None:
            await trio.sleep(0.05)
            lab.sidecar.apply(Snapshot({}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_away)
            assert (await lab.request()).status == 503

    async def main() -> None:
        network.gate = trio.Event()

    trio.run(main)
    run(tmp_path, body, None, network=network)


def test_names_are_asked_for_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_resolution, "REFRESH_S", 0.01)
    network = Names({NAME: ("127.0.0.9",)})

    async def addresses(lab: Lab, wanted: list[str]) -> None:
        with trio.fail_after(5):
            while [e.address.host for e in lab.sidecar.clusters["api"].endpoints.values()] != wanted:
                await trio.sleep(0.01)

    async def body(lab: Lab, upstream: Upstream) -> None:
        await addresses(lab, ["127.0.0.9"])
        assert (await lab.request()).status == 503
        network.known[NAME] = ("127.0.0.2", "127.0.0.1")
        await addresses(lab, ["127.0.0.1", "127.0.0.2"])
        balancer = lab.sidecar.clusters["api"].balancer
        del network.known[NAME]
        asked = len(network.asked)
        while len(network.asked) < asked + 3:
            await trio.sleep(0.01)
        # It keeps what it was, and whoever turned the balancer goes on.
        await addresses(lab, ["127.0.0.1", "127.0.0.2"])
        assert lab.sidecar.clusters["api"].balancer is balancer
        lab.sidecar.apply(Snapshot({}))
        asked = len(network.asked)
        await trio.sleep(0.05)
        assert len(network.asked) <= asked + 1

    run(tmp_path, body, None, network=network)


def test_a_later_priority_is_used_while_the_earlier_ones_are_away(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        near, far = Address("near.test", upstream.address.port), Address("127.0.0.1", upstream.address.port)
        parts = parts_of(lab.port, [near, far], priorities=[0, 1])
        lab.sidecar.apply(Snapshot.of(*parts))
        with trio.fail_after(5):
            while (await lab.request()).status != 200:
                await trio.sleep(0.01)

    run(tmp_path, body, None, network=Names({}))
