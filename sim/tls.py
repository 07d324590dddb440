"""Modelled TLS: the round trips, sizes and refusals of TLS 1.3 with certificates truly verified, and no encryption.

Certificates are checked by `mesh.identity.trust` at the host's virtual wall clock, as real TLS does it, so they expire in
virtual time. Left out: encryption, the proof that a peer holds the key of its certificate (nobody in a simulation forges
one), resumption, and the time that cryptography takes. After the handshake the bytes are those of the connection below,
unchanged and at no cost. A server outside the mesh is called alike; no system's roots are known here, and no TLS below 1.3.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from cryptography.hazmat.primitives.asymmetric import ed25519
from trio.abc import HalfCloseableStream

from mesh.identity.certificate import chain_der, decode_chain
from mesh.identity.certificate_path import PeerRefused, Role, TrustedRoots, verify_path
from mesh.identity.handshake import Done, Farewell, Handshake, shake_connection, shake_stream
from mesh.identity.origination import ServerVerifier
from mesh.identity.trust import PathCache, PeerVerifier
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import ClientTls, OriginationTls, ServerTls, Svid, TlsVersion, TrustBundle
from mesh.runtime.environment import Connection, TlsContext
from sim import tls_wire as wire
from sim.tls_transports import ModelledClientConnection, ModelledStream


@attrs.frozen(kw_only=True, eq=False)
class _Credentials:
    """What one side shows: the records with its chain and the proof that it holds the key, which is none."""

    records: bytes = wire.certificates(()) + wire.proof(0)

    @classmethod
    def of(cls, svid: Svid | None) -> "_Credentials":
        """Raises: IdentityError when the chain cannot be read."""
        return cls() if svid is None else cls.of_chain(svid.chain_pem)

    @classmethod
    def of_chain(cls, chain_pem: str) -> "_Credentials":
        """Raises: IdentityError when the chain cannot be read."""
        chain = decode_chain(chain_pem)
        is_ed25519 = isinstance(chain[0].public_key(), ed25519.Ed25519PublicKey)
        return cls(records=wire.certificates(chain_der(chain)) + wire.proof(64 if is_ed25519 else 71))


@attrs.frozen(kw_only=True, eq=False)
class _Shaken:
    """What a handshake brought; `leftover` came behind its last message."""

    peer: SpiffeId | None
    alpn: str | None
    leftover: bytes


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
        sni = config.sni or config.server_name
        return _Client(sni, config.alpn, _Credentials.of(config.svid), verifier, self._wall_clock, self._random)

    def originate(self, config: OriginationTls) -> TlsContext:
        """Prepare to call a server outside the mesh. Raises: IdentityError."""
        if config.version_max is not TlsVersion.TLS13:
            raise IdentityError(
                f"modelled TLS speaks TLS 1.3 only, and {config.version_max.value} is the highest allowed"
            )
        credentials = _Credentials.of_chain(config.certificate_pem) if config.certificate_pem else _Credentials()
        verifier = _OutsideVerifier(config)
        return _Client(config.sni, config.alpn, credentials, verifier, self._wall_clock, self._random)

    def server(self, config: ServerTls) -> TlsContext:
        """Prepare to be called. Raises: IdentityError."""
        verifier = PeerVerifier(config.trust, role=Role.CLIENT, cache=self._cache)
        return _Server(config, _Credentials.of(config.svid), verifier, self._wall_clock, self._random)


@attrs.frozen(eq=False)
class _Client:
    _sni: str
    _alpn: tuple[str, ...]
    _credentials: _Credentials
    _verifier: _Verifier
    _wall_clock: Callable[[], float]
    _random: Random

    async def handshake(self, connection: Connection) -> Connection:
        shaken = await shake_connection(self._shake(), connection)
        connection.unread(shaken.leftover)
        return ModelledClientConnection(connection, peer=shaken.peer, alpn=shaken.alpn)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        return ModelledStream(stream, shaken.leftover, expects_ticket=True), shaken.peer

    def _shake(self) -> Handshake[_Shaken]:
        exchange = wire.MessageExchange()
        exchange.outgoing += wire.client_hello(self._sni, self._alpn, self._random)
        yield from exchange.next_message(wire.SERVER_HELLO)
        alpn = wire.read_encrypted_extensions((yield from exchange.next_message(wire.ENCRYPTED_EXTENSIONS)))
        asked = (yield from exchange.next_kind()) == wire.CERTIFICATE_REQUEST
        if asked:
            yield from exchange.next_message(wire.CERTIFICATE_REQUEST)
        chain = wire.read_certificates((yield from exchange.next_message(wire.CERTIFICATE)))
        yield from exchange.next_message(wire.CERTIFICATE_VERIFY)
        yield from exchange.next_message(wire.FINISHED)
        peer = _verify(self._verifier, chain, self._wall_clock())
        exchange.outgoing += wire.CHANGE_CIPHER_SPEC
        exchange.outgoing += self._credentials.records if asked else wire.proof(0)
        yield Done(exchange.take_outgoing(), _Shaken(peer=peer, alpn=alpn, leftover=bytes(exchange.incoming)))


@attrs.frozen(eq=False)
class _Server:
    _config: ServerTls
    _credentials: _Credentials
    _verifier: PeerVerifier
    _wall_clock: Callable[[], float]
    _random: Random

    async def handshake(self, connection: Connection) -> Connection:
        """Return the same connection, which carries plain bytes from here on and says that they are protected."""
        shaken = await shake_connection(self._shake(), connection)
        connection.unread(shaken.leftover)
        connection.peer = shaken.peer
        connection.secure = True
        return connection

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        return ModelledStream(stream, shaken.leftover, expects_ticket=False), shaken.peer

    def _shake(self) -> Handshake[_Shaken]:
        config, exchange = self._config, wire.MessageExchange()
        hello = wire.read_client_hello((yield from exchange.next_message(wire.CLIENT_HELLO)))
        alpn = next((name for name in config.alpn if name in hello.alpn), None)
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
            peer = _verify(self._verifier, chain, self._wall_clock())
        exchange.outgoing += wire.session_ticket()
        yield Done(exchange.take_outgoing(), _Shaken(peer=peer, alpn=alpn, leftover=bytes(exchange.incoming)))


def _verify(verifier: _Verifier, chain: list[bytes], now: float) -> SpiffeId | None:
    try:
        return verifier.verify(chain, now)
    except PeerRefused as refusal:
        raise Farewell(refusal, wire.alert(refusal.fault)) from None
