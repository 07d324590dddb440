"""Resources from files: taken over whole; what they drop goes, what others wrote stays."""

import pytest
from test_catalogue import Room, in_room, resource, timeout

from mesh.control import file_resources
from mesh.control.catalogue import Catalogue, Origin
from mesh.control.store.values import Put
from mesh.control.write_plan import is_managed_by_files
from mesh.model.errors import ConfigError


def held(catalogue: Catalogue) -> list[str]:
    return [item.name for item in catalogue.resources() if is_managed_by_files(item)]


@in_room
async def test_files_hold_what_they_say_and_nothing_else(room: Room) -> None:
    catalogue = await room.catalogue()
    await file_resources.take_over([timeout("a"), timeout("b")], catalogue)
    await catalogue.write([Put(resource=timeout("c"))], by="jo")
    assert held(catalogue) == ["a", "b"]
    await file_resources.take_over([timeout("b", "9s"), timeout("d")], catalogue)
    assert held(catalogue) == ["b", "d"]
    assert catalogue.get(timeout("c").key) is not None
    before = catalogue.revision
    await file_resources.take_over([timeout("b", "9s"), timeout("d")], catalogue)
    assert catalogue.revision == before


@in_room
async def test_mesh_that_nobody_wrote_is_made_and_is_not_the_files(room: Room) -> None:
    catalogue = await room.catalogue()
    await file_resources.take_over([timeout("a")], catalogue)
    assert catalogue.meshes() == ("shop",) and held(catalogue) == ["a"]
    assert catalogue.get(("MeshRetry", "shop", "mesh-retry-all-shop")) is not None
    await file_resources.take_over([], catalogue)
    assert catalogue.meshes() == ("shop",) and held(catalogue) == []


@in_room
async def test_files_take_over_what_an_operator_wrote_under_the_same_name(room: Room) -> None:
    catalogue = await room.catalogue()
    await catalogue.write([Put(resource=resource("Mesh", "shop"))], by="jo")
    await file_resources.take_over([resource("Mesh", "shop"), timeout("a")], catalogue)
    assert held(catalogue) == ["shop", "a"]
    # The mesh stays while something in the files belongs to it.
    await file_resources.take_over([timeout("a")], catalogue)
    assert catalogue.meshes() == ("shop",)
    await file_resources.take_over([], catalogue)
    assert catalogue.meshes() == ()


@in_room
async def test_all_or_nothing(room: Room) -> None:
    catalogue = await room.catalogue()
    await file_resources.take_over([resource("Mesh", "shop"), timeout("a")], catalogue)
    room.live["shop"] = ("web-1",)
    with pytest.raises(ConfigError, match="there are Dataplanes in it: web-1"):
        await file_resources.take_over([timeout("z", mesh="bank")], catalogue)
    assert held(catalogue) == ["shop", "a"] and catalogue.meshes() == ("shop",)


@in_room
async def test_generated_kinds_are_not_for_files_either(room: Room) -> None:
    catalogue = await room.catalogue()
    workload = resource("Workload", "web", mesh="shop")
    (violation,) = catalogue.check([Put(resource=workload)], origin=Origin.FILES)
    assert "by the control plane alone" in violation.message
