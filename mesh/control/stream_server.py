"""StreamServer: accepts sidecars and gives each a ProxyStream of its own, over TLS and WebSocket.

Owns: the listening socket and the connections. What a stream does wrong stays with that stream.
"""

from collections.abc import Callable

import attrs
import trio
from trio.abc import HalfCloseableStream

from mesh.control.admission import NotAdmitted
from mesh.control.proxy_stream import Dismissed, ProxyStream
from mesh.discovery.messages import PATH
from mesh.discovery.web_socket import MessageSocket, converse_as_server
from mesh.model.errors import BrokenConnection, MeshError
from mesh.model.names import Address
from mesh.model.security import ServerTls
from mesh.runtime.environment import Environment, StreamListener, TlsContext

HANDSHAKE_S_MAX = 10.0
CONNECTIONS_MAX = 16_384

MakeStream = Callable[[MessageSocket], ProxyStream]


@attrs.define(eq=False)
class StreamServer:
    """One listening address of the control plane."""

    env: Environment
    make_stream: MakeStream
    connections_max: int = CONNECTIONS_MAX
    connections: int = attrs.field(default=0, init=False)
    _tls: TlsContext | None = attrs.field(default=None, init=False)

    def use_tls(self, tls: ServerTls | None) -> None:
        """Present this certificate to connections that come from now on; None is plaintext."""
        self._tls = None if tls is None else self.env.tls.server(tls)

    async def run(self, address: Address, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the address once it listens. Raises: ConfigError when it cannot be had."""
        listener = await self.env.network.listen(address)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(listener.address)
                await self._accept(listener, nursery)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await listener.aclose()

    async def _accept(self, listener: StreamListener, nursery: trio.Nursery) -> None:
        while True:
            stream = await listener.accept()
            if self.connections >= self.connections_max:
                self.env.log.warning("proxy_stream.limit_reached", connections_max=self.connections_max)
                await trio.aclose_forcefully(stream)
                continue
            self.connections += 1
            nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: HalfCloseableStream) -> None:
        try:
            await self._converse(stream)
        except (NotAdmitted, Dismissed):
            pass  # Logged where it was decided.
        except MeshError as error:
            # At debug level, for the peer's end of a stream is said by `proxy.left`, and scanners are not our business.
            self.env.log.debug("proxy_stream.ended", reason=str(error))
        except Exception as error:
            # Supervision, one for one without restart: a bug that one peer tickles must not end the streams of all.
            self.env.log.error("proxy_stream.crashed", exc_info=error)
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: HalfCloseableStream) -> None:
        if self._tls is not None:
            stream = await self._protect(stream, self._tls)
        await converse_as_server(stream, path=PATH, handshake_timeout_s=HANDSHAKE_S_MAX, converse=self._run_stream)

    async def _protect(self, stream: HalfCloseableStream, tls: TlsContext) -> HalfCloseableStream:
        with trio.move_on_after(HANDSHAKE_S_MAX):
            protected, _ = await tls.handshake_stream(stream)
            return protected
        raise BrokenConnection("no TLS handshake in time")

    async def _run_stream(self, socket: MessageSocket) -> None:
        await self.make_stream(socket).run()
