"""Which servers outside the mesh are taken for the ones that are called, by what their certificates say."""

import gc
import ssl

import pytest
import trio
import trio.testing

from mesh.identity import origination
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import chain_der, decode_chain, subject_alternative_names
from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.origination import ServerVerifier, carries_pattern
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import NamePattern, OriginationTls, ServerTls, TlsVersion
from mesh.runtime.real.randomness import SystemRandomness

NOW = 1_800_000_000.0
RANDOM = SystemRandomness(3).stream("serials")
ROOT = Authority.create("outside", now=NOW, serial_random=RANDOM)
SERVER = issue_svid(
    ROOT, SpiffeId("outside", "/s"), lifetime_s=60.0, now=NOW, serial_random=RANDOM, names=("api.test", "192.0.2.1")
)
CHAIN = chain_der(decode_chain(SERVER.chain_pem))
NAMES = subject_alternative_names(SpiffeId("outside", "/s"), ("API.test", "*.wild.test", "192.0.2.1", "2001:db8::1"))


@pytest.mark.parametrize(
    ("value", "prefix", "carried"),
    [
        ("api.test", False, True),
        ("API.TEST", False, True),
        ("pi.test", False, False),
        ("a.wild.test", False, True),
        ("wild.test", False, False),
        ("192.0.2.1", False, True),
        ("2001:db8:0::1", False, True),
        ("192.0.2.2", False, False),
        ("spiffe://outside/s", False, True),
        ("spiffe://outside", False, False),
        ("api.", True, True),
        ("192.0.", True, True),
        ("spiffe://outside/", True, True),
        ("bpi", True, False),
    ],
)
def test_names_are_compared_as_what_they_are(value: str, prefix: bool, carried: bool) -> None:
    assert carries_pattern(NAMES, NamePattern(value=value, prefix=prefix)) is carried
    assert not carries_pattern(None, NamePattern(value=value, prefix=prefix))


def refusal(config: OriginationTls, chain: tuple[bytes, ...] = CHAIN, now: float = NOW + 1.0) -> Fault | None:
    try:
        ServerVerifier(config).verify(chain, now)
    except PeerRefused as error:
        return error.fault
    return None


def test_a_certificate_is_judged_by_its_dates_and_names() -> None:
    named = OriginationTls(names=(NamePattern(value="api.test"),))
    assert refusal(named) is None
    assert refusal(named, now=NOW + 61.0) is Fault.EXPIRED
    assert refusal(named, now=NOW - 3600.0) is Fault.NOT_YET_VALID
    assert refusal(named, chain=()) is Fault.MISSING
    assert refusal(named, chain=(b"garbage",)) is Fault.MALFORMED
    assert refusal(OriginationTls(names=(NamePattern(value="other"),))) is Fault.WRONG_IDENTITY


def test_whoever_skips_everything_gets_everything() -> None:
    assert refusal(OriginationTls(verify_chain=False), chain=(b"garbage",), now=0.0) is None
    unproven = OriginationTls(verify_chain=False, names=(NamePattern(value="api.test"),))
    assert refusal(unproven, now=NOW + 61.0) is None


def test_what_cannot_be_prepared_is_refused_at_once() -> None:
    tls = OpenSslTls(lambda: NOW)
    for unusable in (
        OriginationTls(roots_pem="-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        OriginationTls(roots_pem="nothing"),
        OriginationTls(roots_pem=ROOT.root_pem, certificate_pem=SERVER.chain_pem, private_key_pem="no key"),
    ):
        with pytest.raises(IdentityError):
            tls.originate(unusable)
    with pytest.raises(ConfigError):
        tls.originate(OriginationTls(sni=".test"))


def test_streams_are_protected_alike() -> None:
    async def main() -> None:
        left, right = trio.testing.memory_stream_pair()
        config = OriginationTls(roots_pem=ROOT.root_pem, names=(NamePattern(value="api.test"),), sni="api.test")
        server = OpenSslTls(lambda: NOW).server(ServerTls(svid=SERVER, require_client_certificate=False))

        async def serve() -> None:
            stream, _ = await server.handshake_stream(right)
            await stream.send_all(await stream.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            stream, peer = await OpenSslTls(lambda: NOW + 1.0).originate(config).handshake_stream(left)
            assert peer is None
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"

    trio.run(main)


def test_servers_that_live_by_the_same_roots_share_what_is_slow_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[OriginationTls] = []
    make = origination._new_context

    def counted(config: OriginationTls, *, dates_by_openssl: bool) -> ssl.SSLContext:
        made.append(config)
        return make(config, dates_by_openssl=dates_by_openssl)

    monkeypatch.setattr(origination, "_new_context", counted)
    tls = OpenSslTls(lambda: NOW)
    contexts = [tls.originate(OriginationTls(sni=f"s{n}.test", names=(NamePattern(value="s"),))) for n in range(9)]
    assert made == [OriginationTls()]
    tls.originate(OriginationTls(version_min=TlsVersion.TLS13))
    assert len(made) == 2
    # Nobody calls by it any more: a later one reads the roots again, which may have been renewed.
    contexts.clear()
    gc.collect()
    tls.originate(OriginationTls())
    assert len(made) == 3
