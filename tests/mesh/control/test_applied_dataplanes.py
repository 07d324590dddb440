"""Dataplanes that an operator applies: a sidecar joins with one by its name, and goes by every change of it."""

from typing import Any

import pytest
import trio
from memory_store import KEY
from scene import CONTROL_PLANE, MESH, Scene, dataplane, in_virtual_time, resources

from mesh.control.control_plane import ControlPlane
from mesh.control.store.values import Delete, Put
from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint
from mesh.discovery.dataplane_lookup import DataplaneLookup
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.resources.loading import load_resource

REFERENCE = {"type": "Dataplane", "mesh": "retail", "name": "web-1"}
KEY_OF_WEB = ("Dataplane", "retail", "web-1")


async def apply(control_plane: ControlPlane, document: dict[str, Any]) -> None:
    await control_plane.catalogue.write([Put(resource=load_resource(document, file="test"))], by="jo")


def lookup(scene: Scene, *addresses: Address, token: str | None = None) -> DataplaneLookup:
    env = scene.world.environment("web-1")
    random = env.randomness.stream("token")
    valid = issue_dataplane_token(
        KEY, mesh="retail", name="web-1", lifetime_s=86400.0, now=env.wall_clock(), random=random
    )
    return DataplaneLookup(
        env=env,
        endpoints=[ControlPlaneEndpoint(address=address, tls=None) for address in addresses or (CONTROL_PLANE,)],
        token=valid if token is None else token,
        mesh="retail",
        name="web-1",
        state_folder="sidecar",
    )


@in_virtual_time
async def test_sidecar_joins_by_its_name_and_goes_by_changes_at_once(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 1))
    scene.start_sidecar(dataplane("cart-1", 2))
    web = scene.start_sidecar(REFERENCE)
    await trio.sleep(2.0)
    assert scene.status("web-1").converged
    assert "outbound/127.0.0.1:10001" not in web.target.applied[-1].parts
    await apply(control_plane, dataplane("web-1", 1, calls="cart"))
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    assert scene.status("web-1").converged


@in_virtual_time
async def test_applied_dataplane_stays_when_its_sidecar_goes(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 1))
    web = scene.start_sidecar(REFERENCE)
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(2.0)
    web.scope.cancel()
    await trio.sleep(10.0)
    assert [status.proxy.name for status in control_plane.status()] == ["cart-1"]
    assert [resource.name for resource in control_plane.dataplanes("retail")] == ["cart-1", "web-1"]
    with pytest.raises(ConfigError, match="there are Dataplanes in it: cart-1, web-1"):
        await control_plane.catalogue.write([Delete(key=("Mesh", "", "retail"))], by="jo")


@in_virtual_time
async def test_sidecar_whose_dataplane_is_deleted_leaves_and_comes_back_with_it(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 1))
    web = scene.start_sidecar(REFERENCE)
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(2.0)
    await control_plane.catalogue.write([Delete(key=KEY_OF_WEB)], by="jo")
    await trio.sleep(10.0)
    assert [status.proxy.name for status in control_plane.status()] == ["cart-1"]
    assert web.client.status().last_error == "no Dataplane 'web-1' was applied to mesh 'retail'"
    await apply(control_plane, dataplane("web-1", 1))
    await trio.sleep(15.0)
    assert scene.status("web-1").converged


@in_virtual_time
async def test_dataplane_that_a_sidecar_brings_counts_while_it_is_connected(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 9))
    scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(2.0)
    await apply(control_plane, dataplane("web-1", 10))
    await trio.sleep(2.0)
    assert scene.status("web-1").converged
    index = control_plane.index_of("retail")
    assert index is not None and index.state("web-1").dataplane.address == "10.0.1.1"


@in_virtual_time
async def test_name_is_looked_up_before_anything_is_set_up(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    found: list[dict[str, Any]] = []

    async def look() -> None:
        found.append(await lookup(scene).run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await trio.sleep(20.0)
        assert found == []
        (line,) = scene.world.named("dataplane.not_received")
        assert line["reason"] == "no Dataplane 'web-1' was applied to mesh 'retail'"
        await apply(control_plane, dataplane("web-1", 1))
        await trio.sleep(11.0)
    assert found[0]["networking"] == dataplane("web-1", 1)["networking"]
    assert control_plane.status() == ()
    assert "dataplane" in str(scene.world.disks["web-1"].files)


@in_virtual_time
async def test_last_answer_is_good_enough_while_no_control_plane_answers(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 1))
    nobody = Address("10.9.9.9", 1)
    first = await lookup(scene, nobody, CONTROL_PLANE).run()
    await scene.stop_control_plane()
    assert await lookup(scene, nobody, CONTROL_PLANE).run() == first
    assert len(scene.world.named("dataplane.not_asked")) == 1
    with trio.move_on_after(60.0) as scope:
        other = lookup(scene)
        await DataplaneLookup(
            env=other.env, endpoints=other.endpoints, token="", mesh="retail", name="web-2", state_folder="sidecar"
        ).run()
    assert scope.cancelled_caught


@in_virtual_time
async def test_wrong_token_learns_nothing(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    await apply(control_plane, dataplane("web-1", 1))
    with trio.move_on_after(30.0) as scope:
        await lookup(scene, token="junk").run()
    assert scope.cancelled_caught
    (line,) = scene.world.named("dataplane.not_received")
    assert "not a JWT" in line["reason"]
