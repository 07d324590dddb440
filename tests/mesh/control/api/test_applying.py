"""POST /apply and /diff: several resources, all or none."""

from pathlib import Path
from typing import Any

import trio

from mesh.control.api.endpoint import VALUES_MAX
from mesh.control.api.problems import INVALID_MAX
from mesh.control.catalogue import Origin
from mesh.control.store.values import Put
from mesh.model.names import ProxyId
from mesh.resources.documents import load_documents
from mesh.resources.loading import load_resource
from mesh.resources.registry import KINDS
from tests.mesh.control.api.api_world import (
    OPERATOR,
    ApiWorld,
    MadeUpPartChange,
    MadeUpPreview,
    MadeUpProxyPreview,
    run,
    timeout,
)

EVERY_KIND = Path(__file__).parents[2] / "resources" / "data" / "every_kind.yaml"
GENERATED = [kind.name for kind in KINDS if kind.generated]


def apply(world: ApiWorld, *resources: Any, **more: Any) -> Any:
    return apply_as(world, world.token, *resources, **more)


def apply_as(world: ApiWorld, token: str, *resources: Any, **more: Any) -> Any:
    return world.request("POST", "/apply", {"resources": list(resources), **more}, token=token)


def test_resources_are_created_updated_or_left_alone_in_one_revision() -> None:
    async def body(world: ApiWorld) -> None:
        first = await apply(world, timeout("a"), timeout("b"))
        assert first.status == 200
        assert [result["action"] for result in first.json["results"]] == ["created", "created"]
        second = (await apply(world, timeout("a"), timeout("b", span="1s"), timeout("c"))).json
        assert second["revision"] == first.json["revision"] + 1 == world.plane.catalogue.revision
        assert [(result["name"], result["action"], result["version"]) for result in second["results"]] == [
            ("a", "unchanged", 1),
            ("b", "updated", 2),
            ("c", "created", 1),
        ]
        again = (await apply(world, timeout("a"), timeout("c"))).json
        assert again["revision"] == second["revision"]
        assert set(again["results"][0]) == {"type", "mesh", "name", "action", "version", "warnings"}

    run(body)


def test_what_is_there_already_takes_no_revision_whatever_its_kind() -> None:
    async def body(world: ApiWorld) -> None:
        documents = load_documents(EVERY_KIND.read_text(encoding="utf-8"), file=EVERY_KIND.name)
        known = [document.data for document in documents if document.data["type"] not in GENERATED]
        first = await apply(world, *known)
        assert first.status == 200, first.json
        again = (await apply(world, *known)).json
        assert {result["action"] for result in again["results"]} == {"unchanged"}
        assert again["revision"] == first.json["revision"] == world.plane.catalogue.revision

    run(body)


def test_what_files_hold_is_unchanged_with_their_label_or_without() -> None:
    async def body(world: ApiWorld) -> None:
        held = Put(resource=load_resource(timeout("a"), file="a.yaml"))
        before = await world.plane.catalogue.write([held], by="files", origin=Origin.FILES)
        for document in (timeout("a"), timeout("a", labels={"kuma.io/managed-by": "files"})):
            again = (await apply(world, document)).json
            assert (again["revision"], again["results"][0]["action"]) == (before.revision, "unchanged")

    run(body)


def test_a_mesh_and_what_is_in_it_come_together() -> None:
    async def body(world: ApiWorld) -> None:
        mesh = {"type": "Mesh", "name": "shop"}
        assert (await apply(world, timeout(mesh="shop"), mesh)).status == 200

    run(body)


def test_one_mistake_keeps_all_from_being_written_and_is_named_with_its_place() -> None:
    async def body(world: ApiWorld) -> None:
        reply = await apply(
            world, timeout("a"), timeout("b", span="soon"), {"type": "MeshTimout"}, timeout("c", mesh="x")
        )
        parameters = reply.json["invalid_parameters"]
        assert reply.status == 400
        assert parameters[0]["field"] == "resources[1].spec.to[0].default.http.requestTimeout"
        assert parameters[0]["resource"] == {"type": "MeshTimeout", "mesh": "default", "name": "b"}
        assert parameters[1]["field"].startswith("resources[2]") and "MeshTimeout" in parameters[1]["reason"]
        across = await apply(world, timeout("a"), timeout("c", mesh="x"), timeout("a"))
        named = [(item["field"], item["resource"]["name"]) for item in across.json["invalid_parameters"]]
        assert named == [("resources[1].mesh", "c"), ("resources[2].name", "a")]
        assert (await world.get("/meshtimeouts"))["total"] == 0

    run(body)


def test_dry_run_checks_everything_and_writes_nothing() -> None:
    async def body(world: ApiWorld) -> None:
        before = world.plane.catalogue.revision
        reply = (await apply(world, timeout(), dryRun=True)).json
        assert (reply["dryRun"], reply["results"][0]["action"]) == (True, "created")
        assert (await apply(world, timeout(mesh="x"), dryRun=True)).status == 400
        assert world.plane.catalogue.revision == before and (await world.get("/meshtimeouts"))["total"] == 0

    run(body)


