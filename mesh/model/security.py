"""What one side of a mutual TLS connection presents and trusts, as values: who speaks TLS reads them, who issues makes them."""

import enum

import attrs

from mesh.model.names import SpiffeId


@attrs.frozen(kw_only=True)
class TrustBundle:
    """The root certificates of one trust domain, PEM each, newest first. Several stand side by side while roots rotate."""

    trust_domain: str
    roots_pem: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Svid:
    """A workload's X.509 certificate with its private key; the key is never shown. Times are seconds since the epoch."""

    spiffe_id: SpiffeId
    chain_pem: str  # leaf first, then intermediates
    private_key_pem: str = attrs.field(repr=False)
    not_before: float
    not_after: float


class TlsVersion(enum.Enum):
    """A version of TLS. Kuma's words."""

    TLS10 = "TLS10"
    TLS11 = "TLS11"
    TLS12 = "TLS12"
    TLS13 = "TLS13"


@attrs.frozen(kw_only=True)
class TlsParameters:
    """Which versions of TLS sidecars speak with one another, TLS 1.2 or 1.3.

    `ciphers` (OpenSSL's names, the preferred first) count up to TLS 1.2; none: those that OpenSSL takes for good.
    """

    version_min: TlsVersion = TlsVersion.TLS13
    version_max: TlsVersion = TlsVersion.TLS13
    ciphers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ClientTls:
    """How to call: what to present (None: nothing) and whom to accept.

    A peer is accepted when its chain ends in `trust` and it carries one of `expected_peers`, or, where that is empty,
    the name `server_name` (DNS name or IP address) as a subject alternative name. `sni` is sent in the clear.
    """

    trust: tuple[TrustBundle, ...]
    svid: Svid | None = None
    expected_peers: tuple[SpiffeId, ...] = ()
    server_name: str = ""
    sni: str = ""
    alpn: tuple[str, ...] = ()
    parameters: TlsParameters = TlsParameters()


@attrs.frozen(kw_only=True)
class ServerTls:
    """How to be called: what to present, and whether a client certificate that ends in `trust` is required."""

    svid: Svid
    trust: tuple[TrustBundle, ...] = ()
    require_client_certificate: bool = True
    alpn: tuple[str, ...] = ()
    parameters: TlsParameters = TlsParameters()


@attrs.frozen(kw_only=True)
class NamePattern:
    """A subject alternative name that a server must carry, or how one begins."""

    value: str
    prefix: bool = False


@attrs.frozen(kw_only=True)
class OriginationTls:
    """How to call a server outside the mesh, which knows nothing of SPIFFE IDs, and to which we show no identity of ours.

    With `verify_chain` its chain must end in `roots_pem` (empty: in a root of the system). One of `names` must be among
    its subject alternative names; none given: any will do. The certificate, where given, is one made for this server.
    """

    verify_chain: bool = True
    roots_pem: str = attrs.field(default="", repr=False)
    names: tuple[NamePattern, ...] = ()
    sni: str = ""  # empty: none is sent
    certificate_pem: str = attrs.field(default="", repr=False)
    private_key_pem: str = attrs.field(default="", repr=False)
    version_min: TlsVersion = TlsVersion.TLS12
    version_max: TlsVersion = TlsVersion.TLS13
    renegotiation: bool = False  # up to TLS 1.2, where the server asks for it
    alpn: tuple[str, ...] = ()
