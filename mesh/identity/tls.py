"""TLS by OpenSSL, 1.3 unless told otherwise, for pumps and for Trio streams.

On whatever carries bytes: sockets or the simulated network. OpenSSL proves that the peer holds the key of a certificate
from our roots. Whom that makes the peer, and whether the certificates are valid now, judges `trust` at the environment's
wall clock, which OpenSSL does not know.
"""

import ssl
from collections import OrderedDict
from collections.abc import Callable

import attrs
from trio.abc import HalfCloseableStream

from mesh.identity.certificate_path import PeerRefused, Role
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
from mesh.identity.origination import Originator
from mesh.identity.tls_connection import TlsConnection
from mesh.identity.tls_session import SCRATCH_BYTES, TlsSession
from mesh.identity.tls_stream import TlsStream
from mesh.identity.trust import PathCache, PeerVerifier
from mesh.model.errors import ConfigError, IdentityError, Violation
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, OriginationTls, ServerTls, Svid, TlsParameters, TrustBundle
from mesh.runtime.environment import Connection, TlsContext

CONTEXTS_MAX = 32
SESSIONS_MAX = 1024  # Kept for resumption, one a server.
TICKETS = 1  # Sent by a server after each handshake; each costs it 200 us.


@attrs.define(eq=False)
class _ClientSide:
    """OpenSSL's context for one set of credentials, and the sessions that it can resume."""

    context: ssl.SSLContext
    # By server and name: up to TLS 1.2 a resumed connection has the name that was asked for at first.
    sessions: OrderedDict[tuple[Address, str], ssl.SSLSession] = attrs.field(factory=OrderedDict)

    def keep(self, server: tuple[Address, str], session: ssl.SSLSession | None) -> None:
        if session is None or not session.has_ticket:
            return
        self.sessions[server] = session
        if len(self.sessions) > SESSIONS_MAX:
            self.sessions.popitem(last=False)


@attrs.frozen(kw_only=True, eq=False)
class _Shaken:
    """What a handshake brought."""

    session: TlsSession
    peer: SpiffeId | None
    alpn: str | None
    sni: str = ""


class _ServerObject(ssl.SSLObject):
    """OpenSSL's side of one connection to us, with the name that its client asked for."""

    sni = ""


