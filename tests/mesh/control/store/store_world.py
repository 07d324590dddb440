"""The worlds in which a store is tested: the simulated disk, SQLite on a real one, a real PostgreSQL server."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from mesh.control.store.sealing import Sealer
from mesh.control.store.store import Store
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from mesh.runtime.environment import Database
from mesh.runtime.real.disk import RealDisk
from mesh.runtime.real.postgres import open_postgres
from sim.clock import SimClock
from sim.disk import SimDisk
from sim.platter import Platter

KEY = bytes(range(32))
EPOCH_S = 1_800_000_000.0


@attrs.define(eq=False)
class StoreWorld:
    """Opens databases and stores; every one of them is closed at the end of `run`."""

    open_database: Callable[[], Awaitable[Database]]
    clock: trio.abc.Clock | None = None
    now: float = EPOCH_S  # what its wall clock shows
    logged: structlog.testing.LogCapture = attrs.field(factory=structlog.testing.LogCapture)
    _opened: list[Any] = attrs.Factory(list)

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run a test's body under Trio."""

        async def main() -> None:
            try:
                await body()
            finally:
                for opened in self._opened:
                    await opened.aclose()

        trio.run(main, clock=self.clock)

    async def database(self) -> Database:
        """Open the database; with PostgreSQL as often as one likes."""
        database = await self.open_database()
        self._opened.append(database)
        return database

    async def store(self, sealer: Sealer | None = None) -> Store:
        """Open the store."""
        return await self.store_on(await self.database(), sealer)

    async def store_on(self, database: Database, sealer: Sealer | None = None, *, read_only: bool = False) -> Store:
        """Open the store in an open database."""
        return await Store.open(
            database,
            sealer=sealer or Sealer(KEY),
            wall_clock=lambda: self.now,
            log=structlog.wrap_logger(None, processors=[self.logged]).bind(),
            read_only=read_only,
        )


def simulated_world() -> StoreWorld:
    platter = Platter()
    return StoreWorld(lambda: SimDisk(platter).open_database("mesh.db"), clock=SimClock())


def sqlite_world(folder: Path) -> StoreWorld:
    disk = RealDisk(str(folder))
    return StoreWorld(lambda: disk.open_database("mesh.db"))


def postgres_world(url: str) -> StoreWorld:
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()]).bind()
    return StoreWorld(lambda: open_postgres(url, log=log))


def mesh(name: str, **labels: str) -> Resource:
    """A small resource."""
    return load_resource({"type": "Mesh", "name": name, "labels": labels}, file="test")


def secret(name: str, data: str = "aHVudGVyMg==") -> Resource:
    """A Secret of the default mesh."""
    return load_resource({"type": "Secret", "mesh": "default", "name": name, "data": data}, file="test")


def mesh_key(name: str) -> tuple[str, str, str]:
    return ("Mesh", "", name)
