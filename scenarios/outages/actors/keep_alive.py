"""An HTTP server that ends connections on which nothing was asked for a while, as every server does; 5 s are usual.

It ends them in order and without a warning: HTTP/1.1 has none. A request that is under way at that moment finds a closed socket.
"""

import trio

from mesh.protocol.http1 import ServerExchange, encode_response
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings

_RECEIVE_BYTES = 64 * 1024


class KeepAliveServer:
    """Answers each request 200 after `work_s`; ends a connection that is idle for `keep_alive_s`."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.keep_alive_s = float(settings.options.get("keep_alive_s", 5.0))
        self.work_s = float(settings.options.get("work_s", 0.01))

    async def run(self) -> None:
        listener = await self.env.network.listen(self.settings.listen)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self._serve, await listener.accept())
        finally:
            with trio.CancelScope(shield=True):
                await listener.aclose()

    async def _serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        parser = ServerExchange()
        self.settings.meter.connected()
        try:
            while True:
                with trio.move_on_after(self.keep_alive_s) as patience:
                    data = await stream.receive_some(_RECEIVE_BYTES)
                if patience.cancelled_caught or not data:
                    return
                for request in parser.receive_data(bytes(data)):
                    method = request.head.method
                    self.settings.meter.arrived(f"{method.decode()} {request.head.path.decode()}")
                    await trio.sleep(self.work_s)
                    await stream.send_all(encode_response(200, (), b"done\n", keep_alive=True, method=method))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The client's: it went away.
        finally:
            await trio.aclose_forcefully(stream)
