"""Resources over the API: Kuma's statuses, bodies and errors."""

from typing import Any

import trio

from mesh.control.api.redaction import without_secrets
from tests.mesh.control.api.api_world import ADMIN, ApiWorld, run, timeout

PATH = "/meshes/default/meshtimeouts"


def test_first_put_creates_and_the_next_updates() -> None:
    async def body(world: ApiWorld) -> None:
        created = await world.put(f"{PATH}/slow", timeout())
        assert (created.status, created.json, created.headers["etag"]) == (201, {}, '"1"')
        updated = await world.put(f"{PATH}/slow", timeout(span="20s"))
        assert (updated.status, updated.json, updated.headers["etag"]) == (200, {}, '"2"')

    run(body)


def test_resource_comes_back_in_universal_form_with_times_and_kri() -> None:
    async def body(world: ApiWorld) -> None:
        await world.put(f"{PATH}/slow", timeout(span="111s"))
        resource = await world.get(f"{PATH}/slow")
        assert list(resource) == ["type", "mesh", "name", "creationTime", "modificationTime", "spec", "kri"]
        assert resource["spec"]["to"][0]["default"]["http"]["requestTimeout"] == "1m51s"
        assert resource["kri"] == "kri_mt_default___slow_"
        assert resource["creationTime"].startswith("2027-01-15T08:00:00") and resource["creationTime"].endswith("Z")
        assert (await world.get("/_kri/kri_mt_default___slow_")) == resource

    run(body)


def test_name_mesh_and_type_may_be_left_to_the_path_but_not_contradict_it() -> None:
    async def body(world: ApiWorld) -> None:
        bare = {key: value for key, value in timeout().items() if key == "spec"}
        assert (await world.put(f"{PATH}/slow", bare)).status == 201
        wrong = await world.put(f"{PATH}/slow", timeout(name="fast", mesh="bank", type="MeshRetry"))
        assert wrong.status == 400
        assert [item["field"] for item in wrong.json["invalid_parameters"]] == ["type", "mesh", "name"]

    run(body)


def test_everything_wrong_with_a_resource_is_said_at_once_in_both_spellings() -> None:
    async def body(world: ApiWorld) -> None:
        spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "fast", "idle": 1}}]}
        reply = await world.put(f"{PATH}/slow", timeout(spec=spec))
        problem = reply.json
        assert (reply.status, problem["type"], problem["title"]) == (400, "/std-errors", "Could not process a resource")
        fields = [item["field"] for item in problem["invalid_parameters"]]
        assert fields == ["spec.to[0].default.idle", "spec.to[0].default.connectionTimeout"]
        assert [cause["field"] for cause in problem["causes"]] == fields
        assert all(item["reason"] and item["source"] == "body" for item in problem["invalid_parameters"])
        assert problem["details"] == problem["detail"] == "Resource is not valid"

    run(body)


def test_absent_resource_is_a_404_with_a_title() -> None:
    async def body(world: ApiWorld) -> None:
        for method, path in (("GET", f"{PATH}/none"), ("DELETE", f"{PATH}/none"), ("GET", "/meshes/bank/meshtimeouts")):
            reply = await world.request(method, path)
            assert reply.status == reply.json["status"] == 404 and reply.json["title"]
        put = await world.put("/meshes/bank/meshtimeouts/slow", timeout(mesh="bank"))
        assert put.status == 400 and put.json["invalid_parameters"][0]["field"] == "mesh"

    run(body)


def test_deleted_resource_is_gone() -> None:
    async def body(world: ApiWorld) -> None:
        await world.put(f"{PATH}/slow", timeout())
        assert (await world.request("DELETE", f"{PATH}/slow")).json == {}
        assert (await world.request("GET", f"{PATH}/slow")).status == 404

    run(body)


