"""A control plane and its sidecars over memory streams, in virtual time: what reaches whom, and what an outage changes."""

import pytest
import trio
from memory_store import KEY
from memory_world import EPOCH_S, MemoryWorld
from scene import IDENTITY, MESH, TIMEOUT, Scene, Sidecar, Target, dataplane, in_virtual_time, resources

from mesh.config.snapshot import TrustPart
from mesh.control.store.values import Put
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.departure import Departure
from mesh.model.names import ProxyId
from mesh.model.randomness import Random


async def two_sidecars(scene: Scene) -> tuple[Sidecar, Sidecar]:
    """Start web-1, which calls cart, and cart-1; return them once both are configured."""
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    cart = scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(2.0)
    assert scene.status("web-1").converged and scene.status("cart-1").converged
    return web, cart


@in_virtual_time
async def test_sidecars_register_and_learn_of_one_another(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, _ = await two_sidecars(scene)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    scene.start_sidecar(dataplane("cart-2", 3))
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True, "cart-2": True}
    assert len(scene.world.named("control_plane.connected", host="web-1")) == 1


@in_virtual_time
async def test_certificate_comes_before_the_configuration_that_needs_it(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    web, _ = await two_sidecars(scene)
    (svid,) = web.target.identities
    assert str(svid.spiffe_id) == "spiffe://retail.default.mesh.local/workload/web"
    trust = web.target.applied[-1].parts["trust/retail.default.mesh.local"]
    assert isinstance(trust, TrustPart) and len(trust.roots_pem) == 1
    assert scene.status("web-1").certificate_expires == svid.not_after


@in_virtual_time
async def test_certificates_are_renewed_before_they_expire(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    web, _ = await two_sidecars(scene)
    with trio.CancelScope(shield=True):
        await trio.sleep(3000.0)
    assert len(web.target.identities) >= 2
    assert web.target.identities[-1].not_after > EPOCH_S + trio.current_time()
    assert len(web.target.applied) == len({snapshot.version() for snapshot in web.target.applied})


@in_virtual_time
async def test_health_change_reaches_the_others(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, cart = await two_sidecars(scene)
    cart.client.report_health("http", False)
    await trio.sleep(0.2)
    assert web.target.endpoints("cart_8080") == {"cart-1": False}
    assert scene.status("cart-1").inbounds == (("http", False),)
    (line,) = scene.world.named("endpoint.health_changed")
    assert line["proxy"] == "cart-1" and line["ready"] is False
    cart.client.report_health("http", True)
    await trio.sleep(0.2)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}


@in_virtual_time
async def test_who_drains_is_called_while_there_is_nobody_else_and_then_no_more(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, cart = await two_sidecars(scene)
    cart.client.depart(Departure.DRAINING)
    await trio.sleep(0.2)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    assert scene.status("cart-1").departure is Departure.DRAINING and scene.status("cart-1").converged
    scene.start_sidecar(dataplane("cart-2", 3))
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-2": True}


@in_virtual_time
async def test_who_drains_still_does_after_a_connection_that_broke(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    _, cart = await two_sidecars(scene)
    cart.client.depart(Departure.CLOSING)
    await scene.stop_control_plane()
    await scene.start_control_plane(*resources(MESH))
    await trio.sleep(30.0)
    status = scene.status("cart-1")
    assert status.connected and status.departure is Departure.CLOSING


@in_virtual_time
async def test_good_bye_ends_the_lease_at_once_and_a_broken_connection_does_not(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, cart = await two_sidecars(scene)
    scene.start_sidecar(dataplane("orders-1", 3))
    await trio.sleep(1.0)
    began = trio.current_time()
    await cart.client.leave()
    assert trio.current_time() - began < 0.1
    assert [line["proxy"] for line in scene.world.named("proxy.left")] == ["cart-1"]
    (line,) = scene.world.named("proxy.disconnected")
    assert line["reason"] == "it said good-bye"
    await trio.sleep(60.0)  # It does not come back by itself.
    assert web.target.endpoints("cart_8080") == {}
    assert len(scene.world.named("control_plane.connected", host="cart-1")) == 1
    web.scope.cancel()
    await trio.sleep(1.0)
    assert len(scene.world.named("proxy.left")) == 1
    await trio.sleep(2.0)
    assert [line["proxy"] for line in scene.world.named("proxy.left")] == ["cart-1", "web-1"]


@in_virtual_time
async def test_good_bye_waits_for_no_control_plane_that_is_away(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    _, cart = await two_sidecars(scene)
    await scene.stop_control_plane()
    await trio.sleep(1.0)
    began = trio.current_time()
    await cart.client.leave()
    assert trio.current_time() == began


@in_virtual_time
async def test_resource_change_reaches_both_without_a_reconnect(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    sidecars = await two_sidecars(scene)
    await control_plane.replace_resources(resources(MESH, IDENTITY, TIMEOUT))
    await trio.sleep(1.0)
    for sidecar in sidecars:
        assert "identity" in sidecar.target.applied[-1].parts
        assert sidecar.client.status().connected
    assert len(scene.world.named("control_plane.connected")) == 2
    assert scene.status("web-1").converged and scene.status("cart-1").converged


@in_virtual_time
async def test_proxy_that_a_change_does_not_concern_is_sent_nothing(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, cart = await two_sidecars(scene)
    before = len(cart.target.applied)
    scene.start_sidecar(dataplane("cart-2", 3))
    await trio.sleep(1.0)
    assert len(cart.target.applied) == before
    assert len(web.target.applied[-1].parts) > 0
    (last,) = scene.world.named("configuration.pushed", proxy="web-1")[-1:]
    assert last["base_version"] and last["upserts"] == 1


@in_virtual_time
async def test_refused_configuration_leaves_the_last_good_one_and_is_offered_again_now_and_then(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    target = Target(refuses=lambda snapshot: "identity" in snapshot.parts)
    web = scene.start_sidecar(dataplane("web-1", 1), target=target)
    await trio.sleep(1.0)
    good = scene.status("web-1").acked_version
    await control_plane.replace_resources(resources(MESH, IDENTITY))
    await trio.sleep(20.0)
    status = scene.status("web-1")
    assert status.acked_version == good and status.refusal is not None
    assert "this test refuses it" in status.refusal.reason
    assert len(scene.world.named("configuration.nacked", host="control-plane")) == 4  # Every 5 s.
    assert web.client.status().version == good
    await control_plane.replace_resources(resources(MESH))
    await trio.sleep(1.0)
    assert scene.status("web-1").converged


@in_virtual_time
async def test_refused_configuration_is_applied_once_its_obstacle_is_gone(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    port_in_use = [True]
    target = Target(refuses=lambda snapshot: "identity" in snapshot.parts and port_in_use[0])
    scene.start_sidecar(dataplane("web-1", 1), target=target)
    await trio.sleep(1.0)
    await control_plane.replace_resources(resources(MESH, IDENTITY))
    await trio.sleep(3.0)
    assert scene.status("web-1").refusal is not None
    port_in_use[0] = False
    await trio.sleep(6.0)
    assert scene.status("web-1").converged
    assert scene.status("web-1").refusal is None


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "not a JWT"),
        ("rubbish", "not a JWT"),
        (
            issue_dataplane_token(
                KEY,
                mesh="retail",
                name="cart-1",
                lifetime_s=3600.0,
                now=EPOCH_S,
                random=MemoryWorld().environment("x").randomness.stream("token"),
            ),
            "is for dataplane 'cart-1', not 'web-1'",
        ),
    ],
)
def test_wrong_token_is_refused_with_the_reason_and_said_once(token: str, reason: str) -> None:
    @in_virtual_time
    async def run(scene: Scene) -> None:
        control_plane = await scene.start_control_plane(*resources(MESH))
        web = scene.start_sidecar(dataplane("web-1", 1), token=token)
        await trio.sleep(100.0)
        assert control_plane.status() == ()
        assert reason in web.client.status().last_error
        (line,) = scene.world.named("control_plane.refused_us")
        assert line["level"] == "error" and line["kind"] == "token"
        # Slowly, yet again and again: an operator may put it right at the control plane.
        assert 6 <= len(scene.world.named("proxy.refused")) <= 9

    run()


@in_virtual_time
async def test_sidecar_that_comes_before_its_mesh_is_not_kept_waiting(scene: Scene) -> None:
    control_plane = await scene.start_control_plane()
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(0.5)
    assert web.client.status().last_error == "there is no mesh 'retail'"
    await control_plane.catalogue.write([Put(resource=resources(MESH)[0])], by="jo")
    await trio.sleep(2.0)
    assert scene.status("web-1").converged


@in_virtual_time
async def test_sidecars_that_joined_together_do_not_speak_together(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    for number in range(30):
        scene.start_sidecar(dataplane(f"web-{number}", number))
    await trio.sleep(10.0)
    sent = scene.world.network.sizes
    sent_at_second = []
    for _ in range(3):
        before = len(sent)
        await trio.sleep(1.0)
        sent_at_second.append(len(sent) - before)
    assert sum(sent_at_second) == 60, "a heartbeat of each, and its answer"
    assert max(sent_at_second) < 36, sent_at_second


@in_virtual_time
async def test_unknown_mesh_and_broken_dataplane_are_refused(scene: Scene) -> None:
    await scene.start_control_plane(*resources("{type: Mesh, name: other}"))
    scene.start_sidecar(dataplane("web-1", 1))
    scene.start_sidecar({**dataplane("web-2", 2), "networking": {"inbound": []}})
    await trio.sleep(1.0)
    kinds = {line["host"]: (line["kind"], line["reason"]) for line in scene.world.named("control_plane.refused_us")}
    assert kinds["web-1"] == ("mesh", "there is no mesh 'retail'")
    assert kinds["web-2"][0] == "dataplane" and "networking" in kinds["web-2"][1]


@in_virtual_time
async def test_sidecars_outlive_the_control_plane_and_nothing_is_pushed_when_it_returns(scene: Scene) -> None:
    written = resources(MESH, IDENTITY)
    await scene.start_control_plane(*written)
    web, cart = await two_sidecars(scene)
    await trio.sleep(2.0)
    await scene.stop_control_plane()
    applied = len(web.target.applied)
    await trio.sleep(60.0)
    assert not web.client.status().connected
    scene.world.events.clear()
    await scene.start_control_plane(*written)
    await trio.sleep(15.0)
    assert web.client.status().connected and cart.client.status().connected
    assert scene.status("web-1").converged and scene.status("cart-1").converged
    assert len(web.target.applied) == applied
    assert scene.world.named("configuration.pushed") == []


@in_virtual_time
async def test_restarted_control_plane_does_not_take_those_still_away_for_gone(scene: Scene) -> None:
    written = resources(MESH)
    await scene.start_control_plane(*written)
    web, cart = await two_sidecars(scene)
    await trio.sleep(2.0)
    await scene.stop_control_plane()
    cart.scope.cancel()
    await scene.start_control_plane(*written)
    await trio.sleep(11.0)
    assert web.client.status().connected
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    await trio.sleep(12.0)
    assert web.target.endpoints("cart_8080") == {}


@in_virtual_time
async def test_newcomer_is_announced_once_it_has_its_configuration(scene: Scene) -> None:
    held = trio.Event()

    async def hold(proxy: ProxyId, random: Random) -> None:
        if proxy.name == "cart-2":
            await held.wait()

    await scene.start_control_plane(*resources(MESH), hold_push=hold)
    web, _ = await two_sidecars(scene)
    scene.start_sidecar(dataplane("cart-2", 3))
    await trio.sleep(2.0)
    assert scene.status("cart-2").connected and web.target.endpoints("cart_8080") == {"cart-1": True}
    held.set()
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": True, "cart-2": True}


@in_virtual_time
async def test_sidecar_that_has_a_configuration_on_disk_stays_announced_whatever_it_is_sent(scene: Scene) -> None:
    async def hold(proxy: ProxyId, random: Random) -> None:
        if proxy.name == "cart-2":
            await trio.sleep_forever()

    await scene.start_control_plane(*resources(MESH))
    web, _ = await two_sidecars(scene)
    second = scene.start_sidecar(dataplane("cart-2", 3))
    await trio.sleep(2.0)
    await scene.stop_control_plane()
    second.scope.cancel()
    scene.start_sidecar(dataplane("cart-2", 3))
    idle = "{type: MeshTimeout, name: idle, mesh: retail, spec: {rules: [{default: {idleTimeout: 7s}}]}}"
    await scene.start_control_plane(*resources(MESH, idle), hold_push=hold)
    for _ in range(100):
        await trio.sleep(0.1)
        assert web.target.endpoints("cart_8080") == {"cart-1": True, "cart-2": True}
    assert scene.status("cart-2").connected and not scene.status("cart-2").converged


@in_virtual_time
async def test_sidecar_starts_from_disk_while_the_control_plane_is_down(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    web, _ = await two_sidecars(scene)
    await trio.sleep(1.0)
    await scene.stop_control_plane()
    web.scope.cancel()
    again = scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    await trio.sleep(0.1)
    assert again.target.endpoints("cart_8080") == {"cart-1": True}
    assert again.target.identities[0].chain_pem == web.target.identities[-1].chain_pem
    assert not again.client.status().connected
    assert again.client.status().version == web.client.status().version


@in_virtual_time
async def test_damaged_files_are_said_and_gone_without(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    web, _ = await two_sidecars(scene)
    web.scope.cancel()
    await trio.sleep(3.0)
    files = scene.world.disks["web-1"].files
    assert sorted(files) == ["sidecar/configuration.json", "sidecar/identity.pem"]
    for path in files:
        files[path] = files[path][:-20]
    again = scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    await trio.sleep(2.0)
    assert len(scene.world.named("configuration.not_restored")) == 2
    assert scene.status("web-1").converged
    assert len(again.target.applied) == 1


@in_virtual_time
async def test_proxy_that_ends_leaves_after_the_grace(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    web, cart = await two_sidecars(scene)
    cart.scope.cancel()
    await trio.sleep(1.5)
    assert web.target.endpoints("cart_8080") == {"cart-1": True}
    assert not scene.status("cart-1").connected and scene.status("cart-1").wanted_version == ""
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {}


@in_virtual_time
async def test_half_open_connections_are_found_by_both_ends(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    await two_sidecars(scene)
    scene.world.events.clear()
    scene.world.network.stalled = True
    await trio.sleep(25.0)
    ended = scene.world.named("control_plane.disconnected", host="web-1")
    assert ended[0]["reason"] == "nothing heard for 9 s"
    assert {line["proxy"] for line in scene.world.named("proxy.disconnected")} == {"cart-1", "web-1"}
    # Nobody was heard, so it was the control plane that was cut off: nobody is gone.
    assert scene.world.named("proxy.left") == [] and scene.world.named("proxy.lost") == []
    scene.world.network.stalled = False
    await trio.sleep(25.0)
    assert scene.status("web-1").converged and scene.status("cart-1").converged


@in_virtual_time
async def test_newer_connection_of_a_proxy_takes_over(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH))
    scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    first = scene.status("web-1")
    scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(0.2)
    assert first.connected and scene.status("web-1").connected
    (line,) = scene.world.named("control_plane.refused_us")[:1]
    assert line["kind"] == "replaced" and line["level"] == "warning"


@in_virtual_time
async def test_token_that_is_not_bound_to_the_workload_gets_no_certificate(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    env = scene.world.environment("web-1")
    random = env.randomness.stream("token")
    loose = issue_dataplane_token(
        KEY, mesh="retail", name="web-1", lifetime_s=3600.0, now=env.wall_clock(), random=random
    )
    web = scene.start_sidecar(dataplane("web-1", 1), token=loose)
    await trio.sleep(1.0)
    nack = web.client.status().last_nack
    assert nack is not None and "not bound to the workload 'web'" in nack.reason
    assert web.target.applied == []


@in_virtual_time
async def test_messages_have_the_same_sizes_in_every_run(scene: Scene) -> None:
    """Record what goes over the wire of two worlds; keys and signatures differ, lengths do not."""
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    await two_sidecars(scene)
    sizes = sorted(scene.world.network.sizes)
    other = Scene(scene.nursery)
    await other.start_control_plane(*resources(MESH, IDENTITY))
    await two_sidecars(other)
    assert sorted(other.world.network.sizes) == sizes
