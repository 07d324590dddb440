"""Where one application listens, and who is inside: so that it can crash while the host it runs on lives on."""

from collections.abc import Callable, Coroutine
from typing import Any

from mesh.model.names import Address
from mesh.runtime.environment import Connection, Reactor, ReactorListener
from mesh.runtime.pump import Pump


class Doors:
    """Accepts connections, one pump `serve(connection)` each, and remembers those that are open."""

    def __init__(self, reactor: Reactor, serve: Callable[[Connection], Coroutine[Any, Any, None]]) -> None:
        self._reactor = reactor
        self._serve = serve
        self._listener: ReactorListener | None = None
        self._inside: dict[Connection, Pump] = {}

    def open(self, address: Address) -> None:
        """Listen. Raises: ConfigError naming the address."""
        self._listener = self._reactor.listen(address, self._serve_one)

    def close(self) -> None:
        """Stop accepting; who is inside may stay."""
        if self._listener is not None:
            self._listener.close()

    def slam(self) -> None:
        """Stop accepting and drop everybody, as the kernel does for a process that has died: peers see resets."""
        self.close()
        for connection, pump in list(self._inside.items()):
            connection.abort()
            pump.cancel()

    async def _serve_one(self, connection: Connection) -> None:
        pump = self._reactor.current
        assert pump is not None, "the reactor serves in pumps"
        self._inside[connection] = pump
        try:
            await self._serve(connection)
        finally:
            del self._inside[connection]