def _note_server_name(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
    assert isinstance(tls, _ServerObject)
    tls.sni = (name or "").lower()


class OpenSslTls:
    """See `mesh.runtime.environment.Tls`. One a host; its contexts share what they have verified.

    With `dates_by_openssl`, OpenSSL checks dates by the machine's clock as well, so that a client whose certificate
    has expired is told so by an alert; else a server can only close. For wall clocks that are the machine's.
    """

    def __init__(
        self, wall_clock: Callable[[], float], *, dates_by_openssl: bool = False, cache: PathCache | None = None
    ) -> None:
        """`cache` may be shared with other hosts of a simulation."""
        self._wall_clock = wall_clock
        self._dates_by_openssl = dates_by_openssl
        self._cache = PathCache() if cache is None else cache
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._originator = Originator(wall_clock=wall_clock, dates_by_openssl=dates_by_openssl, scratch=self._scratch)
        # Clusters differ in whom they expect, not in credentials: they share OpenSSL's context, which is slow to make.
        self._client_sides: OrderedDict[ClientTls, _ClientSide] = OrderedDict()

    def client(self, config: ClientTls) -> TlsContext:
        """Prepare to call. Raises: IdentityError (unusable certificate, key or root), ConfigError (SNI, ciphers)."""
        sni = config.sni or config.server_name
        check_sni(sni)
        verifier = PeerVerifier(
            config.trust,
            role=Role.SERVER,
            expected_peers=config.expected_peers,
            server_name=config.server_name,
            cache=self._cache,
        )
        return _ClientContext(self._client_side(config), sni, verifier, self._wall_clock, self._scratch)

    def server(self, config: ServerTls) -> TlsContext:
        """Prepare to be called. Raises: IdentityError (unusable certificate, key or root), ConfigError (ciphers)."""
        context = self._new_context(ssl.PROTOCOL_TLS_SERVER, config.trust, config.alpn, config.parameters)
        context.num_tickets = TICKETS
        context.sslobject_class = _ServerObject
        context.sni_callback = _note_server_name
        if config.require_client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
        else:
            context.verify_mode = ssl.CERT_OPTIONAL if config.trust else ssl.CERT_NONE
        _load_svid(context, config.svid)
        verifier = PeerVerifier(config.trust, role=Role.CLIENT, cache=self._cache)
        return _ServerContext(context, verifier, self._wall_clock, self._scratch)

    def originate(self, config: OriginationTls) -> TlsContext:
        """Prepare to call a server outside the mesh. Raises: IdentityError, ConfigError, as `client`."""
        return self._originator.prepare(config)

    def _client_side(self, config: ClientTls) -> _ClientSide:
        key = attrs.evolve(config, expected_peers=(), server_name="", sni="")
        side = self._client_sides.get(key)
        if side is None:
            context = self._new_context(ssl.PROTOCOL_TLS_CLIENT, config.trust, config.alpn, config.parameters)
            if config.svid is not None:
                _load_svid(context, config.svid)
            side = self._client_sides[key] = _ClientSide(context)
            if len(self._client_sides) > CONTEXTS_MAX:
                self._client_sides.popitem(last=False)
        return side

    def _new_context(
        self, protocol: int, trust: tuple[TrustBundle, ...], alpn: tuple[str, ...], parameters: TlsParameters
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        limit_versions(context, parameters.version_min, parameters.version_max)
        context.options |= ssl.OP_NO_RENEGOTIATION
        if parameters.ciphers:
            _choose_ciphers(context, parameters.ciphers)
        context.check_hostname = False  # The verifier checks names, SPIFFE IDs among them.
        if not self._dates_by_openssl:
            context.verify_flags |= NO_CHECK_TIME
        roots = "".join(pem for bundle in trust for pem in bundle.roots_pem)
        if roots:
            try:
                context.load_verify_locations(cadata=roots)
            except ssl.SSLError as error:
                raise IdentityError(f"a trusted root cannot be read: {error.reason}") from error
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@attrs.frozen(eq=False)
class _ClientContext:
    _side: _ClientSide
    _sni: str
    _verifier: PeerVerifier
    _wall_clock: Callable[[], float]
    _scratch: memoryview

    async def handshake(self, connection: Connection) -> Connection:
        shaken = await shake_connection(self._shake(connection.remote), connection)
        return TlsConnection(connection, shaken.session, peer=shaken.peer, alpn=shaken.alpn)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        # A stream does not know its server, so nothing can be resumed.
        shaken = await shake_stream(self._shake(None), stream)
        return TlsStream(stream, shaken.session, peer=shaken.peer, alpn=shaken.alpn), shaken.peer

    def _shake(self, address: Address | None) -> Handshake[_Shaken]:
        server = None if address is None else (address, self._sni)
        inbound, outbound = bios = ssl.MemoryBIO(), ssl.MemoryBIO()
        resumable = None if server is None else self._side.sessions.get(server)
        tls = self._side.context.wrap_bio(
            inbound, outbound, server_side=False, server_hostname=self._sni or None, session=resumable
        )
        last_input = yield from exchange(tls, inbound, outbound)

        def keep_session(tls: ssl.SSLObject) -> None:
            if server is not None:
                self._side.keep(server, tls.session)

        session = TlsSession(
            tls,
            bios,
            scratch=self._scratch,
            last_input=last_input,
            # The ticket comes ahead of the first data.
            on_data=None if server is None or tls.session_reused else keep_session,
        )
        try:
            peer = self._verifier.verify(presented_chain(tls), self._wall_clock())
        except PeerRefused as refusal:
            if server is not None:
                self._side.sessions.pop(server, None)
            raise Farewell(refusal, refusal_alert(tls, refusal, session)) from None
        yield Done(outbound.read(), _Shaken(session=session, peer=peer, alpn=tls.selected_alpn_protocol()))


@attrs.frozen(eq=False)
class _ServerContext:
    _context: ssl.SSLContext
    _verifier: PeerVerifier
    _wall_clock: Callable[[], float]
    _scratch: memoryview

    async def handshake(self, connection: Connection) -> Connection:
        shaken = await shake_connection(self._shake(), connection)
        return TlsConnection(connection, shaken.session, peer=shaken.peer, alpn=shaken.alpn, sni=shaken.sni)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        shaken = await shake_stream(self._shake(), stream)
        return TlsStream(stream, shaken.session, peer=shaken.peer, alpn=shaken.alpn), shaken.peer

    def _shake(self) -> Handshake[_Shaken]:
        inbound, outbound = bios = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(inbound, outbound, server_side=True)
        assert isinstance(tls, _ServerObject)
        last_input = yield from exchange(tls, inbound, outbound)
        session = TlsSession(tls, bios, scratch=self._scratch, last_input=last_input)
        peer = None
        chain = presented_chain(tls)
        if chain:
            try:
                peer = self._verifier.verify(chain, self._wall_clock())
            except PeerRefused as refusal:
                # With the session ticket in front, which is of no use: a resumed session is verified as well.
                raise Farewell(refusal, session.end()) from None
        alpn = tls.selected_alpn_protocol()
        yield Done(outbound.read(), _Shaken(session=session, peer=peer, alpn=alpn, sni=tls.sni))


def _choose_ciphers(context: ssl.SSLContext, ciphers: tuple[str, ...]) -> None:
    try:
        context.set_ciphers(":".join(ciphers))
    except ssl.SSLError as error:
        text = f"OpenSSL has none of the ciphers {', '.join(ciphers)}"
        raise ConfigError([Violation(message=text)]) from error


def _load_svid(context: ssl.SSLContext, svid: Svid) -> None:
    load_own_chain(context, svid.chain_pem, svid.private_key_pem, owner=str(svid.spiffe_id))
