"""Control planes that share a store: one mesh for all of them, whichever of them a sidecar talks to and whichever dies."""

from functools import partial

import trio
from memory_world import MemoryDisk
from scene import CONTROL_PLANE, IDENTITY, MESH, TIMEOUT, Scene, Sidecar, dataplane, in_virtual_time, resources

from mesh.config.snapshot import TrustPart
from mesh.control.control_plane import ControlPlane
from mesh.control.registry import Presence
from mesh.control.store.values import Delete, Put
from mesh.model.departure import Departure
from mesh.model.names import Address, ProxyId

ONE, TWO = CONTROL_PLANE, Address("10.0.0.2", 5678)


async def two_planes(scene: Scene, *texts: str) -> tuple[ControlPlane, ControlPlane]:
    one = await scene.start_control_plane(*resources(MESH, *texts), host="cp-1", address=ONE, shared=True)
    two = await scene.start_control_plane(host="cp-2", address=TWO, shared=True)
    return one, two


async def web_at_one_cart_at_two(scene: Scene) -> tuple[Sidecar, Sidecar]:
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(ONE,))
    cart = scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO,))
    await trio.sleep(3.0)
    return web, cart


@in_virtual_time
async def test_sidecars_of_different_control_planes_learn_of_one_another_within_a_second(scene: Scene) -> None:
    one, two = await two_planes(scene)
    web, cart = await web_at_one_cart_at_two(scene)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    scene.start_sidecar(dataplane("cart-2", 3), addresses=(TWO,))
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True, "cart-2": True}
    cart.client.report_health("http", False)
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": False, "cart-2": True}
    cart.client.depart(Departure.DRAINING)
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-2": True}
    assert scene.status("cart-1", one).departure is Departure.DRAINING
    cart.scope.cancel()
    await trio.sleep(4.0)
    assert web.target.endpoints("cart_8080") == {"cart-2": True}
    names = [[(status.proxy.name, status.instance) for status in plane.status()] for plane in (one, two)]
    assert names[0] == names[1] == [("cart-2", two.instance), ("web-1", one.instance)]


@in_virtual_time
async def test_each_tells_how_it_stands_with_all_proxies(scene: Scene) -> None:
    one, two = await two_planes(scene, IDENTITY)
    await web_at_one_cart_at_two(scene)
    for name in ("web-1", "cart-1"):
        here, there = scene.status(name, one), scene.status(name, two)
        assert here.converged and there.converged and here.acked_version == there.acked_version
        assert here.revision == there.revision == one.catalogue.revision
        assert here.certificate_expires is not None and here.certificate_expires == there.certificate_expires
    assert one.insight(ProxyId("retail", "cart-1")).subscriptions[0].instance == two.instance
    assert [resource.name for resource in one.dataplanes("retail")] == ["cart-1", "web-1"]


@in_virtual_time
async def test_write_at_one_reaches_the_sidecars_of_the_other(scene: Scene) -> None:
    one, two = await two_planes(scene)
    _, cart = await web_at_one_cart_at_two(scene)
    outcome = await one.catalogue.write([Put(resource=resources(IDENTITY)[0])], by="jo")
    assert one.published_revision("retail") < outcome.revision
    await trio.sleep(3.0)
    assert "identity" in cart.target.applied[-1].parts
    assert one.published_revision("retail") == two.published_revision("retail") == one.catalogue.revision
    assert two.catalogue.resources() == one.catalogue.resources()


@in_virtual_time
async def test_they_share_the_authority_of_a_mesh(scene: Scene) -> None:
    await two_planes(scene, IDENTITY)
    web, cart = await web_at_one_cart_at_two(scene)
    parts = [sidecar.target.applied[-1].parts["trust/retail.default.mesh.local"] for sidecar in (web, cart)]
    assert isinstance(parts[0], TrustPart) and parts[0] == parts[1] and len(parts[0].roots_pem) == 1


