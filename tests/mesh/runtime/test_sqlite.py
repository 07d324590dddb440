"""SQLite on the operating system: one writer at a time, readers beside it, cancellation."""

import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from mesh.model.errors import ConfigError, StoreError
from mesh.runtime.environment import Transaction
from mesh.runtime.real.disk import RealDisk
from mesh.runtime.real.sqlite import open_database_read_only


def create(transaction: Transaction) -> None:
    transaction.execute("CREATE TABLE numbers (value INTEGER PRIMARY KEY)")


def insert(transaction: Transaction) -> None:
    transaction.execute("INSERT INTO numbers (value) VALUES ((SELECT count(*) FROM numbers))")


def count(transaction: Transaction) -> int:
    return int(transaction.execute("SELECT count(*) FROM numbers")[0][0])


async def test_commits_are_written_ahead_and_synced(tmp_path: Path) -> None:
    database = await RealDisk(str(tmp_path / "data")).open_database("store/mesh.db")

    def settings(transaction: Transaction) -> list[Any]:
        return [transaction.execute(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]

    assert await database.transact(settings) == ["wal", 2]
    await database.transact(create)
    for place in (tmp_path / "data" / "store").iterdir():
        assert stat.S_IMODE(place.stat().st_mode) == 0o600, place
    await database.aclose()
    await database.aclose()


async def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "data"))
    database = await disk.open_database("mesh.db")
    with pytest.raises(ConfigError, match=rf"data folder {tmp_path}/data is in use by process {os.getpid()}"):
        await disk.open_database("mesh.db")
    await database.aclose()
    await (await disk.open_database("mesh.db")).aclose()


async def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, trio\n"
        "from mesh.runtime.real.disk import RealDisk\n"
        "async def main():\n"
        "    database = await RealDisk(sys.argv[1]).open_database('mesh.db')\n"
        "    print('open', flush=True)\n"
        "    await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        assert (await process.stdout.receive_some()).startswith(b"open")
        disk = RealDisk(str(tmp_path))
        with pytest.raises(ConfigError, match=f"in use by process {process.pid}"):
            await disk.open_database("mesh.db")
        process.kill()
    await (await disk.open_database("mesh.db")).aclose()


async def test_others_may_read_while_it_is_open_and_after(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    place = str(tmp_path / "mesh.db")
    with pytest.raises(ConfigError, match="no such database"):
        await open_database_read_only(place)
    database = await disk.open_database("mesh.db")
    await database.transact(create)
    await database.transact(insert)
    reader = await open_database_read_only(place)
    assert await reader.transact(count) == 1
    await database.transact(insert)
    assert await reader.transact(count) == 2
    with pytest.raises(StoreError, match="attempt to write a readonly database"):
        await reader.transact(insert)
    await reader.aclose()
    await database.aclose()
    assert sorted(os.listdir(tmp_path)) == ["mesh.db", "mesh.db.lock"]
    reader = await open_database_read_only(place)
    assert await reader.transact(count) == 2
    await reader.aclose()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mesh.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(ConfigError, match="cannot be opened as an SQLite database"):
        await RealDisk(str(tmp_path)).open_database("mesh.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        await RealDisk(str(tmp_path)).open_database("folder")
    with pytest.raises(PermissionError):
        await RealDisk(str(tmp_path)).open_database("../mesh.db")


async def test_a_cancelled_caller_gets_the_outcome_or_nothing_happened(tmp_path: Path) -> None:
    database = await RealDisk(str(tmp_path)).open_database("mesh.db")
    await database.transact(create)
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.transact(insert)
    assert scope.cancelled_caught
    assert await database.transact(count) == 0

    def insert_while_cancelled(transaction: Transaction) -> None:
        insert(transaction)
        trio.from_thread.run_sync(scope.cancel)

    with trio.CancelScope() as scope:
        await database.transact(insert_while_cancelled)
        assert await database.transact(lambda _: "not reached")  # Cancelled before it begins.
    assert scope.cancelled_caught
    assert await database.transact(count) == 1
    await database.aclose()
    with pytest.raises(StoreError, match="closed"):
        await database.transact(count)


async def test_a_full_disk_says_so(tmp_path: Path) -> None:
    database = await RealDisk(str(tmp_path)).open_database("mesh.db")
    await database.transact(create)
    await database.transact(lambda tx: tx.execute("PRAGMA max_page_count = 3"))

    def fill(transaction: Transaction) -> None:
        for _ in range(10_000):
            insert(transaction)

    with pytest.raises(StoreError, match="full"):
        await database.transact(fill)
    await database.transact(insert)
    assert await database.transact(count) == 1
    await database.aclose()
