"""Modelled TLS: the round trips, sizes and refusals of TLS 1.2 and 1.3 with certificates truly verified, and no encryption.

Certificates are checked by `mesh.identity.trust` at the host's virtual wall clock, as real TLS does it, so they expire in
virtual time. Left out: encryption, the proof that a peer holds the key of its certificate (nobody in a simulation forges
one), the choice of ciphers, resumption, and the time that cryptography takes. After the handshake the bytes are those of
the connection below, unchanged and at no cost. A server outside the mesh is called alike; no system's roots are known
here, and no TLS below 1.2.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import attrs
from cryptography.hazmat.primitives.asymmetric import ed25519
from trio.abc import HalfCloseableStream

from mesh.identity.certificate import chain_der, decode_chain
from mesh.identity.certificate_path import Fault, PeerRefused, Role, TrustedRoots, verify_path
from mesh.identity.handshake import Done, Farewell, Handshake, plain_alert, shake_connection, shake_stream
from mesh.identity.origination import ServerVerifier
from mesh.identity.tls_session import NO_COMMON_VERSION
from mesh.identity.trust import PathCache, PeerVerifier
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import ClientTls, OriginationTls, ServerTls, Svid, TlsParameters, TlsVersion, TrustBundle
from mesh.runtime.environment import Connection, TlsContext
from sim import tls12_wire as tls12
from sim import tls_wire as wire
from sim.tls_transports import ModelledClientConnection, ModelledStream


@attrs.frozen(kw_only=True, eq=False)
class _Credentials:
    """What one side shows: the records with its chain and the proof that it holds the key, which is none."""

    records: bytes = wire.certificates(()) + wire.proof(0)
    certificates_tls12: bytes = tls12.certificates(())
    signature_bytes: int = 0

    @classmethod
    def of(cls, svid: Svid | None) -> "_Credentials":
        """Raises: IdentityError when the chain cannot be read."""
        return cls() if svid is None else cls.of_chain(svid.chain_pem)

    @classmethod
    def of_chain(cls, chain_pem: str) -> "_Credentials":
        """Raises: IdentityError when the chain cannot be read."""
        chain = decode_chain(chain_pem)
        signature_bytes = 64 if isinstance(chain[0].public_key(), ed25519.Ed25519PublicKey) else 71
        return cls(
            records=wire.certificates(chain_der(chain)) + wire.proof(signature_bytes),
            certificates_tls12=tls12.certificates(chain_der(chain)),
            signature_bytes=signature_bytes,
        )


@attrs.frozen(kw_only=True, eq=False)
class _Shaken:
    """What a handshake brought; `leftover` came behind its last message, and a ticket follows in TLS 1.3."""

    peer: SpiffeId | None
    alpn: str | None
    leftover: bytes
    version: TlsVersion
    sni: str = ""


class _Verifier(Protocol):
    """Says whom a chain proves."""

    def verify(self, chain_der: Sequence[bytes], now: float) -> SpiffeId | None:
        """Raises: PeerRefused."""
        ...


class _OutsideVerifier:
    """Judges servers outside the mesh: by their chain, as OpenSSL would, and by their names."""

    def __init__(self, config: OriginationTls) -> None:
        self._names = ServerVerifier(config)
        self._roots: TrustedRoots | None = None
        if config.verify_chain:
            if not config.roots_pem:
                raise IdentityError("modelled TLS knows no system's roots: name the CA")
            self._roots = TrustedRoots((TrustBundle(trust_domain="", roots_pem=(config.roots_pem,)),))

    def verify(self, chain_der: Sequence[bytes], now: float) -> None:
        """Raises: PeerRefused."""
        if self._roots is not None:
            verify_path(chain_der, self._roots, Role.SERVER, now, any_trust_domain=True)
        self._names.verify(chain_der, now)


class ModelledTls:
    """See `mesh.runtime.environment.Tls`. One a host; `cache` is shared by all hosts of a world."""

    def __init__(self, wall_clock: Callable[[], float], random: Random, *, cache: PathCache | None = None) -> None:
        self._wall_clock = wall_clock
        self._random = random
        self._cache = PathCache() if cache is None else cache

    def client(self, config: ClientTls) -> TlsContext:
        """Prepare to call. Raises: IdentityError."""
        verifier = PeerVerifier(
            config.trust,
            role=Role.SERVER,
            expected_peers=config.expected_peers,
            server_name=config.server_name,
            cache=self._cache,
        )
        sni, versions = config.sni or config.server_name, _versions(config.parameters)
        credentials = _Credentials.of(config.svid)
        return _Client(sni, config.alpn, versions, credentials, verifier, self._wall_clock, self._random)

    def originate(self, config: OriginationTls) -> TlsContext:
        """Prepare to call a server outside the mesh. Raises: IdentityError."""
        versions = _versions(config)
        credentials = _Credentials.of_chain(config.certificate_pem) if config.certificate_pem else _Credentials()
        verifier = _OutsideVerifier(config)
        return _Client(config.sni, config.alpn, versions, credentials, verifier, self._wall_clock, self._random)

    def server(self, config: ServerTls) -> TlsContext:
        """Prepare to be called. Raises: IdentityError."""
        verifier = PeerVerifier(config.trust, role=Role.CLIENT, cache=self._cache)
        credentials, versions = _Credentials.of(config.svid), _versions(config.parameters)
        return _Server(config, versions, credentials, verifier, self._wall_clock, self._random)


def _versions(limits: TlsParameters | OriginationTls) -> tuple[TlsVersion, ...]:
    """Return the versions that one side speaks, ascending. Raises: IdentityError."""
    order = list(TlsVersion)
    lowest, highest = order.index(limits.version_min), order.index(limits.version_max)
    versions = tuple(version for version in wire.VERSION_NUMBER if lowest <= order.index(version) <= highest)
    if not versions:
        limit = limits.version_max.value
        raise IdentityError(f"modelled TLS speaks TLS 1.2 and 1.3 only, and {limit} is the highest allowed")
    return versions


@attrs.frozen(eq=False)
class _Client:
    _sni: str
    _alpn: tuple[str, ...]
    _versions: tuple[TlsVersion, ...]
    _credentials: _Credentials
    _verifier: _Verifier
    _wall_clock: Callable[[], float]
    _random: Random

    async def handshake(self, connection: Connection) -> Connection:
        shaken = await shake_connection(self._shake(), connection)
        connection.unread(shaken.leftover)
        if shaken.version is TlsVersion.TLS12:
            return _secured(connection, shaken)
        return ModelledClientConnection(connection, peer=shaken.peer, alpn=shaken.alpn)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        expects_ticket = shaken.version is TlsVersion.TLS13
        return ModelledStream(stream, shaken.leftover, expects_ticket=expects_ticket), shaken.peer

    def _shake(self) -> Handshake[_Shaken]:
        exchange = wire.MessageExchange()
        exchange.outgoing += wire.client_hello(self._sni, self._alpn, self._random, self._versions)
        version, alpn = wire.read_server_hello((yield from exchange.next_message(wire.SERVER_HELLO)))
        if version not in self._versions:
            raise Farewell(wire.broken(NO_COMMON_VERSION), wire.version_alert())
        if version is TlsVersion.TLS12:
            peer = yield from self._shake_tls12(exchange)
        else:
            alpn, peer = yield from self._shake_tls13(exchange)
        leftover = bytes(exchange.incoming)
        yield Done(exchange.take_outgoing(), _Shaken(peer=peer, alpn=alpn, leftover=leftover, version=version))

    def _shake_tls13(
        self, exchange: wire.MessageExchange
    ) -> Generator[bytes, bytes, tuple[str | None, SpiffeId | None]]:
        alpn = wire.read_encrypted_extensions((yield from exchange.next_message(wire.ENCRYPTED_EXTENSIONS)))
        asked = (yield from exchange.next_kind()) == wire.CERTIFICATE_REQUEST
        if asked:
            yield from exchange.next_message(wire.CERTIFICATE_REQUEST)
        chain = wire.read_certificates((yield from exchange.next_message(wire.CERTIFICATE)))
        yield from exchange.next_message(wire.CERTIFICATE_VERIFY)
        yield from exchange.next_message(wire.FINISHED)
        peer = _verify(self._verifier, chain, self._wall_clock(), wire.alert)
        exchange.outgoing += wire.CHANGE_CIPHER_SPEC
        exchange.outgoing += self._credentials.records if asked else wire.proof(0)
        return alpn, peer

    def _shake_tls12(self, exchange: wire.MessageExchange) -> Generator[bytes, bytes, SpiffeId | None]:
        chain = tls12.read_certificates((yield from exchange.next_message(wire.CERTIFICATE)))
        yield from exchange.next_message(tls12.SERVER_KEY_EXCHANGE)
        asked = (yield from exchange.next_kind()) == wire.CERTIFICATE_REQUEST
        if asked:
            yield from exchange.next_message(wire.CERTIFICATE_REQUEST)
        yield from exchange.next_message(tls12.SERVER_HELLO_DONE)
        peer = _verify(self._verifier, chain, self._wall_clock(), plain_alert)
        shown = self._credentials.certificates_tls12 if asked else b""
        exchange.outgoing += tls12.client_flight(shown, self._credentials.signature_bytes)
        yield from exchange.next_message(wire.NEW_SESSION_TICKET)
        yield from exchange.next_message(wire.FINISHED)
        return peer


@attrs.frozen(eq=False)
class _Server:
    _config: ServerTls
    _versions: tuple[TlsVersion, ...]
    _credentials: _Credentials
    _verifier: PeerVerifier
    _wall_clock: Callable[[], float]
    _random: Random

    async def handshake(self, connection: Connection) -> Connection:
        """Return the same connection, which carries plain bytes from here on and says that they are protected."""
        shaken = await shake_connection(self._shake(), connection)
        connection.unread(shaken.leftover)
        return _secured(connection, shaken)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        return ModelledStream(stream, shaken.leftover, expects_ticket=False), shaken.peer

    def _shake(self) -> Handshake[_Shaken]:
        exchange = wire.MessageExchange()
        hello = wire.read_client_hello((yield from exchange.next_message(wire.CLIENT_HELLO)))
        version = next((version for version in reversed(self._versions) if version in hello.versions), None)
        if version is None:
            raise Farewell(wire.broken(NO_COMMON_VERSION), wire.version_alert())
        alpn = next((name for name in self._config.alpn if name in hello.alpn), None)
        shake = self._shake_tls12 if version is TlsVersion.TLS12 else self._shake_tls13
        peer = yield from shake(exchange, alpn)
        shaken = _Shaken(
            peer=peer, alpn=alpn, leftover=bytes(exchange.incoming), version=version, sni=hello.server_name.lower()
        )
        yield Done(exchange.take_outgoing(), shaken)

    def _shake_tls13(
        self, exchange: wire.MessageExchange, alpn: str | None
    ) -> Generator[bytes, bytes, SpiffeId | None]:
        config = self._config
        exchange.outgoing += wire.server_hello(self._random) + wire.CHANGE_CIPHER_SPEC
        exchange.outgoing += wire.encrypted_extensions(alpn)
        asks = config.require_client_certificate or bool(config.trust)
        if asks:
            exchange.outgoing += wire.certificate_request()
        exchange.outgoing += self._credentials.records
        chain = []
        if asks:
            chain = wire.read_certificates((yield from exchange.next_message(wire.CERTIFICATE)))
        if chain:
            yield from exchange.next_message(wire.CERTIFICATE_VERIFY)
        yield from exchange.next_message(wire.FINISHED)
        peer = None
        if chain or config.require_client_certificate:
            peer = _verify(self._verifier, chain, self._wall_clock(), wire.alert)
        exchange.outgoing += wire.session_ticket()
        return peer

    def _shake_tls12(
        self, exchange: wire.MessageExchange, alpn: str | None
    ) -> Generator[bytes, bytes, SpiffeId | None]:
        config, own = self._config, self._credentials
        asks = config.require_client_certificate or bool(config.trust)
        hello = wire.server_hello_tls12(self._random, alpn)
        exchange.outgoing += tls12.server_flight(hello, own.certificates_tls12, own.signature_bytes, asks=asks)
        chain = []
        if asks:
            chain = tls12.read_certificates((yield from exchange.next_message(wire.CERTIFICATE)))
        yield from exchange.next_message(tls12.CLIENT_KEY_EXCHANGE)
        if chain:
            yield from exchange.next_message(wire.CERTIFICATE_VERIFY)
        yield from exchange.next_message(wire.FINISHED)
        peer = None
        if chain or config.require_client_certificate:
            peer = _verify(self._verifier, chain, self._wall_clock(), plain_alert)
        exchange.outgoing += tls12.server_end()
        return peer


def _secured(connection: Connection, shaken: _Shaken) -> Connection:
    """Return the same connection, which carries plain bytes from here on and says that they are protected."""
    connection.peer = shaken.peer
    connection.secure = True
    connection.sni = shaken.sni
    return connection


def _verify(verifier: _Verifier, chain: list[bytes], now: float, alert: Callable[[Fault], bytes]) -> SpiffeId | None:
    try:
        return verifier.verify(chain, now)
    except PeerRefused as refusal:
        raise Farewell(refusal, alert(refusal.fault)) from None
