"""POST /tokens/...: Kuma's requests, a JWT as plain text; what is issued lets in whom it should."""

from typing import Any

import pytest

from mesh.identity.tokens import read_payload
from mesh.model.errors import IdentityError, StoreError
from tests.mesh.control.api.api_world import OPERATOR, ApiWorld, dataplane, run
from tests.mesh.control.memory_world import EPOCH_S

MESH_KEY = "/meshes/default/secrets/dataplane-token-signing-key-default-1"


async def issue(world: ApiWorld, whose: str, **asked: Any) -> str:
    reply = await world.request("POST", f"/tokens/{whose}", {"validFor": "24h", **asked})
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain"), reply.body
    return reply.body.decode()


def test_dataplane_token_carries_kumas_claims_and_lets_its_dataplane_in() -> None:
    async def body(world: ApiWorld) -> None:
        token = await issue(world, "dataplane", name="web-1", workload="web", tags={"team": ["a", "b"]})
        payload = read_payload(token)
        assert {key: payload[key] for key in ("Name", "Mesh", "Type", "Workload", "Tags")} == {
            "Name": "web-1",
            "Mesh": "default",
            "Type": "dataplane",
            "Workload": "web",
            "Tags": {"team": ["a", "b"]},
        }
        assert payload["exp"] - payload["iat"] == 24 * 3600 + 5 and payload["iat"] == payload["nbf"]
        asked: dict[str, Any] = {
            "now": EPOCH_S,
            "mesh": "default",
            "name": "web-1",
            "workload": "web",
            "tags": {"team": "a"},
        }
        assert world.plane.tokens.verify_dataplane(token, **asked).token_id == payload["jti"]
        with pytest.raises(IdentityError):
            world.plane.tokens.verify_dataplane(token, **{**asked, "name": "web-2"})
        world.join({**dataplane(), "labels": {"kuma.io/workload": "web", "team": "b"}})
        assert (await world.request("GET", "/meshes/default/dataplanes/web-1", token=token)).status == 200

    run(body)


def test_user_token_makes_a_user_of_its_groups() -> None:
    async def body(world: ApiWorld) -> None:
        token = await issue(world, "user", name="kim", groups=[OPERATOR, "team"])
        me = await world.get("/who-am-i", token=token)
        assert (me["name"], me["role"]) == ("kim", "operator") and "team" in me["groups"]

    run(body)


def test_zone_token_is_issued() -> None:
    async def body(world: ApiWorld) -> None:
        payload = read_payload(await issue(world, "zone", zone="east", scope=["cp"]))
        assert (payload["Zone"], payload["Scope"]) == ("east", ["cp"])

    run(body)


def test_operators_hand_out_dataplane_tokens_alone() -> None:
    async def body(world: ApiWorld) -> None:
        world.token = world.user_token(OPERATOR)
        assert await issue(world, "dataplane", name="web-1")
        for whose, asked in (("user", {"name": "x", "groups": ["mesh-system:admin"]}), ("zone", {"zone": "x"})):
            assert (await world.request("POST", f"/tokens/{whose}", {"validFor": "1h", **asked})).status == 403
        world.token = world.user_token()
        assert (await world.request("POST", "/tokens/dataplane", {"validFor": "1h"})).status == 403

    run(body)


def test_wrong_requests_name_every_field() -> None:
    async def body(world: ApiWorld) -> None:
        wrong: list[tuple[str, dict[str, Any], list[str]]] = [
            ("user", {}, ["name", "validFor"]),
            ("user", {"name": "jo\n", "groups": "all", "validFor": "1h"}, ["name", "groups"]),
            ("user", {"name": "jo", "validFor": "90000h"}, ["validFor"]),
            ("user", {"name": "jo", "validFor": "-1h"}, ["validFor"]),
            ("user", {"name": "jo", "validFor": 3600}, ["validFor"]),
            ("zone", {"zone": "East", "validFor": "soon"}, ["zone", "validFor"]),
            (
                "dataplane",
                {"name": "A", "workload": "-", "tags": {"a": "b"}, "validFor": "1h"},
                ["name", "workload", "tags"],
            ),
            ("dataplane", {"type": "ingress", "mesh": "bank", "validFor": "1h"}, ["type", "mesh"]),
        ]
        for whose, asked, fields in wrong:
            reply = await world.request("POST", f"/tokens/{whose}", asked)
            assert reply.status == 400
            assert [item["field"] for item in reply.json["invalid_parameters"]] == fields, asked

    run(body)


def test_last_key_of_a_mesh_stays_until_there_is_another() -> None:
    async def body(world: ApiWorld) -> None:
        reply = await world.request("DELETE", MESH_KEY)
        assert reply.status == 400 and "it is the last signing key for dataplane tokens" in str(reply.json)
        assert (await world.request("POST", "/tokens/dataplane", {"validFor": "1h"})).status == 200
        badly_named = {
            "type": "Secret",
            "mesh": "default",
            "name": "dataplane-token-signing-key-default-02",
            "data": "eA==",
        }
        reply = await world.request(
            "PUT", "/meshes/default/secrets/dataplane-token-signing-key-default-02", badly_named
        )
        assert reply.status == 400 and "not where a signing key is looked for" in str(reply.json)

    run(body)


def test_issued_tokens_are_logged_by_their_id_alone() -> None:
    async def body(world: ApiWorld) -> None:
        token = await issue(world, "user", name="kim")
        (event,) = world.memory.named("token.issued")
        assert event["jti"] == read_payload(token)["jti"] and "user=root" in event["by"]
        assert token not in str(world.memory.events)

    run(body)


def test_every_issued_token_stands_in_the_audit_log_by_its_id() -> None:
    async def body(world: ApiWorld) -> None:
        tokens = [
            await issue(world, "dataplane", workload="web"),
            await issue(world, "user", name="kim", groups=["team a"]),
            await issue(world, "zone", zone="east"),
        ]
        entries = (await world.get("/audit?size=3"))["items"][::-1]
        assert [entry["action"] for entry in entries] == ["issued"] * 3
        named = [(entry["type"], entry["mesh"], entry["name"]) for entry in entries]
        assert named == [("DataplaneToken", "default", "web"), ("UserToken", "", "kim"), ("ZoneToken", "", "east")]
        for token, entry in zip(tokens, entries, strict=True):
            assert f"jti={read_payload(token)['jti']} " in entry["detail"] and "user=root" in entry["by"]
            assert token not in str(entry)
        assert 'Groups=["team a"]' in entries[1]["detail"]

    run(body)


def test_no_token_is_handed_out_that_could_not_be_noted() -> None:
    async def body(world: ApiWorld) -> None:
        world.plane.failure = StoreError("the disk is full")
        reply = await world.request("POST", "/tokens/user", {"name": "kim", "validFor": "1h"})
        assert reply.status == 503 and b"eyJ" not in reply.body
        assert not world.memory.named("token.issued")
        assert world.memory.named("api.failed", path="/tokens/user", reason="the disk is full")

    run(body)
