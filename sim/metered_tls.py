"""TLS whose handshakes take time on a slow core; at full speed they take none, as in `sim.tls`."""

import attrs
from trio.abc import HalfCloseableStream

from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, OriginationTls, ServerTls
from mesh.runtime.environment import Connection, Tls, TlsContext
from sim.processor import HANDSHAKE_S, Processor


@attrs.frozen(eq=False)
class _MeteredContext:
    inner: TlsContext
    processor: Processor

    async def handshake(self, connection: Connection) -> Connection:
        self.processor.spend(HANDSHAKE_S)
        return await self.inner.handshake(connection)

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        self.processor.spend(HANDSHAKE_S)
        return await self.inner.handshake_stream(stream)


@attrs.frozen(eq=False)
class MeteredTls:
    """Any TLS, with the handshakes of one host on that host's processor."""

    inner: Tls
    processor: Processor

    def client(self, config: ClientTls) -> TlsContext:
        """Prepare to call. Raises: IdentityError."""
        return _MeteredContext(self.inner.client(config), self.processor)

    def server(self, config: ServerTls) -> TlsContext:
        """Prepare to be called. Raises: IdentityError."""
        return _MeteredContext(self.inner.server(config), self.processor)

    def originate(self, config: OriginationTls) -> TlsContext:
        """Prepare to call a server outside the mesh. Raises: IdentityError, ConfigError."""
        return _MeteredContext(self.inner.originate(config), self.processor)
