"""Calls to servers outside the mesh: TLS begun by the sidecar against real OpenSSL."""

import ssl
from typing import Any

import attrs
import pytest
import structlog
import trio

from mesh.config.snapshot import (
    Origination,
    PemSource,
    Snapshot,
    Verification,
)
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address
from mesh.model.security import NamePattern, TlsVersion
from mesh.model.traffic import Protocol, ResponseFlag
from mesh.proxy import sidecar
from mesh.proxy.admin import Admin
from mesh.runtime.real import wall_clock
from tests.mesh.proxy.laboratory import Lab, Upstream, free_port
from tests.mesh.proxy.outside_world import (
    AUTHORITY,
    NAME,
    ROOT,
    STRANGER,
    Names,
    ask_once,
    certificate,
    parts_of,
    run,
    server_context,
    tells,
)


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
    reset = "upstream_reset_before_response_started{remote_connection_failure|TLS_error:_"
    assert detail == "via_upstream" if status == 200 else detail.startswith(reset)


def test_the_log_says_once_why_a_server_is_refused(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        with structlog.testing.capture_logs() as logged:
            lab.sidecar.apply(
                Snapshot.of(*parts_of(lab.port, [Address(NAME, upstream.address.port)], tells(roots=OTHER_ROOT)))
            )
            for _ in range(3):
                assert (await lab.request()).status == 503
        told = [entry for entry in logged if entry["event"] == "endpoint.tls_failed"]
        assert [(entry["cluster"], entry["log_level"]) for entry in told] == [("api", "warning")]
        assert "unable to get local issuer certificate" in told[0]["reason"]
        assert "unable_to_get_local_issuer_certificate" in lab.records[-1].detail

    run(tmp_path, body, None, server=server_context(tmp_path))


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


def test_files_that_are_being_renewed_do_not_interrupt(tmp_path: Any) -> None:
    old, new = certificate(AUTHORITY, "client"), certificate(AUTHORITY, "client")
    host = Host({"/c.pem": old.chain_pem.encode(), "/k.pem": old.private_key_pem.encode()})
    tls = server_context(tmp_path, client_root=AUTHORITY.root_pem)
    shown = tells(roots=ROOT, certificate=PemSource(path="/c.pem"), private_key=PemSource(path="/k.pem"))

    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 200
        pool = lab.sidecar.clusters["api"].pool
        good = pool.security
        with structlog.testing.capture_logs() as logged:
            lab.sidecar._env = lab.sidecar._security._env = attrs.evolve(lab.env, log=structlog.get_logger())
            host.files["/c.pem"] = new.chain_pem.encode()
            for _ in range(2):
                lab.sidecar._reread_host_files()
            assert pool.security is good
            assert (await lab.request()).status == 200
        assert [(entry["event"], entry["cluster"]) for entry in logged] == [("cluster.not_renewed", "api")]
        host.files["/k.pem"] = new.private_key_pem.encode()
        lab.sidecar._reread_host_files()
        assert pool.security is not good
        assert (await lab.request()).status == 200
        # Whoever asks for something else does not get what was good before.
        place = Address(NAME, upstream.address.port)
        other = tells(roots=PemSource(path="/absent.pem"))
        lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], other)))
        assert (await lab.request()).status == 503

    run(tmp_path, body, shown, server=tls, host_files=host)


def test_connections_made_under_laxer_rules_are_not_used_again(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 200
        assert (await lab.request()).status == 200
        assert upstream.connections == 1
        place = Address(NAME, upstream.address.port)
        lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], tells(roots=OTHER_ROOT))))
        assert (await lab.request()).status == 503

    run(tmp_path, body, tells(verification=Verification.SKIP_ALL), server=server_context(tmp_path))


def test_a_request_that_waits_for_a_name_goes_by_the_rules_of_when_it_is_known(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.request)
            await trio.sleep(0.05)
            place = Address(NAME, upstream.address.port)
            lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], tells(roots=ROOT))))
            assert network.gate is not None
            network.gate.set()
        assert lab.records[0].status == 503
        assert upstream.calls == []

    async def main() -> None:
        network.gate = trio.Event()

    network = Names({NAME: ("127.0.0.1",)})
    trio.run(main)
    run(tmp_path, body, None, network=network)


@attrs.define(eq=False)
class Slow:
    """TLS whose handshakes are done only when the gate has been opened."""

    context: Any
    lab: Lab
    reached: trio.Event = attrs.Factory(trio.Event)
    gate: trio.Event = attrs.Factory(trio.Event)

    async def handshake(self, connection: Any) -> Any:
        protected = await self.context.handshake(connection)
        self.reached.set()
        await self.lab.env.reactor.call_trio(self.gate.wait)
        return protected


def test_a_connection_whose_handshake_was_laxer_is_not_used_again(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        contexts: Any = lab.sidecar.clusters["api"].pool.security.context_by_host
        slow = contexts[NAME] = Slow(contexts[NAME], lab)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.request)
            await slow.reached.wait()
            place = Address(NAME, upstream.address.port)
            lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [place], tells(roots=OTHER_ROOT))))
            slow.gate.set()
        assert [record.status for record in lab.records] == [200]
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
