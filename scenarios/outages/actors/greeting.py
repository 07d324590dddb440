"""A protocol in which the server speaks first, as SMTP, MySQL and FTP do: who connects says nothing until it is greeted."""

import trio

from mesh.model.errors import ConnectFailed
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings

_GREETING = b"220 ready\r\n"
_GOODBYE = b"QUIT\r\n"
_RECEIVE_BYTES = 4096
_ENDINGS = (trio.BrokenResourceError, trio.ClosedResourceError)


class MailServer:
    """Greets whoever connects, and takes what it sends."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings

    async def run(self) -> None:
        listener = await self.env.network.listen(self.settings.listen)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self._greet, await listener.accept())
        finally:
            with trio.CancelScope(shield=True):
                await listener.aclose()

    async def _greet(self, stream: trio.abc.HalfCloseableStream) -> None:
        try:
            await stream.send_all(_GREETING)
            while await stream.receive_some(_RECEIVE_BYTES):
                self.settings.meter.connected()
        except _ENDINGS:
            pass  # The client's: it went away.
        finally:
            await trio.aclose_forcefully(stream)


class MailClient:
    """Connects every `every_s` to the service it calls and waits `patience_s` for the greeting: `greeted` or `gave-up`."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.server = next(iter(settings.upstreams.values()))
        self.every_s = float(settings.options.get("every_s", 1.0))
        self.patience_s = float(settings.options.get("patience_s", 0.5))

    async def run(self) -> None:
        while True:
            await trio.sleep(self.every_s)
            self.settings.meter.count("greeted" if await self._deliver() else "gave-up")

    async def _deliver(self) -> bool:
        with trio.move_on_after(self.patience_s):
            try:
                stream = await self.env.network.connect(self.server)
            except ConnectFailed:
                return False
            try:
                if not (await stream.receive_some(_RECEIVE_BYTES)).startswith(b"220"):
                    return False
                await stream.send_all(_GOODBYE)
                return True
            except _ENDINGS:
                return False
            finally:
                await trio.aclose_forcefully(stream)
        return False
