"""Several control planes on one PostgreSQL: no revision appears late, and everybody hears of the others' writes."""

import trio

from mesh.control.store.store import Store
from mesh.control.store.values import Conflict, Put
from tests.mesh.control.store.store_world import StoreWorld, mesh
from tests.postgres_server import PostgresServer

WRITES = 25


async def write(store: Store, prefix: str) -> None:
    for number in range(WRITES):
        await store.write([Put(resource=mesh(f"{prefix}{number}"))], by=prefix)


def test_a_follower_sees_every_revision_in_order(postgres: StoreWorld) -> None:
    async def body() -> None:
        first, second, follower = [await postgres.store() for _ in range(3)]
        seen: list[int] = []
        revision = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, first, "a")
            nursery.start_soon(write, second, "b")
            with trio.fail_after(20):
                while revision < 2 * WRITES:
                    await follower.wait_changed()
                    changes, revision = await follower.since(revision)
                    seen += [change.revision for change in changes]
        # A number that appeared after a higher one would be missing for ever.
        assert seen == list(range(1, 2 * WRITES + 1))
        stored, _ = await follower.load()
        assert len(stored) == 2 * WRITES

    postgres.run(body)


def test_of_two_who_change_one_version_one_wins(postgres: StoreWorld) -> None:
    async def body() -> None:
        stores = [await postgres.store() for _ in range(2)]
        await stores[0].write([Put(resource=mesh("a"))], by="alice")
        for version in range(1, 11):
            outcomes: list[int] = []

            async def change(store: Store, version: int = version, outcomes: list[int] = outcomes) -> None:
                try:
                    await store.write([Put(resource=mesh("a"), expected_version=version)], by="bob")
                    outcomes.append(version)
                except Conflict as conflict:
                    outcomes.append(conflict.actual)

            async with trio.open_nursery() as nursery:
                for store in stores:
                    nursery.start_soon(change, store)
            assert sorted(outcomes) == [version, version + 1]

    postgres.run(body)


def test_stores_that_start_together_migrate_once(postgres: StoreWorld) -> None:
    async def body() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(postgres.store)
        migrated = [entry for entry in postgres.logged.entries if entry["event"] == "store.migrated"]
        assert len(migrated) == 1

    postgres.run(body)


def test_writing_goes_on_after_the_server_crashed(postgres: StoreWorld, postgres_server: PostgresServer) -> None:
    async def body() -> None:
        store = await postgres.store()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, store, "a")
            await trio.sleep(0.05)
            await trio.to_thread.run_sync(postgres_server.restart, "immediate")
        stored, revision = await store.load()
        assert (len(stored), revision) == (WRITES, WRITES)
        assert {item.version for item in stored} == {1}  # Nothing was written twice.

    postgres.run(body)
