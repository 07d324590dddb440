"""TLS to servers outside the mesh, modelled: who is accepted and refused as with OpenSSL."""

import random
from collections.abc import Callable

import pytest

from mesh.identity.authority import Authority, issue_svid
from mesh.identity.tls import OpenSslTls
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import NamePattern, OriginationTls, ServerTls, Svid, TlsVersion, TrustBundle
from mesh.runtime.environment import Connection, Tls
from mesh.runtime.real.randomness import SystemRandomness
from sim.tls import ModelledTls
from tests.mesh.identity.pumping import MemoryReactor, memory_pair

NOW = 1_800_000_000.0
RANDOM = SystemRandomness(3).stream("serials")
ROOT = Authority.create("outside", now=NOW, serial_random=RANDOM)
STRANGER = Authority.create("outside", now=NOW, serial_random=RANDOM)


def svid(name: str, names: tuple[str, ...] = ()) -> Svid:
    return issue_svid(ROOT, SpiffeId("outside", name), lifetime_s=60.0, now=NOW, serial_random=RANDOM, names=names)


SERVER, CLIENT = svid("/server", ("api.test",)), svid("/client")
NAMES = (NamePattern(value="api.test"),)
SECURED = OriginationTls(roots_pem=ROOT.root_pem, names=NAMES, sni="api.test")

Make = Callable[[float], Tls]


@pytest.fixture(params=["modelled", "real"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "modelled":
        return lambda now: ModelledTls(lambda: now, random.Random(3))
    return lambda now: OpenSslTls(lambda: now)


def shake(
    make: Make, client: OriginationTls, *, asked: bool = False, now: float = NOW + 1.0
) -> list[Connection | Exception]:
    trust = (TrustBundle(trust_domain="outside", roots_pem=(ROOT.root_pem,)),) if asked else ()
    reactor = MemoryReactor()
    left, right = memory_pair(reactor)
    server = make(NOW + 1.0).server(ServerTls(svid=SERVER, trust=trust, require_client_certificate=asked))
    return reactor.run(make(now).originate(client).handshake(left), server.handshake(right))


@pytest.mark.parametrize(
    "config",
    [
        SECURED,
        OriginationTls(roots_pem=ROOT.root_pem),
        OriginationTls(verify_chain=False, names=NAMES),
        OriginationTls(verify_chain=False),
    ],
)
def test_a_server_that_proves_what_is_asked_is_accepted(make: Make, config: OriginationTls) -> None:
    client, _ = shake(make, config)
    assert client.secure and client.peer is None


@pytest.mark.parametrize(
    ("config", "now"),
    [
        (OriginationTls(roots_pem=STRANGER.root_pem), NOW + 1.0),
        (OriginationTls(roots_pem=ROOT.root_pem, names=(NamePattern(value="other"),)), NOW + 1.0),
        (OriginationTls(verify_chain=False, names=(NamePattern(value="other"),)), NOW + 1.0),
        (SECURED, NOW + 61.0),
    ],
)
def test_another_server_is_refused(make: Make, config: OriginationTls, now: float) -> None:
    client, _ = shake(make, config, now=now)
    assert isinstance(client, IdentityError)


def test_a_client_certificate_is_shown(make: Make) -> None:
    config = OriginationTls(
        roots_pem=ROOT.root_pem, certificate_pem=CLIENT.chain_pem, private_key_pem=CLIENT.private_key_pem
    )
    _, server = shake(make, config, asked=True)
    assert server.peer == CLIENT.spiffe_id


def test_what_a_simulation_cannot_have_is_refused_at_once() -> None:
    tls = ModelledTls(lambda: NOW, random.Random(3))
    for config in (OriginationTls(), OriginationTls(roots_pem=ROOT.root_pem, version_max=TlsVersion.TLS11)):
        with pytest.raises(IdentityError):
            tls.originate(config)
