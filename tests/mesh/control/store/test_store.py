"""The store's contract, on every database."""

import pytest
import trio

from mesh.control.store.store import Store
from mesh.control.store.values import Change, Conflict, Delete, Forgotten, Key, Put, Stored
from mesh.model.errors import StoreError
from tests.mesh.control.store.store_world import EPOCH_S, StoreWorld, mesh, mesh_key, secret


def versions(stored: tuple[Stored, ...]) -> dict[Key, int]:
    return {item.key: item.version for item in stored}


def test_what_was_written_is_read_back_after_a_restart(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        assert await store.load() == ((), 0)
        outcome = await store.write([Put(resource=mesh("b", team="x")), Put(resource=mesh("a"))], by="alice")
        assert outcome.revision == 1
        assert [stored and stored.version for stored in outcome.stored] == [1, 1]
        await store.aclose()

        reopened = await world.store()
        stored, revision = await reopened.load()
        assert revision == 1
        assert [item.resource for item in stored] == [mesh("a"), mesh("b", team="x")]
        assert stored[1].resource.written == {"type": "Mesh", "name": "b", "labels": {"team": "x"}}
        assert {item.resource.created for item in stored} == {EPOCH_S}

    world.run(body)


def test_versions_and_dates_follow_the_writes(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"), expected_version=0)], by="alice")
        world.now += 60.0
        outcome = await store.write([Put(resource=mesh("a", x="1"), expected_version=1)], by="bob")
        (stored,) = outcome.stored
        assert stored is not None
        assert (stored.version, stored.created, stored.modified) == (2, EPOCH_S, EPOCH_S + 60.0)
        assert await store.load() == ((stored,), 2)
        assert (await store.write([], by="bob")).revision == 2

    world.run(body)


def test_a_conflict_writes_nothing_of_the_whole(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        for wrong, actual in (
            (Put(resource=mesh("a"), expected_version=0), 1),
            (Put(resource=mesh("a"), expected_version=2), 1),
            (Put(resource=mesh("b"), expected_version=1), 0),
            (Delete(key=mesh_key("a"), expected_version=2), 1),
            (Delete(key=mesh_key("b"), expected_version=1), 0),
        ):
            with pytest.raises(Conflict) as caught:
                await store.write([Put(resource=mesh("c")), wrong], by="bob")
            assert (caught.value.key, caught.value.expected, caught.value.actual) == (
                wrong.key,
                wrong.expected_version,
                actual,
            )
        stored, revision = await store.load()
        assert (versions(stored), revision) == ({mesh_key("a"): 1}, 1)
        assert len(await store.audit(limit=10)) == 1

    world.run(body)


def test_a_resource_made_again_does_not_repeat_a_version(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        await store.write([Delete(key=mesh_key("a"), expected_version=1)], by="alice")
        outcome = await store.write([Put(resource=mesh("a"), expected_version=0)], by="alice")
        assert outcome.stored[0] is not None
        assert outcome.stored[0].version == 2
        with pytest.raises(Conflict):
            await store.write([Put(resource=mesh("a"), expected_version=1)], by="somebody who slept")

    world.run(body)


def test_changes_since_a_revision_include_deletions(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a")), Put(resource=mesh("b"))], by="alice")
        second = await store.write([Put(resource=mesh("c")), Delete(key=mesh_key("a"))], by="alice")
        third = await store.write([Put(resource=mesh("b", x="1"))], by="alice")
        assert await store.since(1) == (
            (
                Change(key=mesh_key("a"), stored=None, revision=2),
                Change(key=mesh_key("c"), stored=second.stored[0], revision=2),
                Change(key=mesh_key("b"), stored=third.stored[0], revision=3),
            ),
            3,
        )
        assert await store.since(3) == ((), 3)
        assert [change.key for change in (await store.since(0))[0]] == [mesh_key(name) for name in "acb"]
        await store.write([Put(resource=mesh("a")), Delete(key=mesh_key("never there"))], by="alice")
        changes, _ = await store.since(3)
        assert [(change.key, change.stored is None) for change in changes] == [(mesh_key("a"), False)]

    world.run(body)


def test_old_revisions_are_forgotten_and_say_so(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.control.store.resource_rows.DELETIONS_KEPT", 3)

    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        await store.write([Delete(key=mesh_key("a"))], by="alice")
        for number in range(2):
            await store.write([Put(resource=mesh(f"b{number}"))], by="alice")
        assert len((await store.since(1))[0]) == 3
        await store.write([Put(resource=mesh("c"))], by="alice")
        with pytest.raises(Forgotten):
            await store.since(1)
        assert len((await store.since(2))[0]) == 3
        with pytest.raises(Forgotten):  # As after a database was brought back from a copy.
            await store.since(6)

    world.run(body)


def test_the_audit_log_tells_who_did_what(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.control.store.resource_rows.AUDIT_ROWS_MAX", 4)

    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a")), Put(resource=mesh("b"))], by="alice", reason="ticket 7")
        await store.write([Put(resource=mesh("a"))], by="bob")
        await store.write([Delete(key=mesh_key("a")), Delete(key=mesh_key("absent"))], by="carol")
        entries = await store.audit(limit=10)
        assert [(e.by, e.action, e.key[2], e.version, e.revision, e.detail) for e in entries] == [
            ("carol", "deleted", "a", 2, 3, ""),
            ("bob", "updated", "a", 2, 2, ""),
            ("alice", "created", "b", 1, 1, "ticket 7"),
        ]
        assert entries[0].at == EPOCH_S
        assert await store.audit(limit=1) == entries[:1]
        assert await store.audit(limit=1, before=entries[0].sequence) == entries[1:2]
        assert await store.audit(limit=1, before=entries[-1].sequence) == ()

    world.run(body)


def test_secrets_are_sealed_in_the_database_and_whole_outside(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        outcome = await store.write([Put(resource=secret("s"))], by="alice")
        (stored,), _ = await store.load()
        assert stored == outcome.stored[0]
        assert stored.resource.written["data"] == "aHVudGVyMg=="
        for table in ("resources", "audit"):
            rows = await store.database.transact(lambda tx, table=table: tx.execute(f"SELECT * FROM {table}"))
            assert "aHVudGVyMg" not in repr(rows)
            assert "hunter2" not in repr(rows)
        assert "aHVudGVyMg" not in repr(stored)

    world.run(body)


def test_what_cannot_be_read_is_kept_reported_and_skipped(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write(
            [Put(resource=mesh("good")), Put(resource=mesh("bad")), Put(resource=secret("s"))], by="alice"
        )
        await store.database.transact(
            lambda tx: tx.execute("UPDATE resources SET document = :d WHERE name = 'bad'", {"d": '{"type": "Gone"}'})
        )
        await store.database.transact(
            lambda tx: tx.execute("UPDATE resources SET sealed = :b WHERE name = 's'", {"b": b"\x01garbage"})
        )
        stored, revision = await store.load()
        assert (versions(stored), revision) == ({mesh_key("good"): 1}, 1)
        assert list(store.unreadable) == [mesh_key("bad"), ("Secret", "default", "s")]
        assert "Gone" in store.unreadable[mesh_key("bad")].reason
        assert [change.key for change in (await store.since(0))[0]] == [mesh_key("good")]
        warnings = [entry for entry in world.logged.entries if entry["event"] == "resource.not_read"]
        assert {(entry["kind"], entry["resource"]) for entry in warnings} == {("Mesh", "bad"), ("Secret", "s")}
        await store.write([Put(resource=mesh("bad"), expected_version=1)], by="alice")
        assert versions((await store.load())[0]) == {mesh_key("bad"): 2, mesh_key("good"): 1}
        assert list(store.unreadable) == [("Secret", "default", "s")]

    world.run(body)


def test_a_cancelled_write_happened_or_did_not(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        acknowledged = 0
        for number in range(60):
            with trio.CancelScope() as scope:
                scope.deadline = trio.current_time() + number * 0.00003
                await trio.lowlevel.checkpoint()
                await store.write([Put(resource=mesh(f"m{number:02}"), expected_version=0)], by="alice")
                acknowledged += 1
        stored, revision = await store.load()
        # Whoever is cancelled in time has done nothing, and who is not gets the answer.
        assert len(stored) == revision == acknowledged

    world.run(body)


def test_work_that_fails_leaves_nothing_behind(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()

        def work(tx: object) -> None:
            tx.execute("DELETE FROM counters")
            raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await store.database.transact(work)
        with pytest.raises(StoreError):
            await store.database.transact(lambda tx: tx.execute("SELECT nonsense"))
        assert (await store.write([Put(resource=mesh("a"))], by="alice")).revision == 1
        await store.aclose()
        with pytest.raises(StoreError, match="closed"):
            await store.load()

    world.run(body)


def write_many(store: Store, prefix: str, count: int) -> object:
    async def write() -> None:
        for number in range(count):
            await store.write([Put(resource=mesh(f"{prefix}{number}"))], by=prefix)

    return write


def test_writers_of_one_process_take_turns(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        async with trio.open_nursery() as nursery:
            for prefix in "abc":
                nursery.start_soon(write_many(store, prefix, 5))
        stored, revision = await store.load()
        assert (len(stored), revision) == (15, 15)

    world.run(body)


def test_a_note_stands_in_the_audit_log_among_the_changes(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        world.now += 5.0
        assert await store.note("issued", ("UserToken", "", "jo"), by="bob", reason="jti=7") == 2
        await store.write([Put(resource=mesh("b"))], by="alice")
        await store.aclose()

        reopened = await world.store()
        last, note, first = await reopened.audit(limit=10)
        assert [entry.sequence for entry in (last, note, first)] == [3, 2, 1]
        assert (note.at, note.by, note.action, note.key) == (EPOCH_S + 5.0, "bob", "issued", ("UserToken", "", "jo"))
        assert (note.version, note.revision, note.detail) == (0, 1, "jti=7")
        assert (await reopened.load())[1] == last.revision == 2

    world.run(body)


def test_a_note_is_news_of_no_resource(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=mesh("a"))], by="alice")
        await store.note("issued", ("UserToken", "", "jo"), by="bob")
        assert await store.since(1) == ((), 1)

    world.run(body)