@in_virtual_time
async def test_sidecars_fail_over_and_nobody_leaves_when_a_control_plane_dies(scene: Scene) -> None:
    one, two = await two_planes(scene)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(TWO,))
    carts = [scene.start_sidecar(dataplane(f"cart-{n}", 1 + n), addresses=(ONE, TWO)) for n in (1, 2, 3, 4)]
    await trio.sleep(5.0)
    assert {status.instance for status in two.status()} == {one.instance, two.instance}
    everybody = {f"cart-{n}": True for n in (1, 2, 3, 4)}
    assert web.target.endpoints("cart_8080") == everybody
    applied = len(web.target.applied)
    await scene.stop_control_plane(ONE)
    await trio.sleep(20.0)
    assert {status.instance for status in two.status()} == {two.instance}
    assert all(status.converged for status in two.status())
    assert web.target.endpoints("cart_8080") == everybody and len(web.target.applied) == applied
    assert all(cart.client.status().connected for cart in carts)
    assert scene.world.named("proxy.left") == []
    (line,) = scene.world.named("instance.lost") or [{"instance": one.instance}]
    assert line["instance"] == one.instance


@in_virtual_time
async def test_proxies_that_die_with_their_control_plane_are_awaited_for_a_while(scene: Scene) -> None:
    _, two = await two_planes(scene)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(TWO,))
    cart = scene.start_sidecar(dataplane("cart-1", 2), addresses=(ONE,))
    await trio.sleep(3.0)
    cart.scope.cancel()
    await scene.stop_control_plane(ONE)
    await trio.sleep(12.0)
    assert scene.status("cart-1", two).presence is Presence.AWAITED
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    (line,) = scene.world.named("instance.lost")
    assert line["proxies_awaited"] == 1
    await trio.sleep(22.0)
    # It may be connected to the other one, if that lives: callers who have nobody else may try.
    assert scene.status("cart-1", two).presence is Presence.LOST
    assert web.target.endpoints("cart_8080") == {"cart-1": False}
    await trio.sleep(300.0)
    assert web.target.endpoints("cart_8080") == {}
    # A third one is not told of it any more.
    three = await scene.start_control_plane(host="cp-3", address=Address("10.0.0.3", 5678), shared=True)
    assert [status.proxy.name for status in three.status()] == ["web-1"]


@in_virtual_time
async def test_connection_that_was_made_last_counts(scene: Scene) -> None:
    one, two = await two_planes(scene)
    scene.start_sidecar(dataplane("web-1", 1), addresses=(ONE,))
    await trio.sleep(2.0)
    newer = scene.start_sidecar(dataplane("web-1", 1), addresses=(TWO,))
    await trio.sleep(1.0)
    (line,) = scene.world.named("control_plane.refused_us")[:1]
    assert line["kind"] == "replaced"
    assert scene.status("web-1", two).instance == two.instance
    assert newer.client.status().connected
    assert scene.status("web-1", one).connected


@in_virtual_time
async def test_restarted_control_plane_knows_its_own_and_awaits_them_alone(scene: Scene) -> None:
    one, _ = await two_planes(scene)
    web, _ = await web_at_one_cart_at_two(scene)
    name = one.instance
    await scene.stop_control_plane(ONE)
    again = await scene.start_control_plane(host="cp-1", address=ONE, shared=True)
    assert again.instance != name and again.instance.rpartition("-")[0] == name.rpartition("-")[0]
    presence = {status.proxy.name: status.presence for status in again.status()}
    assert presence == {"cart-1": Presence.CONNECTED, "web-1": Presence.AWAITED}
    await trio.sleep(5.0)
    assert scene.status("web-1", again).converged
    assert web.target.endpoints("cart_8080") == {"cart-1": True}


@in_virtual_time
async def test_mesh_is_not_deleted_at_one_while_sidecars_are_at_the_other(scene: Scene) -> None:
    one, _ = await two_planes(scene)
    scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO,))
    await trio.sleep(2.0)
    (violation,) = one.catalogue.check([Delete(key=("Mesh", "", "retail"))])[:1]
    assert "cart-1" in violation.message


@in_virtual_time
async def test_store_that_is_away_is_waited_for(scene: Scene) -> None:
    one, two = await two_planes(scene)
    web, _ = await web_at_one_cart_at_two(scene)
    for handle in scene.database.handles:
        handle.broken = True
    scene.start_sidecar(dataplane("cart-2", 3), addresses=(TWO,))
    await trio.sleep(20.0)
    assert scene.status("cart-2", two).converged
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    for handle in scene.database.handles:
        handle.broken = False
    await trio.sleep(5.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True, "cart-2": True}
    assert scene.world.named("registry.not_kept")
    await one.catalogue.write([Put(resource=resources(TIMEOUT)[0])], by="jo")
    await trio.sleep(3.0)
    assert all(scene.status(name, two).revision == one.catalogue.revision for name in ("web-1", "cart-1", "cart-2"))


