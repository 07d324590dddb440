"""The lifespan of one ASGI application: told to start before the first request, to stop after the last.

Source: ASGI specification, Lifespan protocol 2.0. An application that raises at the word `lifespan` has none.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import trio

from mesh.model.errors import MeshError

Message: TypeAlias = MutableMapping[str, Any]

SHUTDOWN_S_MAX = 5.0


class LifespanFailed(MeshError):
    """The operator's: the application says that it cannot start."""


class Lifespan:
    """See the module's text. `state` is what the application put there; each request gets a copy."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._scope = trio.CancelScope(shield=True)  # It is still told of the end when all else is cancelled.
        self._started = trio.Event()
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._told = False
        self._failure = ""

    async def start(self, nursery: trio.Nursery) -> None:
        """Return when the application is ready. Raises: LifespanFailed."""
        nursery.start_soon(self._run, name="lifespan")
        try:
            await self._started.wait()
        except BaseException:
            self.abandon()
            raise
        if self._failure:
            raise LifespanFailed(f"the application did not start: {self._failure}")

    async def stop(self) -> None:
        """Let the application shut down; bounded."""
        self._stopping.set()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SHUTDOWN_S_MAX):
            await self._stopped.wait()
        self._scope.cancel()

    def abandon(self) -> None:
        """End without a word."""
        self._stopped.set()
        self._scope.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        with self._scope:
            try:
                await self._app(scope, self._receive, self._send)
            except Exception:  # It has no lifespan, or its end went wrong: requests are answered all the same.
                pass
        self._started.set()
        self._stopped.set()

    async def _receive(self) -> Message:
        if not self._told:
            self._told = True
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.failed":
                self._failure = str(message.get("message") or "it gives no reason")
                self._started.set()
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._stopped.set()
