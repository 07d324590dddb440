"""Authorities, certificates and TLS configurations for tests, all dated around NOW, which is not the machine's time."""

import random

from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import KeyType
from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, ServerTls, Svid, TrustBundle

NOW = 1_000_000_000.0  # 2001-09-09: a machine that looks at its own clock finds everything expired.
DAY_S = 86400.0

WEB = SpiffeId("mesh.example", "/web")
CART = SpiffeId("mesh.example", "/cart")


def authority(
    trust_domain: str = "mesh.example", *, now: float = NOW, key_type: KeyType = KeyType.ED25519
) -> Authority:
    return Authority.create(trust_domain, now=now, serial_random=random.Random(1), key_type=key_type)


def svid(
    issuer: Authority,
    spiffe_id: SpiffeId,
    *,
    now: float = NOW,
    lifetime_s: float = DAY_S,
    names: tuple[str, ...] = (),
    key_type: KeyType = KeyType.ED25519,
) -> Svid:
    return issue_svid(
        issuer,
        spiffe_id,
        lifetime_s=lifetime_s,
        now=now,
        serial_random=random.Random(str(spiffe_id)),
        names=names,
        key_type=key_type,
    )


def client_tls(
    issuer: Authority,
    *,
    own: Svid | None,
    expected: tuple[SpiffeId, ...] = (CART,),
    trust: tuple[TrustBundle, ...] = (),
    server_name: str = "",
    alpn: tuple[str, ...] = (),
) -> ClientTls:
    return ClientTls(
        trust=trust or (issuer.trust_bundle,),
        svid=own,
        expected_peers=expected,
        server_name=server_name,
        sni="cart.mesh",
        alpn=alpn,
    )


def server_tls(issuer: Authority, *, own: Svid, required: bool = True, alpn: tuple[str, ...] = ()) -> ServerTls:
    return ServerTls(svid=own, trust=(issuer.trust_bundle,), require_client_certificate=required, alpn=alpn)
