"""kill -9 in a loop, on real processes and a real disk: no number that a writer printed is missing afterwards."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import psycopg
import pytest
import structlog
import trio

from mesh.control.store.sealing import Sealer
from mesh.control.store.store import Store
from tests.mesh.control.store.numbering_writer import KEY, open_database
from tests.postgres_server import PostgresServer

WRITER = Path(__file__).with_name("numbering_writer.py")


@attrs.define(eq=False)
class Writer:
    """A running writer, and what it has acknowledged."""

    process: "subprocess.Popen[str]"
    acknowledged: list[int] = attrs.Factory(list)

    def read(self, count: int) -> None:
        """Wait for some more numbers."""
        assert self.process.stdout is not None
        for _ in range(count):
            line = self.process.stdout.readline()
            assert line, f"the writer ended: {self.process.wait()}"
            self.acknowledged.append(int(line))

    def kill(self) -> None:
        """Kill it at once, and read what it had said by then."""
        self.process.kill()
        assert self.process.stdout is not None
        said = self.process.stdout.read().split("\n")
        # A number cut in two was not acknowledged.
        self.acknowledged += [int(line) for line in said[:-1]]
        self.process.wait()
        self.process.stdout.close()


def start(where: str, first: int) -> Writer:
    command = [sys.executable, str(WRITER), where, str(first)]
    return Writer(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))


def check(where: str, acknowledged: list[int], kills: int) -> int:
    """Compare the store with what was acknowledged; return the next free number."""

    async def body() -> int:
        database = await open_database(where)
        try:
            log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()]).bind()
            store = await Store.open(database, sealer=Sealer(KEY), wall_clock=time.time, log=log)
            stored, revision = await store.load()
            numbers = sorted(int(item.resource.name[1:]) for item in stored)
            assert set(acknowledged) <= set(numbers)
            # Whoever was killed had at most one write under way.
            assert len(numbers) <= len(acknowledged) + kills
            assert numbers == list(range(len(numbers)))
            assert revision == len(numbers)
            assert {item.version for item in stored} == {1}
            assert len(await store.audit(limit=100_000)) == len(numbers)
            if not where.startswith("postgresql:"):
                assert await database.transact(lambda tx: tx.execute("PRAGMA integrity_check")) == [("ok",)]
            return len(numbers)
        finally:
            await database.aclose()

    return trio.run(body)


def kill_in_a_loop(where: str, kills: int, *, disturb: Callable[[Writer], None] = lambda _: None) -> None:
    chance = random.Random(f"{kills} kills")
    acknowledged: list[int] = []
    first = 0
    for kill in range(1, kills + 1):
        writer = start(where, first)
        try:
            writer.read(chance.randrange(1, 30))
            disturb(writer)
            time.sleep(chance.uniform(0, 0.004))
        finally:
            writer.kill()
        acknowledged += writer.acknowledged
        first = check(where, acknowledged, kill)


KILLS = [3, pytest.param(12, marks=pytest.mark.slow)]


@pytest.mark.parametrize("kills", KILLS)
def test_sqlite_keeps_what_a_killed_writer_acknowledged(tmp_path: Path, kills: int) -> None:
    kill_in_a_loop(str(tmp_path), kills)


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_postgres_keeps_what_a_killed_writer_acknowledged(postgres_server: PostgresServer, kills: int) -> None:
    kill_in_a_loop(postgres_server.database_url(), kills)


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_crash_of_the_server_loses_nothing_and_stops_nobody(postgres_server: PostgresServer, kills: int) -> None:
    where = postgres_server.database_url()

    def crash(writer: Writer) -> None:
        postgres_server.restart("immediate")
        with psycopg.connect(where) as connection:
            ((written,),) = connection.execute("SELECT count(*) FROM resources").fetchall()
        while writer.acknowledged[-1] < written:
            writer.read(1)

    kill_in_a_loop(where, kills, disturb=crash)