def test_versions_are_compared_when_asked_for() -> None:
    async def body(world: ApiWorld) -> None:
        none_yet = [("if-none-match", "*")]
        assert (await world.put(f"{PATH}/slow", timeout(), headers=none_yet)).status == 201
        assert (await world.put(f"{PATH}/slow", timeout(span="1s"), headers=none_yet)).status == 412
        assert (await world.put(f"{PATH}/slow", timeout(span="2s"), headers=[("if-match", '"1"')])).status == 200
        stale = await world.put(f"{PATH}/slow", timeout(span="3s"), headers=[("if-match", '"1"')])
        assert stale.status == 412 and "version 2" in stale.json["detail"]
        gone = await world.request("DELETE", f"{PATH}/slow", headers=[("if-match", '"1"')])
        assert gone.status == 412
        assert (await world.put(f"{PATH}/new", timeout("new"), headers=[("if-match", "*")])).status == 412
        assert (await world.put(f"{PATH}/slow", timeout(), headers=[("if-match", "yesterday")])).status == 400

    run(body)


def test_old_spellings_are_taken_with_a_warning() -> None:
    async def body(world: ApiWorld) -> None:
        spec = {
            "targetRef": {"kind": "Mesh"},
            "from": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1h"}}],
        }
        reply = await world.put(f"{PATH}/old", timeout("old", spec=spec))
        assert reply.status == 201 and "rules" in reply.json["warnings"][0]
        assert "from" not in (await world.get(f"{PATH}/old"))["spec"]

    run(body)


def test_lists_come_in_pages_under_the_name_that_was_called() -> None:
    async def body(world: ApiWorld) -> None:
        for number in range(5):
            await world.put(f"{PATH}/t-{number}", timeout(f"t-{number}"))
        page = await world.get(f"{PATH}?size=2&unknown=1", headers=[("host", "cp.example:1234")])
        assert (page["total"], [item["name"] for item in page["items"]]) == (5, ["t-0", "t-1"])
        assert page["next"] == "http://cp.example:1234/meshes/default/meshtimeouts?unknown=1&offset=2&size=2"
        last = await world.get(f"{PATH}?size=2&offset=4")
        assert ([item["name"] for item in last["items"]], last["next"]) == (["t-4"], None)
        assert (await world.get("/meshtimeouts"))["total"] == 5
        beyond = await world.get(f"{PATH}?offset=99")
        assert (beyond["items"], beyond["next"]) == ([], None)
        odd = await world.get(f"{PATH}?size=1", headers=[("host", "a b<script>")])
        assert odd["next"].startswith("http://127.0.0.1:5681/")

    run(body)


def test_wrong_page_is_refused() -> None:
    async def body(world: ApiWorld) -> None:
        for query in ("size=0", "size=1001", "size=x", "size=-1", "offset=-1", "offset=1e3", "size=%D9%A3"):
            reply = await world.request("GET", f"{PATH}?{query}")
            assert reply.status == 400 and reply.json["invalid_parameters"][0]["source"] == "query"

    run(body)


def test_lists_can_be_filtered_by_name_and_label() -> None:
    async def body(world: ApiWorld) -> None:
        await world.put(f"{PATH}/slow", timeout(labels={"team": "a"}))
        await world.put(f"{PATH}/fast", timeout("fast"))
        assert [item["name"] for item in (await world.get(f"{PATH}?name=lo"))["items"]] == ["slow"]
        assert [item["name"] for item in (await world.get(f"{PATH}?filter[labels.team]=a"))["items"]] == ["slow"]

    run(body)


def test_kinds_of_the_whole_installation_have_no_mesh() -> None:
    async def body(world: ApiWorld) -> None:
        assert (await world.put("/zones/east", {"type": "Zone", "name": "east", "enabled": True})).status == 201
        assert (await world.get("/zones/east"))["kri"] == "kri_z____east_"
        assert [item["name"] for item in (await world.get("/meshes"))["items"]] == ["default"]

    run(body)


def test_new_mesh_comes_with_what_follows_from_it() -> None:
    async def body(world: ApiWorld) -> None:
        assert (await world.put("/meshes/shop", {"type": "Mesh", "name": "shop"})).status == 201
        assert (await world.get("/meshes/shop/meshtimeouts"))["total"] > 0
        token = await world.request("POST", "/tokens/dataplane", {"mesh": "shop", "name": "dp", "validFor": "1h"})
        assert token.status == 200

    run(body)


