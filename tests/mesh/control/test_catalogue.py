"""The catalogue: checked across resources, written whole or not at all, and the same in memory as in the store."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import attrs
import pytest
import trio
from memory_store import Handle, SharedDatabase, open_store, same_key
from memory_world import MemoryWorld
from trio.testing import MockClock

from mesh.control.catalogue import Catalogue, Origin
from mesh.control.store.values import Conflict, Delete, Key, Put
from mesh.model.errors import ConfigError, StoreError
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from mesh.runtime.environment import Transaction

T = TypeVar("T")


@attrs.define(eq=False)
class Room:
    """A database, and catalogues of it."""

    database: SharedDatabase = attrs.field(factory=SharedDatabase)
    live: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    heard: list[Key] = attrs.field(factory=list)

    async def catalogue(self) -> Catalogue:
        store = await open_store(self.database, MemoryWorld().environment("control-plane"))
        catalogue = Catalogue(store, new_mesh_key=same_key, live_dataplanes=lambda mesh: self.live.get(mesh, ()))
        await catalogue.load()
        catalogue.on_change(self.heard.extend)
        return catalogue


def in_room(test: Callable[[Room], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        trio.run(test, Room())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def resource(kind: str, name: str, *, mesh: str = "", **fields: Any) -> Resource:
    document = {"type": kind, "name": name, **fields}
    return load_resource(document | ({"mesh": mesh} if mesh else {}), file="test")


def timeout(name: str, request: str = "5s", *, mesh: str = "shop", **fields: Any) -> Resource:
    conf = {"http": {"requestTimeout": request}}
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]}
    return resource("MeshTimeout", name, mesh=mesh, spec=spec, **fields)


SHOP = resource("Mesh", "shop")


async def with_shop(room: Room) -> Catalogue:
    catalogue = await room.catalogue()
    await catalogue.write([Put(resource=SHOP)], by="jo")
    room.heard.clear()
    return catalogue


async def refused(catalogue: Catalogue, *changes: Put | Delete, origin: Origin = Origin.OPERATOR) -> list[str]:
    """Return what is wrong with changes, after seeing that none of them was made."""
    before = catalogue.resources()
    with pytest.raises(ConfigError) as caught:
        await catalogue.write(changes, by="jo", origin=origin)
    assert catalogue.resources() == before
    assert [violation.message for violation in catalogue.check(changes, origin=origin)] == [
        violation.message for violation in caught.value.violations
    ]
    return [violation.message for violation in caught.value.violations]


@in_room
async def test_new_mesh_brings_its_policies_and_key_in_one_transaction(room: Room) -> None:
    catalogue = await room.catalogue()
    outcome = await catalogue.write([Put(resource=SHOP)], by="jo")
    assert [stored.resource.key for stored in outcome.stored if stored] == [("Mesh", "", "shop")]
    assert outcome.revision == catalogue.revision == 1
    assert [stored.resource.name for stored in catalogue.list("MeshTimeout", "shop")] == [
        "mesh-timeout-all-shop",
        "mesh-timeout-to-all-shop",
    ]
    assert [stored.resource.name for stored in catalogue.list("Secret")] == ["dataplane-token-signing-key-shop-1"]
    assert ("Mesh", "", "shop") in room.heard and len(room.heard) == 6


@in_room
async def test_policies_that_come_with_their_mesh_are_not_made_twice(room: Room) -> None:
    catalogue = await room.catalogue()
    own = timeout("mesh-timeout-to-all-shop", "9s")
    await catalogue.write([Put(resource=SHOP), Put(resource=own)], by="jo")
    stored = catalogue.get(own.key)
    assert stored is not None and stored.version == 1 and stored.resource == own


@in_room
async def test_what_is_the_same_already_is_not_written(room: Room) -> None:
    catalogue = await with_shop(room)
    first = await catalogue.write([Put(resource=timeout("a", "60s"))], by="jo")
    room.heard.clear()
    same = await catalogue.write([Put(resource=timeout("a", "1m"))], by="jo")
    assert same == first and room.heard == []
    other = await catalogue.write([Put(resource=timeout("a", "1m")), Put(resource=timeout("b"))], by="jo")
    assert [stored.version for stored in other.stored if stored] == [1, 1]
    assert room.heard == [("MeshTimeout", "shop", "b")]
    labelled = await catalogue.write([Put(resource=timeout("a", "1m", labels={"team": "x"}))], by="jo")
    assert [stored.version for stored in labelled.stored if stored] == [2]


@in_room
async def test_wrong_version_is_a_conflict_even_where_nothing_would_change(room: Room) -> None:
    catalogue = await with_shop(room)
    await catalogue.write([Put(resource=timeout("a"))], by="jo")
    for expected in (0, 2):
        with pytest.raises(Conflict):
            await catalogue.write([Put(resource=timeout("a"), expected_version=expected)], by="jo")
    with pytest.raises(Conflict):
        await catalogue.write([Delete(key=("MeshTimeout", "shop", "b"), expected_version=1)], by="jo")


@in_room
async def test_everything_wrong_is_said_at_once_and_nothing_is_written(room: Room) -> None:
    catalogue = await with_shop(room)
    messages = await refused(
        catalogue,
        Put(resource=timeout("a")),
        Put(resource=timeout("b", mesh="bank")),
        Put(resource=timeout("a", "7s")),
        Put(resource=resource("Workload", "web", mesh="shop")),
    )
    assert messages == [
        "MeshTimeout 'b' of mesh 'bank': there is no mesh 'bank'",
        "MeshTimeout 'a' of mesh 'shop': is changed twice in one step",
        "Workload 'web' of mesh 'shop': a Workload is written by the control plane alone",
    ]


@in_room
async def test_mesh_and_what_is_in_it_may_come_together_in_any_order(room: Room) -> None:
    catalogue = await room.catalogue()
    await catalogue.write([Put(resource=timeout("a")), Put(resource=SHOP)], by="jo")
    assert catalogue.meshes() == ("shop",)


@in_room
async def test_mesh_with_dataplanes_stays(room: Room) -> None:
    catalogue = await with_shop(room)
    networking = {"address": "10.0.0.1", "inbound": [{"port": 80}]}
    applied = resource("Dataplane", "dp-1", mesh="shop", networking=networking)
    await catalogue.write([Put(resource=applied)], by="jo")
    room.live["shop"] = tuple(f"web-{number}" for number in range(7))
    delete = Delete(key=SHOP.key)
    assert await refused(catalogue, delete) == [
        "Mesh 'shop': cannot be deleted: there are Dataplanes in it: dp-1, web-0, web-1, web-2, web-3 and 3 more"
    ]
    room.live.clear()
    await catalogue.write([delete, Delete(key=applied.key)], by="jo")
    assert catalogue.meshes() == ()


@in_room
async def test_mesh_that_goes_takes_along_what_is_in_it(room: Room) -> None:
    catalogue = await with_shop(room)
    await catalogue.write([Put(resource=resource("Mesh", "bank")), Put(resource=timeout("a"))], by="jo")
    outcome = await catalogue.write([Delete(key=SHOP.key)], by="jo")
    assert outcome.stored == (None,)
    assert {resource.mesh for resource in catalogue.resources() if resource.mesh} == {"bank"}
    again = await room.catalogue()
    assert again.resources() == catalogue.resources()


@in_room
async def test_what_files_hold_is_changed_there(room: Room) -> None:
    catalogue = await with_shop(room)
    await catalogue.write([Put(resource=timeout("a"))], by="files", origin=Origin.FILES)
    held = catalogue.get(timeout("a").key)
    assert held is not None and held.resource.labels == {"kuma.io/managed-by": "files"}
    for change in (Put(resource=timeout("a", "9s")), Delete(key=held.resource.key)):
        (message,) = await refused(catalogue, change)
        assert "is read from files of the control plane's host" in message
    # What was exported and is applied again is no change.
    for unchanged in (timeout("a"), held.resource):
        outcome = await catalogue.write([Put(resource=unchanged)], by="jo")
        assert outcome.stored == (held,)


@in_room
async def test_label_of_files_is_not_taken_from_operators(room: Room) -> None:
    catalogue = await with_shop(room)
    await catalogue.write([Put(resource=timeout("a", labels={"kuma.io/managed-by": "files", "team": "x"}))], by="jo")
    stored = catalogue.get(timeout("a").key)
    assert stored is not None and stored.resource.labels == {"team": "x"}


@in_room
async def test_authorities_of_the_control_plane_are_not_for_operators(room: Room) -> None:
    catalogue = await with_shop(room)
    data = "c2VjcmV0"
    own = resource("GlobalSecret", "control-plane-ca", data=data)
    ring = resource("Secret", "ca-shop.mesh.local", mesh="shop", data=data)
    await catalogue.write([Put(resource=own), Put(resource=ring)], by="us", origin=Origin.CONTROL_PLANE)
    messages = await refused(catalogue, Delete(key=own.key), Delete(key=ring.key))
    assert len(messages) == 2 and "its own" not in messages[0] and "control plane's own" in messages[0]
    await catalogue.write([Put(resource=own)], by="jo")


@in_room
async def test_signing_key_that_cannot_be_read_is_refused(room: Room) -> None:
    catalogue = await with_shop(room)
    junk = resource("Secret", "dataplane-token-signing-key-shop-2", mesh="shop", data="anVuaw==")
    (message,) = await refused(catalogue, Put(resource=junk))
    assert "signing key 2" in message and "anVuaw" not in message


@in_room
async def test_what_another_control_plane_wrote_is_taken_over(room: Room) -> None:
    ours = await with_shop(room)
    theirs = await room.catalogue()
    room.heard.clear()
    await theirs.write([Put(resource=timeout("a"))], by="ann")
    await theirs.write([Delete(key=("MeshRetry", "shop", "mesh-retry-all-shop"))], by="ann")
    room.heard.clear()
    await ours.refresh()
    assert ours.resources() == theirs.resources() and ours.revision == theirs.revision
    assert sorted(room.heard) == [("MeshRetry", "shop", "mesh-retry-all-shop"), ("MeshTimeout", "shop", "a")]
    await ours.refresh()
    assert len(room.heard) == 2


@in_room
async def test_write_after_anothers_takes_both_over(room: Room) -> None:
    ours, theirs = await with_shop(room), await room.catalogue()
    await theirs.write([Put(resource=timeout("a"))], by="ann")
    await ours.write([Put(resource=timeout("b"))], by="jo")
    assert [stored.resource.name for stored in ours.list("MeshTimeout")][:2] == ["a", "b"]
    assert ours.revision == theirs.revision + 1


@in_room
async def test_conflict_teaches_what_is_there(room: Room) -> None:
    ours, theirs = await with_shop(room), await room.catalogue()
    await theirs.write([Put(resource=timeout("a"))], by="ann")
    with pytest.raises(Conflict):
        await ours.write([Put(resource=timeout("a", "9s"), expected_version=0)], by="jo")
    assert ours.get(timeout("a").key) == theirs.get(timeout("a").key)


@in_room
async def test_what_configures_a_mesh_is_the_same_object_until_it_changes(room: Room) -> None:
    catalogue = await with_shop(room)
    await catalogue.write([Put(resource=resource("Mesh", "bank"))], by="jo")
    before = catalogue.of_mesh("shop")
    secret = resource("GlobalSecret", "other", data="c2VjcmV0")
    await catalogue.write([Put(resource=secret), Put(resource=timeout("a", mesh="bank"))], by="jo")
    assert catalogue.of_mesh("shop") is before
    assert catalogue.meshes_changed_by([secret.key, ("MeshTimeout", "bank", "a")]) == ("bank",)
    generator = {"template": "{{ .DisplayName }}.x", "selector": {"meshService": {"matchLabels": {}}}}
    await catalogue.write([Put(resource=resource("HostnameGenerator", "x", spec=generator))], by="jo")
    after = catalogue.of_mesh("shop")
    assert [item.name for item in after if item.kind == "HostnameGenerator"] == ["x"]
    assert not any("signing-key" in item.name for item in after)
    assert catalogue.meshes_changed_by([("HostnameGenerator", "", "x")]) == ("bank", "shop")


@in_room
async def test_after_tells_what_would_be_without_writing(room: Room) -> None:
    catalogue = await with_shop(room)
    changes = [Put(resource=timeout("a")), Delete(key=("MeshRetry", "shop", "mesh-retry-all-shop"))]
    after = catalogue.after(changes)
    assert list(after) == ["shop"]
    names = [item.name for item in after["shop"]]
    assert "a" in names and "mesh-retry-all-shop" not in names
    assert catalogue.get(timeout("a").key) is None


class PatientHandle(Handle):
    """Its server is away, and every transaction waits for it in vain."""

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        await trio.sleep(15.0)
        raise StoreError("the server is away")


def test_writes_behind_one_that_waits_for_the_store_are_refused_in_time() -> None:
    async def test() -> None:
        room = Room()
        catalogue = await room.catalogue()
        catalogue.store.database = PatientHandle(room.database)

        async def write(number: int) -> None:
            with pytest.raises(StoreError):
                await catalogue.write([Put(resource=resource("Mesh", f"mesh-{number}"))], by="jo")

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(write, number)
        assert trio.current_time() - began == pytest.approx(15.0)

    trio.run(test, clock=MockClock(autojump_threshold=0))