@in_virtual_time
async def test_store_that_comes_back_does_not_make_the_living_dead(scene: Scene) -> None:
    one, two = await two_planes(scene)
    await web_at_one_cart_at_two(scene)
    for handle in scene.database.handles:
        handle.broken = True
    await trio.sleep(20.0)
    for handle in reversed(scene.database.handles):
        handle.broken = False
        await trio.sleep(2.5)  # The first one to reach it finds no sign of life of the other.
    await trio.sleep(20.0)
    assert scene.world.named("instance.lost") == []
    for plane in (one, two):
        presences = {status.proxy.name: (status.instance, status.presence) for status in plane.status()}
        assert presences == {
            "cart-1": (two.instance, Presence.CONNECTED),
            "web-1": (one.instance, Presence.CONNECTED),
        }


@in_virtual_time
async def test_control_plane_that_dies_while_the_store_is_away_is_noticed_later(scene: Scene) -> None:
    one, two = await two_planes(scene)
    await web_at_one_cart_at_two(scene)
    for handle in scene.database.handles:
        handle.broken = True
    await trio.sleep(20.0)
    await scene.stop_control_plane(ONE)
    for handle in scene.database.handles:
        handle.broken = False
    await trio.sleep(20.0)
    (line,) = scene.world.named("instance.lost")
    assert line["instance"] == one.instance
    assert scene.status("web-1", two).presence is Presence.AWAITED


@in_virtual_time
async def test_proxies_of_a_plane_that_was_cut_off_from_the_store_are_known_again(scene: Scene) -> None:
    one, two = await two_planes(scene)
    web, _ = await web_at_one_cart_at_two(scene)
    theirs = scene.database.handles[1]
    theirs.broken = True
    await trio.sleep(60.0)  # The first one has waited for the second one's proxies, and lost them.
    assert web.target.endpoints("cart_8080") == {"cart-1": False}
    theirs.broken = False
    await trio.sleep(5.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    for plane in (one, two):
        owners = {status.proxy.name: (status.instance, status.connected) for status in plane.status()}
        assert owners == {"cart-1": (two.instance, True), "web-1": (one.instance, True)}


@in_virtual_time
async def test_plane_that_is_cut_off_from_the_store_sends_its_sidecars_to_the_other(scene: Scene) -> None:
    one, two = await two_planes(scene)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(ONE,))
    own = scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO,))
    carts = [scene.start_sidecar(dataplane(f"cart-{n}", 1 + n), addresses=(ONE, TWO)) for n in (2, 3, 4, 5)]
    caller = scene.start_sidecar(dataplane("api-1", 7, calls="cart"), addresses=(TWO,))
    await trio.sleep(5.0)
    assert {scene.status(f"cart-{n}", one).instance for n in (2, 3, 4, 5)} == {one.instance, two.instance}
    everybody = {f"cart-{n}": True for n in (1, 2, 3, 4, 5)}
    applied = len(caller.target.applied)
    theirs = scene.database.handles[1]
    theirs.broken = True
    await trio.sleep(2.0)
    assert two.store_silence_s() == 0.0
    await trio.sleep(22.0)
    assert 22.0 <= two.store_silence_s() <= 27.0 and one.store_silence_s() == 0.0
    assert all(scene.status(f"cart-{n}", one).instance == one.instance for n in (2, 3, 4, 5))
    assert own.client.connected and caller.client.connected and all(cart.client.connected for cart in carts)
    await trio.sleep(36.0)  # Whom it sent away is with the other one, for all that it knows: for as long as it takes.
    assert caller.target.endpoints("cart_8080") == everybody and len(caller.target.applied) == applied
    assert web.target.endpoints("cart_8080") == everybody | {"cart-1": False}
    theirs.broken = False
    await trio.sleep(5.0)
    assert two.store_silence_s() == 0.0
    for target in (web.target, caller.target):
        assert target.endpoints("cart_8080") == everybody
    for plane in (one, two):
        own_proxies = {status.proxy.name for status in plane.status() if status.instance == two.instance}
        assert own_proxies == {"api-1", "cart-1"} and all(status.connected for status in plane.status())
    assert scene.world.named("proxy.left") == []
    assert [line["proxies"] for line in scene.world.named("instance.cut_off")] != []
    assert len(scene.world.named("instance.reached_again")) == 1