def test_kubernetes_form_is_taken_and_given() -> None:
    async def body(world: ApiWorld) -> None:
        document = {
            "apiVersion": "kuma.io/v1alpha1",
            "kind": "MeshTimeout",
            "metadata": {"name": "slow", "labels": {"kuma.io/mesh": "default"}},
            "spec": timeout()["spec"],
        }
        assert (await world.put(f"{PATH}/slow", document)).status == 201
        assert (await world.put(f"{PATH}/fast", document)).status == 400
        for form in ("k8s", "kubernetes"):
            shown = await world.get(f"{PATH}/slow?format={form}")
            assert (shown["kind"], shown["metadata"]["name"]) == ("MeshTimeout", "slow")
        assert (await world.request("GET", f"{PATH}/slow?format=xml")).status == 400

    run(body)


def test_what_only_the_control_plane_writes_cannot_be_put() -> None:
    async def body(world: ApiWorld) -> None:
        reply = await world.put("/meshes/default/workloads/web", {})
        assert (reply.status, reply.headers["allow"]) == (405, "GET")

    run(body)


BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"[]", 400),
    (b'"text"', 400),
    (b'{"a": "\xff"}', 400),
    (b'{"a":' * 200 + b"1" + b"}" * 200, 400),
    (b"[" * 100_000, 400),
    (b'{"a": "' + b"x" * 1_100_000 + b'"}', 413),
]


def test_bodies_that_cannot_be_read_are_refused() -> None:
    async def body(world: ApiWorld) -> None:
        for raw, status in BODIES:
            reply = await world.request("PUT", f"{PATH}/slow", raw=raw)
            assert (reply.status, reply.json["status"]) == (status, status)

    run(body)


def test_private_keys_inside_resources_are_for_administrators() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    document: dict[str, Any] = {
        "bundled": {"ca": {"privateKey": {"type": "InsecureInline", "insecureInline": {"value": "c2VjcmV0"}}}},
        "other": [pem, "text"],
        "named": {"clientKey": {"type": "Secret", "secretRef": {"kind": "Secret", "name": "key"}}},
    }
    shown = without_secrets(document)
    assert shown["bundled"]["ca"]["privateKey"]["insecureInline"] == {"value": "[redacted]"}
    assert shown["bundled"]["ca"]["privateKey"]["type"] == "InsecureInline"
    assert shown["other"] == ["[redacted]", "text"]
    assert shown["named"] == document["named"]


def test_every_write_is_in_the_audit_log_with_who_and_from_where() -> None:
    async def body(world: ApiWorld) -> None:
        token = world.user_token(ADMIN, "ops", name="kim")
        await world.put(f"{PATH}/slow", timeout(), token=token, peer="192.0.2.7")
        await world.request("DELETE", f"{PATH}/slow", token=token)
        entries = (await world.get("/audit?size=2"))["items"]
        assert [entry["action"] for entry in entries] == ["deleted", "created"]
        assert entries[1]["type"] == "MeshTimeout" and entries[1]["name"] == "slow"
        for part in ("user=kim", "groups=mesh-system:admin,ops", "from=192.0.2.7", "token="):
            assert part in entries[1]["by"]
        assert token not in str(entries)
        older = await world.get(f"/audit?size=1&before={entries[1]['sequence']}")
        assert older["items"][0]["sequence"] < entries[1]["sequence"]

    run(body)


def test_of_several_who_create_the_same_resource_one_has_created_it() -> None:
    async def body(world: ApiWorld) -> None:
        statuses: list[int] = []

        async def create(span: str) -> None:
            statuses.append((await world.put(f"{PATH}/slow", timeout(span=span))).status)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(create, f"{number + 1}s")
        assert sorted(statuses) == [200, 200, 200, 200, 201]
        assert (await world.request("GET", f"{PATH}/slow")).headers["etag"] == '"5"'

    run(body)
