"""PostgreSQL as a database, on a real server: who is refused, lost connections, commits in doubt, news of other writers."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import trio

from mesh.model.errors import ConfigError, OutcomeUnknown, StoreError
from mesh.runtime.environment import Transaction
from mesh.runtime.real import postgres
from mesh.runtime.real.postgres import PostgresDatabase, open_postgres
from tests.postgres_server import PASSWORD, PostgresServer


def create(transaction: Transaction) -> None:
    transaction.execute("CREATE TABLE numbers (name TEXT PRIMARY KEY, value BIGINT, data BYTEA)")
    transaction.execute("INSERT INTO numbers VALUES ('n', 0, NULL)")


def increment(transaction: Transaction) -> int:
    value = read(transaction)
    values = {"value": value + 1, "name": "n"}
    transaction.execute("UPDATE numbers SET value = :value WHERE name = :name", values)
    return value + 1


def read(transaction: Transaction) -> int:
    return int(transaction.execute("SELECT value FROM numbers WHERE name = :name", {"name": "n"})[0][0])


@asynccontextmanager
async def opened(url: str, log: Any, *, with_table: bool = True) -> AsyncIterator[PostgresDatabase]:
    database = await open_postgres(url, log=log)
    try:
        if with_table:
            await database.transact(create)
        yield database
    finally:
        await database.aclose()
        await database.aclose()


async def test_statements_mean_what_they_mean_in_sqlite(postgres_server: PostgresServer, log: Any) -> None:
    async with opened(postgres_server.database_url(), log) as database:

        def work(transaction: Transaction) -> list[tuple[Any, ...]]:
            values = {"name": "100%", "data": b"\0\xff", "unused": 1}
            assert transaction.execute("INSERT INTO numbers VALUES (:name, 7, :data)", values) == []
            return transaction.execute("SELECT name, value, data FROM numbers WHERE name LIKE '1%'")

        assert await database.transact(work) == [("100%", 7, b"\0\xff")]
        with pytest.raises(StoreError, match="read-only transaction"):
            await database.transact(increment, read_only=True)
        with pytest.raises(StoreError, match="syntax error"):
            await database.transact(lambda tx: tx.execute("SELEC"))
        assert await database.transact(increment) == 1
    with pytest.raises(StoreError, match="closed"):
        await database.transact(read)


@pytest.mark.parametrize(
    "url", ["mysql://host/x", "mesh.db", "postgresql://me:tell-nobody@host:port/x", "postgresql://h/x?tell-nobody=1"]
)
async def test_what_is_no_url_is_refused_and_not_repeated(log: Any, url: str) -> None:
    with pytest.raises(ConfigError, match="URL") as caught:
        await open_postgres(url, log=log)
    assert "tell-nobody" not in repr(caught.value)


async def test_who_the_server_refuses_is_told_at_once(postgres_server: PostgresServer, log: Any) -> None:
    for url, reason in (
        (postgres_server.url(password="tell-nobody"), "password authentication failed"),
        (postgres_server.url("absent"), "does not exist"),
    ):
        with trio.fail_after(5), pytest.raises(ConfigError, match=reason) as caught:
            await open_postgres(url, log=log)
        assert "tell-nobody" not in str(caught.value)
        assert PASSWORD not in str(caught.value)


async def test_a_server_that_does_not_come_is_named(
    monkeypatch: pytest.MonkeyPatch, log: Any, log_capture: Any
) -> None:
    monkeypatch.setattr(postgres, "_OPEN_S", 0.0)
    with pytest.raises(ConfigError, match=r"cannot reach PostgreSQL at 127\.0\.0\.1:9/mesh: .*[Rr]efused"):
        await open_postgres("postgresql://me:tell-nobody@127.0.0.1:9/mesh", log=log)
    assert "tell-nobody" not in repr(log_capture.entries)


async def test_without_psycopg_the_operator_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'trio-mesh\[postgres\]'"):
        await open_postgres("postgresql://localhost/mesh", log=log)


async def test_commits_are_durable_whatever_the_servers_default(postgres_server: PostgresServer, log: Any) -> None:
    url = postgres_server.database_url()
    name = url.partition("@/")[2].partition("?")[0]
    postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with opened(url, log, with_table=False) as database:
        assert await database.transact(lambda tx: tx.execute("SHOW synchronous_commit")) == [("on",)]


async def test_a_user_without_rights_is_the_operators_mistake(postgres_server: PostgresServer, log: Any) -> None:
    postgres_server.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    url = postgres_server.database_url()
    with pytest.raises(ConfigError, match="permission denied for schema public"):
        await open_postgres(url.replace("mesh:", "guest:"), log=log)
    async with opened(url, log):
        pass
    name = url.partition("@/")[2].partition("?")[0]
    postgres_server.execute("GRANT ALL ON trio_mesh_commits TO guest", database=name)
    async with opened(url.replace("mesh:", "guest:"), log, with_table=False) as database:
        with pytest.raises(ConfigError, match="permission denied for schema public"):
            await database.transact(lambda tx: tx.execute("CREATE TABLE more (a TEXT)"))


async def test_writers_of_several_processes_lose_no_update(postgres_server: PostgresServer, log: Any) -> None:
    url = postgres_server.database_url()
    async with opened(url, log) as first, opened(url, log, with_table=False) as second, trio.open_nursery() as nursery:

        async def count(database: PostgresDatabase) -> None:
            for _ in range(30):
                await database.transact(increment)

        nursery.start_soon(count, first)
        nursery.start_soon(count, second)
    async with opened(url, log, with_table=False) as third:
        assert await third.transact(read) == 60


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_server_is_found_again(
    postgres_server: PostgresServer, log: Any, log_capture: Any, mode: str
) -> None:
    async with opened(postgres_server.database_url(), log) as database:
        await database.transact(increment)
        await trio.to_thread.run_sync(postgres_server.stop, mode)
        async with trio.open_nursery() as nursery:
            results: list[int] = []

            async def write() -> None:
                results.append(await database.transact(increment))

            nursery.start_soon(write)
            await trio.sleep(0.1)
            await trio.to_thread.run_sync(postgres_server.start)
        assert results == [2]
    assert "database.transaction_repeated" in {entry["event"] for entry in log_capture.entries}


async def test_a_server_that_stays_away_fails_the_transaction(
    postgres_server: PostgresServer, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_REPEAT_S", 0.3)
    async with opened(postgres_server.database_url(), log) as database:
        await trio.to_thread.run_sync(postgres_server.stop)
        try:
            with pytest.raises(StoreError, match="PostgreSQL at"):
                await database.transact(increment)
        finally:
            await trio.to_thread.run_sync(postgres_server.start)
        assert await database.transact(increment) == 1


class FailingOnce:
    """A connection that breaks at the first COMMIT of a write: after the server did it, or before."""

    def __init__(self, connection: Any, *, committed: bool, on_break: Callable[[], None] = lambda: None) -> None:
        self._connection = connection
        self._committed = committed
        self._on_break = on_break

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: object) -> Any:
        if not sql.endswith("; COMMIT"):
            return self._connection.execute(sql, *arguments)
        if self._committed:
            self._connection.execute(sql)
        self._connection.close()
        self._on_break()
        raise psycopg.OperationalError("the answer was lost")


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_in_doubt_happens_once(postgres_server: PostgresServer, log: Any, committed: bool) -> None:
    async with opened(postgres_server.database_url(), log) as database:
        session = database._session
        session._connection = FailingOnce(session._connection, committed=committed)  # type: ignore[assignment]
        assert await database.transact(increment) == 1
        assert await database.transact(read) == 1


async def test_an_outcome_that_nobody_can_tell_is_said_to_be_unknown(
    postgres_server: PostgresServer, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_SETTLE_S", 0.2)
    async with opened(postgres_server.database_url(), log) as database:
        session = database._session
        session._connection = FailingOnce(  # type: ignore[assignment]
            session._connection, committed=True, on_break=postgres_server.stop
        )
        try:
            with pytest.raises(OutcomeUnknown, match="broke during a commit"):
                await database.transact(increment)
        finally:
            await trio.to_thread.run_sync(postgres_server.start)
        assert await database.transact(read) == 1


async def test_a_writer_that_stands_still_does_not_stop_the_others(postgres_server: PostgresServer, log: Any) -> None:
    url = postgres_server.database_url()
    async with opened(url, log) as database, opened(url, log, with_table=False) as frozen:
        await frozen.transact(lambda tx: tx.execute("SET idle_in_transaction_session_timeout = '100ms'"))
        session = frozen._session
        assert session._connection is not None
        session._connection.execute("BEGIN; SELECT pg_advisory_xact_lock(8390876208941558632)")
        with trio.fail_after(5):
            assert await database.transact(increment) == 1


async def test_others_commits_are_news_and_our_own_are_not(postgres_server: PostgresServer, log: Any) -> None:
    url = postgres_server.database_url()
    async with opened(url, log) as ours, opened(url, log, with_table=False) as theirs:
        with trio.fail_after(5):
            await ours.wait_changed()  # What came before we listened.
        await ours.transact(increment)
        await theirs.transact(read, read_only=True)
        await theirs.transact(read)
        with trio.move_on_after(0.2) as scope:
            await ours.wait_changed()
        assert scope.cancelled_caught
        await theirs.transact(increment)
        with trio.fail_after(5):
            await ours.wait_changed()
        with pytest.raises(ValueError, match="rolled back"):
            await theirs.transact(fail_after_writing)
        with trio.move_on_after(0.2) as scope:
            await ours.wait_changed()
        assert scope.cancelled_caught


def fail_after_writing(transaction: Transaction) -> None:
    increment(transaction)
    raise ValueError("rolled back")


async def test_a_time_of_not_listening_counts_as_news(
    postgres_server: PostgresServer, log: Any, log_capture: Any
) -> None:
    async with opened(postgres_server.database_url(), log) as database, trio.open_nursery() as nursery:
        await database.wait_changed()
        nursery.start_soon(trio.to_thread.run_sync, postgres_server.restart)
        with trio.fail_after(20):
            await database.wait_changed()
    assert "database.listening_lost" in {entry["event"] for entry in log_capture.entries}


async def test_who_waits_for_news_is_told_of_the_end(postgres_server: PostgresServer, log: Any) -> None:
    async with opened(postgres_server.database_url(), log) as database, trio.open_nursery() as nursery:
        await database.wait_changed()

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await database.wait_changed()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await database.aclose()
