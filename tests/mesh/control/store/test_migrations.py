import attrs
import pytest

from mesh.control.store.migrations import MIGRATIONS, Migration, migrate
from mesh.control.store.values import Put
from mesh.model.errors import ConfigError, StoreError
from mesh.runtime.environment import Transaction
from tests.mesh.control.store.store_world import StoreWorld, mesh

NEXT = MIGRATIONS[-1].number + 1


def version(transaction: Transaction) -> int:
    return int(transaction.execute("SELECT version FROM schema_version")[0][0])


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_store_is_brought_to_each_new_version_once(world: StoreWorld) -> None:
    column = Migration(number=NEXT, statements=("ALTER TABLE audit ADD COLUMN client TEXT",))
    table = Migration(number=NEXT + 1, statements=("CREATE TABLE extra (a TEXT)", "INSERT INTO extra VALUES ('x')"))

    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        newer = (*MIGRATIONS, column, table)
        assert await store.database.transact(lambda tx: migrate(tx, newer)) == (NEXT - 1, NEXT + 1)
        assert await store.database.transact(lambda tx: migrate(tx, newer)) == (NEXT + 1, NEXT + 1)
        assert await store.database.transact(lambda tx: tx.execute("SELECT client FROM audit")) == [(None,)]
        assert await store.database.transact(lambda tx: tx.execute("SELECT a FROM extra")) == [("x",)]

    world.run(body)


def test_a_migration_that_fails_changes_nothing(world: StoreWorld) -> None:
    broken = Migration(number=NEXT, statements=("CREATE TABLE extra (a TEXT)", "CREATE TABLE extra (a TEXT)"))

    async def body() -> None:
        store = await world.store()
        with pytest.raises(StoreError, match="already exists"):
            await store.database.transact(lambda tx: migrate(tx, (*MIGRATIONS, broken)))
        assert await store.database.transact(version) == NEXT - 1
        with pytest.raises(StoreError, match="extra"):
            await store.database.transact(lambda tx: tx.execute("SELECT * FROM extra"))

    world.run(body)


def test_a_newer_programs_store_is_left_alone(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        newer = (*MIGRATIONS, attrs.evolve(MIGRATIONS[-1], number=NEXT, statements=()))
        await store.database.transact(lambda tx: migrate(tx, newer))
        with pytest.raises(ConfigError, match=f"schema version {NEXT}"):
            await world.store_on(store.database)
        with pytest.raises(ConfigError, match=f"schema version {NEXT}"):
            await world.store_on(store.database, read_only=True)

    world.run(body)


def test_reading_only_changes_nothing(world: StoreWorld) -> None:
    async def body() -> None:
        database = await world.database()
        with pytest.raises(ConfigError, match="the store cannot be read"):
            await world.store_on(database, read_only=True)
        store = await world.store_on(database)
        await store.write([Put(resource=mesh("a"))], by="alice")
        reader = await world.store_on(database, read_only=True)
        assert len((await reader.load())[0]) == 1

    world.run(body)