def test_each_resource_is_decided_on() -> None:
    async def body(world: ApiWorld) -> None:
        secret = {"type": "Secret", "mesh": "default", "name": "key", "data": "aHVudGVyMg=="}
        world.token = world.user_token(OPERATOR)
        for path in ("/apply", "/diff"):
            reply = await world.request("POST", path, {"resources": [timeout(), secret]})
            assert reply.status == 403 and "Secret" in reply.json["detail"]
        assert (await world.get("/meshtimeouts"))["total"] == 0
        assert (await apply(world, timeout())).status == 200
        world.token = world.user_token()
        assert (await apply(world, timeout())).status == 403

    run(body)


def test_viewers_may_try_what_they_may_not_do() -> None:
    async def body(world: ApiWorld) -> None:
        secret = {"type": "Secret", "mesh": "default", "name": "key", "data": "aHVudGVyMg=="}
        before, viewer = world.plane.catalogue.revision, world.user_token()
        for token in (viewer, world.user_token(OPERATOR)):
            reply = await apply_as(world, token, timeout(), dryRun=True)
            assert reply.status == 200 and reply.json["results"][0]["action"] == "created"
            assert (await apply_as(world, token, timeout(mesh="x"), dryRun=True)).status == 400
            assert (await apply_as(world, token, secret, dryRun=True)).status == 403
        refused = await apply_as(world, viewer, {"type": "not even read"})
        assert refused.status == 403 and "may not apply resources" in refused.json["detail"]
        for token in (world.dataplane_token(name="web-1"), world.zone_token()):
            assert (await apply_as(world, token, timeout(), dryRun=True)).status == 403
        assert world.plane.catalogue.revision == before

    run(body)


def test_warnings_come_with_their_resource() -> None:
    async def body(world: ApiWorld) -> None:
        old = {
            "targetRef": {"kind": "Mesh"},
            "from": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1h"}}],
        }
        (result,) = (await apply(world, timeout(spec=old))).json["results"]
        assert result["warnings"][0].startswith("spec.from")

    run(body)


def test_diff_shows_what_would_change_for_whom_without_secrets() -> None:
    async def body(world: ApiWorld) -> None:
        await apply(world, timeout("a"), timeout("b"))
        pem = "-----BEGIN PRIVATE KEY-----\nx"
        world.plane.previews = MadeUpPreview(
            proxies=(
                MadeUpProxyPreview(
                    proxy=ProxyId("default", "web-1"),
                    changes=(MadeUpPartChange(part="cluster/x", op="replace", before={"a": 1}, after={"key": pem}),),
                ),
                MadeUpProxyPreview(proxy=ProxyId("default", "web-2"), changes=()),
            )
        )
        deletions = [{"type": "MeshTimeout", "mesh": "default", "name": name} for name in ("b", "none")]
        asked = {"resources": [timeout("a", span="1s"), timeout("c")], "deletions": deletions}
        reply = (await world.request("POST", "/diff", asked, token=world.user_token())).json
        assert reply["proxies"] == [
            {
                "mesh": "default",
                "name": "web-1",
                "changes": [{"part": "cluster/x", "op": "replace", "before": {"a": 1}, "after": {"key": "[redacted]"}}],
            }
        ]
        actions = [(result["name"], result["action"]) for result in reply["resources"]]
        assert actions == [("a", "updated"), ("c", "created"), ("b", "deleted")]
        assert (await world.get("/meshtimeouts"))["total"] == 2

    run(body)


def test_malformed_requests_are_refused() -> None:
    async def body(world: ApiWorld) -> None:
        for asked in ({"resources": 1}, {"resources": ["x"]}, {"resources": [], "dryRun": "yes"}):
            assert (await world.request("POST", "/apply", asked)).status == 400, asked
        for asked in ({"deletions": [{}]}, {"deletions": [{"type": "Mesh", "name": 1}]}, {"deletions": {"a": 1}}):
            assert (await world.request("POST", "/diff", asked)).status == 400, asked
        assert (await world.request("POST", "/apply", {})).json["results"] == []

    run(body)


def test_answer_to_thousands_of_mistakes_names_the_first_and_stays_short() -> None:
    async def body(world: ApiWorld) -> None:
        for path in ("/apply", "/diff"):
            wrong = [timeout(f"t{index}", span="x" * 5000) for index in range(500)]
            reply = await world.request("POST", path, {"resources": wrong})
            parameters = reply.json["invalid_parameters"]
            assert reply.status == 400 and len(parameters) == INVALID_MAX + 1 and len(reply.body) < 500_000
            assert parameters[0]["resource"]["name"] == "t0" and parameters[-1]["reason"].startswith("and ")

    run(body)


def test_resource_of_too_many_values_is_not_read() -> None:
    async def body(world: ApiWorld) -> None:
        mesh = {"type": "Mesh", "name": "shop", **{f"k{index}": 1 for index in range(VALUES_MAX)}}
        for path in ("/apply", "/diff"):
            reply = await world.request("POST", path, {"resources": [timeout(), mesh]})
            (parameter,) = reply.json["invalid_parameters"]
            assert (
                reply.status == 400 and parameter["field"] == "resources[1]" and "20000 values" in parameter["reason"]
            )
        assert (await world.put("/meshes/shop", mesh)).status == 413

    run(body)


def test_many_resources_let_others_have_their_turn() -> None:
    async def body(world: ApiWorld) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            assert (await apply(world, *(timeout(f"t{index}") for index in range(300)), dryRun=True)).status == 200
            assert turns > 300
            nursery.cancel_scope.cancel()

    run(body)
