"""SQLite on the simulated disk: latency, chance, dates, and what a power cut or a bad disk does to it."""

import gc
import random
from collections.abc import Awaitable, Callable
from typing import Any

import apsw
import pytest
import trio

from mesh.model.errors import ConfigError, OutcomeUnknown, StoreError
from mesh.runtime.environment import Transaction
from sim.clock import SimClock
from sim.database import SimDatabase
from sim.disk import SimDisk
from sim.host import Host
from sim.platter import Platter
from tests.sim.kernel.simulated_pair import SimulatedPair, make_pair

PATH = "data/numbers.db"


def run(body: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(body, clock=SimClock())


def create(transaction: Transaction) -> None:
    transaction.execute("CREATE TABLE numbers (value INTEGER PRIMARY KEY, text TEXT)")


def insert(value: int, text: str = "") -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO numbers VALUES (:value, :text)", {"value": value, "text": text})

    return work


def values(transaction: Transaction) -> list[int]:
    return [value for (value,) in transaction.execute("SELECT value FROM numbers ORDER BY value")]


async def opened(platter: Platter) -> tuple[SimDisk, SimDatabase]:
    disk = SimDisk(platter)
    return disk, await disk.open_database(PATH)


def test_a_database_is_files_on_the_platter_that_survive_a_power_cut() -> None:
    async def body() -> None:
        platter = Platter()
        disk, database = await opened(platter)
        await database.transact(create)
        await database.transact(insert(1))
        assert await disk.list("data") == [PATH, f"{PATH}-wal"]
        disk.cut()
        platter.crash(random.Random(1))
        disk, database = await opened(platter)
        assert await database.transact(values, read_only=True) == [1]
        await database.aclose()
        assert list(platter.files) == [PATH]

    run(body)


def test_a_commit_takes_as_long_as_its_syncs() -> None:
    async def body() -> None:
        platter = Platter(sync_s=0.01)
        _, database = await opened(platter)
        await database.transact(create)
        began = trio.current_time()
        await database.transact(insert(1))
        assert trio.current_time() - began == pytest.approx(0.01)
        began = trio.current_time()
        await database.transact(values, read_only=True)
        assert trio.current_time() == began

    run(body)


@pytest.mark.parametrize("cut_after_s", [0.001, 0.0099, 0.0101])
def test_power_may_go_between_the_steps_of_a_commit(cut_after_s: float) -> None:
    async def body() -> None:
        outcomes = set()
        for seed in range(30):
            platter = Platter(sync_s=0.01)
            disk, database = await opened(platter)
            await database.transact(create)
            acknowledged = False
            async with trio.open_nursery() as nursery:

                async def write(database: SimDatabase = database) -> None:
                    nonlocal acknowledged
                    try:
                        await database.transact(insert(1, "x" * 9000))
                        acknowledged = True
                    except StoreError:
                        pass

                nursery.start_soon(write)
                await trio.sleep(cut_after_s)
                disk.cut()
                platter.crash(random.Random(seed))
            _, database = await opened(platter)
            found = await database.transact(values) == [1]
            assert found or not acknowledged
            outcomes.add(found)
        assert outcomes == ({True, False} if cut_after_s < 0.01 else {True})

    run(body)


def test_a_dead_hosts_connection_does_not_reach_the_platter() -> None:
    async def body() -> None:
        platter = Platter()
        disk, database = await opened(platter)
        await database.transact(create)
        disk.cut()
        platter.crash(random.Random(1))
        before = platter.files
        with pytest.raises(StoreError, match="lost its power"):
            await database.transact(insert(1))
        await database.aclose()
        with pytest.raises(OSError, match="lost its power"):
            await disk.open_database("other.db")
        del database
        gc.collect()
        assert platter.files == before

    run(body)


def test_a_world_that_is_dropped_leaves_no_file_system_behind() -> None:
    before = apsw.vfs_names()

    async def body() -> None:
        platter = Platter()
        disk, database = await opened(platter)
        await database.transact(create)
        await database.aclose()
        disk, database = await opened(platter)
        disk.cut()
        with pytest.raises(ConfigError, match="not a database"):
            await disk_with_rubbish().open_database(PATH)

    run(body)
    assert apsw.vfs_names() == before


def disk_with_rubbish() -> SimDisk:
    platter = Platter()
    platter.seen[PATH] = bytearray(b"rubbish" * 1000)
    return SimDisk(platter)


def test_one_connection_has_the_file_for_itself() -> None:
    async def body() -> None:
        platter = Platter()
        disk, database = await opened(platter)
        with pytest.raises(ConfigError, match="has this database open"):
            await disk.open_database(PATH)
        await database.aclose()
        await disk.open_database(PATH)

    run(body)


def test_a_full_disk_refuses_and_the_database_lives_on() -> None:
    async def body() -> None:
        platter = Platter(capacity_bytes=60_000)
        _, database = await opened(platter)
        await database.transact(create)
        with pytest.raises(StoreError):
            await database.transact(insert(1, "x" * 100_000))
        assert await database.transact(values) == []
        platter.capacity_bytes = 1 << 30
        await database.transact(insert(2))
        assert await database.transact(values) == [2]

    run(body)


def test_a_broken_disk_leaves_a_commit_in_doubt_and_whole() -> None:
    async def body() -> None:
        platter = Platter()
        disk, database = await opened(platter)
        await database.transact(create)
        fail_while_committing(database, platter)
        with pytest.raises(OutcomeUnknown):
            await database.transact(insert(1))
        with pytest.raises(StoreError, match="broken"):
            await database.transact(insert(1))
        platter.broken = False
        await database.transact(insert(2))
        assert await database.transact(values) == [2]
        disk.cut()
        platter.crash(random.Random(0))
        _, database = await opened(platter)
        assert await database.transact(values) == [2]

    run(body)


def fail_while_committing(database: SimDatabase, platter: Platter) -> None:
    def sync(path: str) -> None:  # The last thing that a commit does.
        platter.broken = True
        del database._vfs.sync
        database._vfs.sync(path)

    database._vfs.sync = sync  # type: ignore[method-assign]


def test_chance_and_dates_are_the_hosts() -> None:
    async def body() -> tuple[Any, ...]:
        disk = SimDisk(Platter(), random=random.Random(7), wall_clock=lambda: 1_800_000_000.0)
        database = await disk.open_database(PATH)
        return await database.transact(lambda tx: tx.execute("SELECT random(), datetime('now')")[0])

    first, second = run(body), run(body)
    assert first == second
    assert first[1] == "2027-01-15 08:00:00"


def test_a_database_grows_by_pages_not_by_copies() -> None:
    async def body() -> None:
        _, database = await opened(Platter())
        await database.transact(create)

        def fill(transaction: Transaction) -> None:
            for value in range(3000):
                insert(value, "x" * 2000)(transaction)

        await database.transact(fill)
        for value in range(3000, 3100):
            await database.transact(insert(value))
        assert len(await database.transact(values)) == 3100

    run(body)


def test_a_host_that_is_killed_again_and_again_keeps_what_it_acknowledged() -> None:
    acknowledged: list[int] = []
    starts: list[int] = []

    async def boot(host: Host) -> None:
        database = await host.environment.disk.open_database(PATH)
        await database.transact(lambda tx: tx.execute("CREATE TABLE IF NOT EXISTS numbers (value INTEGER PRIMARY KEY)"))
        found = await database.transact(values)
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) <= len(acknowledged) + 1  # One may have been under way.
        acknowledged[:] = found
        starts.append(len(found))
        while True:
            value = len(acknowledged)
            await database.transact(
                lambda tx, value=value: tx.execute("INSERT INTO numbers VALUES (:value)", {"value": value})
            )
            acknowledged.append(value)

    async def body(pair: SimulatedPair) -> None:
        chance = random.Random(5)
        for _ in range(60):
            await trio.sleep(chance.uniform(0.001, 0.02))
            pair.server.restart()

    for _ in range(2):
        acknowledged.clear()
        assert make_pair(server=boot).run(body).errors == ()
    assert len(starts) > 100
    assert starts[: len(starts) // 2] == starts[len(starts) // 2 :]  # The same seed, the same world.
