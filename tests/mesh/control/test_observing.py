"""What a control plane tells of itself: how far each proxy is, what was observed of it, what a write would change."""

from typing import Any

import msgspec
import pytest
import trio
from scene import IDENTITY, MESH, TIMEOUT, Scene, Target, dataplane, in_virtual_time, resources

from mesh.control.old_registry import FILE
from mesh.control.preview import NOT_BUILT
from mesh.control.registry import Presence
from mesh.control.store.values import Delete, Put
from mesh.model.errors import ConfigError
from mesh.model.names import ProxyId
from mesh.resources.resource import Resource

WEB, CART = ProxyId("retail", "web-1"), ProxyId("retail", "cart-1")


def only(text: str) -> Resource:
    (resource,) = resources(text)
    return resource


@in_virtual_time
async def test_revision_and_lag_tell_who_runs_what(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    target = Target(refuses=lambda snapshot: "identity" in snapshot.parts)
    scene.start_sidecar(dataplane("web-1", 1), target=target)
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(1.0)
    before = control_plane.catalogue.revision
    assert {status.revision for status in control_plane.status()} == {before}
    outcome = await control_plane.catalogue.write([Put(resource=only(IDENTITY))], by="jo")
    assert control_plane.published_revision("retail") == before
    await trio.sleep(10.0)
    # Making the mesh's authority was a write, too.
    assert control_plane.published_revision("retail") == control_plane.catalogue.revision > outcome.revision
    web, cart = scene.status("web-1"), scene.status("cart-1")
    assert (cart.revision, cart.lag_s) == (control_plane.catalogue.revision, 0.0)
    assert web.revision < outcome.revision and 9.0 < web.lag_s < 10.0
    assert web.refusal is not None and web.refusal.version == web.wanted_version != web.acked_version


@in_virtual_time
async def test_change_of_one_mesh_publishes_the_others_at_once(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH, "{type: Mesh, name: bank}"))
    scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    outcome = await control_plane.catalogue.write([Put(resource=only(TIMEOUT))], by="jo")
    assert control_plane.published_revision("bank") == outcome.revision
    assert control_plane.published_revision("retail") < outcome.revision


@in_virtual_time
async def test_connections_and_certificates_are_observed(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH, IDENTITY))
    scene.start_sidecar(dataplane("cart-1", 2))
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    (subscription,) = control_plane.insight(WEB).subscriptions
    assert (subscription.sent, subscription.acked, subscription.rejected) == (1, 1, 0)
    assert subscription.instance == control_plane.instance and subscription.disconnected is None
    insight = control_plane.insight(WEB)
    assert insight.certificate_regenerations == 1
    assert insight.certificate_expires == web.target.identities[0].not_after
    assert insight.delivery.acked == scene.status("web-1").acked_version
    web.scope.cancel()
    await trio.sleep(1.0)
    assert control_plane.insight(WEB).subscriptions[0].disconnected is not None
    await trio.sleep(3.0)
    assert control_plane.insight(WEB).subscriptions == ()


@in_virtual_time
async def test_what_was_observed_outlives_a_restart(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY))
    scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(15.0)
    await scene.stop_control_plane()
    again = await scene.start_control_plane(*resources(MESH, IDENTITY))
    await trio.sleep(15.0)
    insight = again.insight(WEB)
    assert [subscription.disconnected is None for subscription in insight.subscriptions] == [False, True]
    assert insight.certificate_regenerations == 1 and insight.certificate_expires is not None


@in_virtual_time
async def test_preview_tells_whose_configuration_would_change_and_how(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(2.0)
    before = control_plane.catalogue.revision
    timeout = Put(resource=only(TIMEOUT))
    (web,) = control_plane.preview([timeout]).proxies
    assert web.proxy == WEB
    changes = {change.part: change for change in web.changes}
    assert all(change.op == "replace" for change in web.changes)
    cluster = changes["cluster/cart_8080"]
    assert (cluster.before["timeouts"]["request_s"], cluster.after["timeouts"]["request_s"]) == (15.0, 7.0)
    added = control_plane.preview([Put(resource=only(IDENTITY))]).proxies
    assert [proxy.proxy for proxy in added] == [CART, WEB]
    assert {change.op for proxy in added for change in proxy.changes if change.part == "identity"} == {"add"}
    assert control_plane.catalogue.revision == before
    await control_plane.catalogue.write([timeout], by="jo")
    await trio.sleep(1.0)
    assert control_plane.preview([timeout]).proxies == ()
    (undone,) = control_plane.preview([Delete(key=timeout.key)]).proxies
    assert [(change.part, change.before, change.after) for change in undone.changes] == [
        (change.part, change.after, change.before) for change in web.changes
    ]


@in_virtual_time
async def test_preview_tells_who_would_get_no_configuration(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    document: dict[str, Any] = {**dataplane("web-1", 1), "labels": {}}
    scene.start_sidecar(document)
    await trio.sleep(1.0)
    (web,) = control_plane.preview([Put(resource=only(IDENTITY))]).proxies
    (failure,) = [change for change in web.changes if change.part == NOT_BUILT]
    assert "it has no label kuma.io/workload" in failure.after["error"]


@in_virtual_time
async def test_preview_of_what_cannot_be_written_is_refused(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    elsewhere = only(TIMEOUT.replace("mesh: retail", "mesh: gone"))
    with pytest.raises(ConfigError, match="there is no mesh 'gone'"):
        control_plane.preview([Put(resource=elsewhere)])


@in_virtual_time
async def test_snapshot_is_what_the_proxy_was_told(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH))
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    assert control_plane.snapshot_of(WEB) == web.target.applied[-1]
    assert control_plane.snapshot_of(CART) is None and control_plane.index_of("gone") is None
    assert control_plane.index_of("default") is not None


@in_virtual_time
async def test_every_write_is_in_the_audit_log(scene: Scene) -> None:
    control_plane = await scene.start_control_plane(*resources(MESH, TIMEOUT))
    await control_plane.catalogue.write([Put(resource=only(IDENTITY))], by="jo")
    entries = await control_plane.audit(limit=1000)
    assert (entries[0].by, entries[0].key[0]) == ("jo", "MeshIdentity")
    assert {entry.by for entry in entries} == {"jo", "files", "control-plane"}


@in_virtual_time
async def test_members_that_an_older_version_kept_are_awaited(scene: Scene) -> None:
    member = {"dataplane": dataplane("cart-1", 2), "inbounds": {"http": False}}
    await scene.world.environment("control-plane").disk.write(
        FILE, msgspec.json.encode({"format": 1, "members": [member]})
    )
    await scene.start_control_plane(*resources(MESH))
    status = scene.status("cart-1")
    assert status.presence is Presence.AWAITED and status.inbounds == (("http", False),)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    await trio.sleep(1.0)
    assert web.target.endpoints("cart_8080") == {"cart-1": False}
