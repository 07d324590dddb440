"""The power fails at every single step that the store's disk makes, and nothing that was acknowledged is lost.

A scripted run notes what the platter held after each write, sync, rename or deletion. From each of those moments
the platter loses power, with several tails of chance, and the store is opened again.
"""

import random
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import structlog
import trio

from mesh.control.store.sealing import load_sealer
from mesh.control.store.store import Store
from mesh.control.store.values import Delete, Put
from sim.clock import SimClock
from sim.database import SimDatabase
from sim.disk import SimDisk
from sim.disk_changes import Change
from sim.platter import Platter
from tests.mesh.control.store.store_world import EPOCH_S, mesh, mesh_key, secret

KEY_FILE = "keys/sealing.key"

# Each write is one transaction; None closes the database, which empties its log, and opens it again.
SCRIPT: tuple[tuple[Put | Delete, ...] | None, ...] = (
    (Put(resource=mesh("default")),),
    (Put(resource=secret("s")), Put(resource=mesh("a", x="1")), Put(resource=mesh("b"))),
    (Put(resource=mesh("a", x="2"), expected_version=1), Delete(key=mesh_key("b"))),
    None,
    (Put(resource=mesh("b")),),
    # More than one page of one file.
    tuple(Put(resource=mesh(f"bulk{number}", text="y" * 200)) for number in range(40)),
    (Delete(key=mesh_key("default")), Put(resource=secret("s", "bmV3"))),
    None,
    (Put(resource=mesh("a", x="3")),),
)
State = tuple[int, dict[Any, Any]]  # the revision, and the resources by key


@attrs.define(eq=False)
class Moment:
    """What the platter held, and how many writes had been acknowledged."""

    durable: dict[str, bytearray]
    journal: list[Change]
    acknowledged: int


class NotingPlatter(Platter):
    """Keeps each moment between two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[Moment] = []
        self.acknowledged = 0
        self._note()

    def record(self, change: Change) -> None:
        super().record(change)
        self._note()

    def sync(self, path: str) -> None:
        super().sync(path)
        self._note()

    def sync_deletions(self, folder: str) -> None:
        super().sync_deletions(folder)
        self._note()

    def _note(self) -> None:
        durable = {path: bytearray(data) for path, data in self._durable.items()}
        self.moments.append(Moment(durable, list(self._journal), self.acknowledged))


class ForgetfulPlatter(NotingPlatter):
    """A planted bug: the log of the database is never synced, so that writes are acknowledged before they are durable."""

    def sync(self, path: str) -> None:
        if not path.endswith("-wal"):
            super().sync(path)


def syncing_off(database: SimDatabase) -> None:
    """A planted bug: SQLite is told not to wait for the disk."""
    assert database._connection is not None
    database._connection.execute("PRAGMA synchronous = OFF")


async def open_store(disk: SimDisk, spoil: Callable[[SimDatabase], None] = lambda _: None) -> Store:
    sealer = await load_sealer(SimpleNamespace(disk=disk), KEY_FILE)
    database = await disk.open_database("data/mesh.db")
    spoil(database)
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()]).bind()
    return await Store.open(database, sealer=sealer, wall_clock=lambda: EPOCH_S, log=log)


async def state_of(store: Store) -> State:
    stored, revision = await store.load()
    assert not store.unreadable
    return revision, {item.key: (item.version, item.resource.written) for item in stored}


def run_script(platter: NotingPlatter, spoil: Callable[[SimDatabase], None] = lambda _: None) -> list[State]:
    """Run the script; return the state before it and after each write."""
    states: list[State] = [(0, {})]

    async def body() -> None:
        disk = SimDisk(platter)
        store = await open_store(disk, spoil)
        for changes in SCRIPT:
            if changes is None:
                await store.aclose()
                store = await open_store(disk, spoil)
                continue
            await store.write(changes, by="test")
            platter.acknowledged += 1
            states.append(await state_of(store))
        disk.cut()

    trio.run(body, clock=SimClock())
    return states


def restore(platter: Platter, moment: Moment, chance: random.Random) -> None:
    """Bring a platter to what a power cut at a moment leaves."""
    platter._durable = {path: bytearray(data) for path, data in moment.durable.items()}
    platter._journal = list(moment.journal)
    platter.crash(chance)


async def open_and_lose(platter: Platter) -> None:
    disk = SimDisk(platter)
    await open_store(disk)
    disk.cut()


def check_moment(moment: Moment, states: list[State], seed: int) -> None:
    """Lose power at a moment, again while the store recovers, open it once more, and compare."""
    chance = random.Random(seed)
    recovery = NotingPlatter()
    restore(recovery, moment, chance)
    recovery.moments = [Moment({path: bytearray(data) for path, data in recovery.seen.items()}, [], 0)]
    trio.run(partial(open_and_lose, recovery), clock=SimClock())
    platter = Platter()
    restore(platter, chance.choice(recovery.moments), chance)

    async def body() -> None:
        disk = SimDisk(platter)
        store = await open_store(disk)
        # The write under way, if any, is wholly there or not at all; all before it are there.
        assert await state_of(store) in states[moment.acknowledged : moment.acknowledged + 2]
        revision = (await store.write([Put(resource=mesh("after"))], by="test")).revision
        assert revision > moment.acknowledged
        assert await store.database.transact(lambda tx: tx.execute("PRAGMA integrity_check")) == [("ok",)]
        assert await store.audit(limit=1000)
        disk.cut()

    trio.run(body, clock=SimClock())


def check_all(platter: NotingPlatter, states: list[State], *, tails: int, every: int = 1) -> int:
    """Check each `every`-th moment with some tails; return how many were checked."""
    moments = platter.moments[::every]
    for index, moment in enumerate(moments):
        for tail in range(tails):
            try:
                check_moment(moment, states, seed=index * 1000 + tail)
            except Exception as error:
                raise AssertionError(f"lost at step {index * every} of {len(platter.moments)}, tail {tail}") from error
    return len(moments) * tails


def test_nothing_acknowledged_is_lost_at_any_step() -> None:
    platter = NotingPlatter()
    states = run_script(platter)
    assert len(states) == len([changes for changes in SCRIPT if changes is not None]) + 1
    assert check_all(platter, states, tails=1) > 200


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_at_any_step_with_many_tails() -> None:
    platter = NotingPlatter()
    assert check_all(platter, run_script(platter), tails=12) > 2400


# Each planted bug has to be found, or the test above proves nothing.
@pytest.mark.parametrize(("platter_type", "spoil"), [(ForgetfulPlatter, lambda _: None), (NotingPlatter, syncing_off)])
def test_a_planted_bug_is_found(platter_type: type[NotingPlatter], spoil: Callable[[SimDatabase], None]) -> None:
    platter = platter_type()
    states = run_script(platter, spoil)
    with pytest.raises(AssertionError, match="lost at step"):
        check_all(platter, states, tails=1)


def test_a_run_is_the_same_to_the_byte_each_time() -> None:
    """Salts of the log come from the seeded generator, dates from the simulated clock."""
    contents = []
    for _ in range(2):
        platter = NotingPlatter()
        run_script(platter)
        contents.append([moment.durable.get("data/mesh.db-wal", b"")[:32] for moment in platter.moments])
    assert contents[0] == contents[1]
    assert any(contents[0])
