"""TLS origination: calling a server outside the mesh, which proves who it is by DNS names, not by a SPIFFE ID.

OpenSSL follows the chain (such servers live by everybody's roots, cross-signatures and name constraints); names, and
dates by the environment's wall clock, are judged here. Sessions are not resumed: each connection proves itself anew.
Source: Envoy UpstreamTlsContext; Kuma MeshExternalService `tls.verification`.
"""

import ssl
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from trio.abc import HalfCloseableStream

from mesh.identity.certificate import decode_chain, names_of, utc
from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import Done, Farewell, Handshake, shake_connection, shake_stream
from mesh.identity.openssl import (
    NO_CHECK_TIME,
    check_sni,
    exchange,
    limit_versions,
    load_own_chain,
    presented_chain,
    refusal_alert,
)
from mesh.identity.tls_connection import TlsConnection
from mesh.identity.tls_session import TlsSession
from mesh.identity.tls_stream import TlsStream
from mesh.identity.trust import carries_name, names_text
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import NamePattern, OriginationTls, TlsVersion
from mesh.runtime.environment import Connection, TlsContext

_OLD = (TlsVersion.TLS10, TlsVersion.TLS11)


class ServerVerifier:
    """What a server's certificate must say beside its chain: the dates and one of the names that are expected."""

    def __init__(self, config: OriginationTls) -> None:
        self._config = config

    def verify(self, chain_der: Sequence[bytes], now: float) -> None:
        """Judge a presented chain, leaf first, whose signatures are another's business. Raises: PeerRefused."""
        config = self._config
        if not (config.verify_chain or config.names):
            return
        if not chain_der:
            raise PeerRefused(Fault.MISSING, "the server presented no certificate")
        try:
            leaf = x509.load_der_x509_certificate(chain_der[0])
            names = names_of(leaf)
        except (ValueError, UnsupportedAlgorithm, IdentityError) as error:
            raise PeerRefused(Fault.MALFORMED, f"the server's certificate cannot be read: {error}") from None
        if config.verify_chain:
            _check_dates(leaf, now)
        if config.names and not any(carries_pattern(names, pattern) for pattern in config.names):
            expected = " or ".join(f"{pattern.value}{'*' if pattern.prefix else ''}" for pattern in config.names)
            raise PeerRefused(Fault.WRONG_IDENTITY, f"expected {expected}, got {names_text(names)}")


def carries_pattern(names: x509.SubjectAlternativeName | None, pattern: NamePattern) -> bool:
    """Is one of the names the pattern's, or does one begin with it? URIs count as they are written."""
    if names is None:
        return False
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not pattern.prefix:
        return pattern.value in uris or carries_name(names, pattern.value)
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return any(name.startswith(pattern.value.lower()) for name in hosts) or any(
        uri.startswith(pattern.value) for uri in uris
    )


class Originator:
    """Prepares calls. Those that differ in names alone share a context of OpenSSL's, which lives as long as they do.

    The system's roots take OpenSSL 50 ms and 1 MB a context (measured), and most servers outside live by them.
    """

    def __init__(self, *, wall_clock: Callable[[], float], dates_by_openssl: bool, scratch: memoryview) -> None:
        self._wall_clock = wall_clock
        self._dates_by_openssl = dates_by_openssl
        self._scratch = scratch
        self._contexts: WeakValueDictionary[OriginationTls, ssl.SSLContext] = WeakValueDictionary()

    def prepare(self, config: OriginationTls) -> TlsContext:
        """Raises: IdentityError (unusable certificate, key or root), ConfigError (SNI)."""
        check_sni(config.sni)
        nameless = attrs.evolve(config, sni="", names=())
        context = self._contexts.get(nameless)
        if context is None:
            context = self._contexts[nameless] = _new_context(nameless, dates_by_openssl=self._dates_by_openssl)
        return _OriginatingContext(context, config.sni, ServerVerifier(config), self._wall_clock, self._scratch)


def _new_context(config: OriginationTls, *, dates_by_openssl: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # Names are judged by ServerVerifier, prefixes and URIs among them.
    limit_versions(context, config.version_min, config.version_max)
    if config.version_min in _OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # Old versions need weak ciphers and signatures.
    if not config.renegotiation:
        context.options |= ssl.OP_NO_RENEGOTIATION
    if not dates_by_openssl:
        context.verify_flags |= NO_CHECK_TIME
    if config.verify_chain:
        _load_roots(context, config.roots_pem)
    else:
        context.verify_mode = ssl.CERT_NONE
    if config.certificate_pem:
        load_own_chain(context, config.certificate_pem, config.private_key_pem, owner="the client")
    if config.alpn:
        context.set_alpn_protocols(list(config.alpn))
    return context


def _load_roots(context: ssl.SSLContext, roots_pem: str) -> None:
    if not roots_pem:
        context.load_default_certs()
        return
    # Read once by us: OpenSSL takes a text without any certificate, and text behind the last one, without complaint.
    if not decode_chain(roots_pem):
        raise IdentityError("the trusted roots hold no certificate")
    try:
        context.load_verify_locations(cadata=roots_pem)
    except ssl.SSLError as error:
        raise IdentityError(f"a trusted root cannot be read: {error.reason}") from error
    # A root that was named is trusted, also where it is an intermediate authority's certificate, as in Envoy.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


@attrs.frozen(kw_only=True, eq=False)
class _Shaken:
    session: TlsSession
    alpn: str | None


@attrs.frozen(eq=False)
class _OriginatingContext:
    _context: ssl.SSLContext
    _sni: str
    _verifier: ServerVerifier
    _wall_clock: Callable[[], float]
    _scratch: memoryview

    async def handshake(self, connection: Connection) -> Connection:
        shaken = await shake_connection(self._shake(), connection)
        return TlsConnection(connection, shaken.session, peer=None, alpn=shaken.alpn)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        return TlsStream(stream, shaken.session, peer=None, alpn=shaken.alpn), None

    def _shake(self) -> Handshake[_Shaken]:
        inbound, outbound = bios = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(inbound, outbound, server_side=False, server_hostname=self._sni or None)
        last_input = yield from exchange(tls, inbound, outbound)
        session = TlsSession(tls, bios, scratch=self._scratch, last_input=last_input)
        try:
            self._verifier.verify(presented_chain(tls), self._wall_clock())
        except PeerRefused as refusal:
            raise Farewell(refusal, refusal_alert(tls, refusal, session)) from None
        yield Done(outbound.read(), _Shaken(session=session, alpn=tls.selected_alpn_protocol()))


def _check_dates(leaf: x509.Certificate, now: float) -> None:
    if now > leaf.not_valid_after_utc.timestamp():
        raise PeerRefused(Fault.EXPIRED, f"the server's certificate expired at {leaf.not_valid_after_utc:%FT%TZ}")
    if now < leaf.not_valid_before_utc.timestamp():
        begins = f"the server's certificate is not valid before {leaf.not_valid_before_utc:%FT%TZ}"
        raise PeerRefused(Fault.NOT_YET_VALID, f"{begins}; it is {utc(now):%FT%TZ}")