@in_virtual_time
async def test_plane_that_stays_cut_off_lets_its_sidecars_look_for_another_again(scene: Scene) -> None:
    _, two = await two_planes(scene)
    cart = scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO,))
    await trio.sleep(3.0)
    scene.database.handles[1].broken = True
    await trio.sleep(600.0)
    sessions = len({line["session"] for line in scene.world.named("control_plane.connected")})
    assert 10 <= sessions <= 12, "once at first and once a minute"
    assert cart.client.connected and scene.status("cart-1", two).converged
    assert len(scene.world.named("instance.cut_off")) == 1


@in_virtual_time
async def test_plane_that_knows_no_other_keeps_its_sidecars_without_the_store(scene: Scene) -> None:
    one = await scene.start_control_plane(*resources(MESH), host="cp-1", address=ONE, shared=True)
    scene.start_sidecar(dataplane("web-1", 1), addresses=(ONE,))
    await trio.sleep(5.0)
    scene.database.handles[0].broken = True
    await trio.sleep(120.0)
    assert len(scene.world.named("control_plane.connected")) == 1
    assert one.store_silence_s() == 0.0 and scene.world.named("instance.cut_off") == []


@in_virtual_time
async def test_proxy_that_dies_while_its_plane_is_cut_off_is_lost_and_one_that_says_good_bye_leaves(
    scene: Scene,
) -> None:
    _, two = await two_planes(scene)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(TWO,))
    dying, leaving = (scene.start_sidecar(dataplane(f"cart-{n}", 1 + n), addresses=(TWO,)) for n in (1, 2))
    await trio.sleep(3.0)
    scene.database.handles[1].broken = True
    await trio.sleep(25.0)
    dying.scope.cancel()
    await leaving.client.leave()
    leaving.scope.cancel()
    await trio.sleep(4.0)
    assert scene.status("cart-1", two).presence is Presence.LOST
    assert web.target.endpoints("cart_8080") == {"cart-1": False}


@in_virtual_time
async def test_planes_from_copies_of_one_folder_do_not_take_each_other_for_themselves(scene: Scene) -> None:
    one = await scene.start_control_plane(*resources(MESH), host="cp-1", address=ONE, shared=True)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(ONE,))
    await trio.sleep(3.0)
    scene.world.disks["cp-2"] = MemoryDisk()
    scene.world.disks["cp-2"].files = dict(scene.world.disks["cp-1"].files)
    two = await scene.start_control_plane(host="cp-2", address=TWO, shared=True)
    scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO,))
    await trio.sleep(60.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    for plane in (one, two):
        owners = {status.proxy.name: (status.instance, status.connected) for status in plane.status()}
        assert owners == {"cart-1": (two.instance, True), "web-1": (one.instance, True)}


@in_virtual_time
async def test_news_that_could_not_be_read_are_read_when_the_store_is_back(scene: Scene) -> None:
    one, two = await two_planes(scene)
    await trio.sleep(3.0)
    theirs = scene.database.handles[1]
    theirs.broken = True
    await one.catalogue.write([Put(resource=resources(TIMEOUT)[0])], by="jo")
    await trio.sleep(0.5)
    await scene.stop_control_plane(ONE)  # nobody else will ever tell of it
    await trio.sleep(5.0)
    theirs.broken = False
    await trio.sleep(5.0)
    assert two.catalogue.get(("MeshTimeout", "retail", "all")) is not None


@in_virtual_time
async def test_mesh_that_is_made_at_two_planes_at_once_has_one_key(scene: Scene) -> None:
    planes = await two_planes(scene)
    await trio.sleep(1.0)
    mesh = resources("{type: Mesh, name: bank}")[0]
    async with trio.open_nursery() as nursery:
        for plane in planes:
            nursery.start_soon(partial(plane.catalogue.write, [Put(resource=mesh)], by="jo"))
    await trio.sleep(1.0)
    for plane in planes:
        key = plane.catalogue.get(("Secret", "bank", "dataplane-token-signing-key-bank-1"))
        assert key is not None and key.version == 1, "tokens that were signed with the first one stay good"
        assert plane.catalogue.resources() == planes[0].catalogue.resources()
