"""Stores for tests of the control plane: SQLite on a simulated disk that never breaks, which several may share."""

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from mesh.control.store.sealing import Sealer
from mesh.control.store.store import Store
from mesh.identity.tokens import SigningKey
from mesh.model.errors import StoreError
from mesh.runtime.environment import Database, Environment, Transaction
from sim.disk import SimDisk
from sim.platter import Platter

T = TypeVar("T")

KEY = SigningKey.create(1)  # One for all: they take long to make.


async def same_key(serial: int) -> SigningKey:
    return SigningKey(serial, KEY.key)


@attrs.define(eq=False)
class Handle:
    """One control plane's hold on a database; the others hear of what it writes, as PostgreSQL's would."""

    shared: "SharedDatabase"
    changed: trio.Event = attrs.field(factory=trio.Event)
    broken: bool = False

    def __attrs_post_init__(self) -> None:
        self.changed.set()

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        assert self.shared.database is not None, "opened before"
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise StoreError("the server is away")
        result = await self.shared.database.transact(work, read_only=read_only)
        if not read_only:
            for other in self.shared.handles:
                if other is not self:
                    other.changed.set()
        return result

    async def wait_changed(self) -> None:
        await self.changed.wait()
        self.changed = trio.Event()

    async def aclose(self) -> None:
        self.shared.handles.remove(self)


@attrs.define(eq=False)
class SharedDatabase:
    """One database, opened once, in the life of a test."""

    database: Database | None = None
    handles: list[Handle] = attrs.field(factory=list)

    async def open(self) -> Handle:
        if self.database is None:
            self.database = await SimDisk(Platter()).open_database("mesh.db")
        handle = Handle(self)
        self.handles.append(handle)
        return handle


async def open_store(shared: SharedDatabase, env: Environment) -> Store:
    """Open the store of one control plane in a database."""
    return await Store.open(
        await shared.open(), sealer=Sealer(bytes(range(32))), wall_clock=env.wall_clock, log=env.log
    )
