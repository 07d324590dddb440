"""Who may do what: the decision as a table, and what callers get to see of it."""

import base64
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.control import access
from mesh.control.access import Action, Caller, Role, decide, owns
from mesh.control.api.table import endpoints
from mesh.identity.tokens import DataplaneClaims
from mesh.resources.loading import load_resource
from tests.mesh.control.api.api_world import ADMIN, OPERATOR, ApiWorld, dataplane, run, timeout
from tests.mesh.control.memory_world import EPOCH_S

TIMEOUT = "/meshes/default/meshtimeouts/slow"
SECRET = "/meshes/default/secrets/key"
A_SECRET = {"type": "Secret", "mesh": "default", "name": "key", "data": "aHVudGVyMg=="}


def caller(role: Role) -> Caller:
    groups = {Role.ADMIN: (ADMIN,), Role.OPERATOR: (OPERATOR,)}.get(role, ())
    return Caller(name="jo", groups=groups, role=role)


EVERY_ACTION = set(Action)
VIEWING = {Action.INDEX, Action.WHO_AM_I, Action.READ, Action.READ_OWN, Action.READ_STATE}
OPERATING = VIEWING | {Action.WRITE, Action.DELETE, Action.APPLY, Action.READ_AUDIT, Action.ISSUE_DATAPLANE_TOKEN}


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        (Role.ADMIN, EVERY_ACTION),
        (Role.OPERATOR, OPERATING),
        (Role.VIEWER, VIEWING),
        (Role.DATAPLANE, {Action.INDEX, Action.WHO_AM_I, Action.READ_OWN}),
        (Role.ZONE, {Action.INDEX, Action.WHO_AM_I}),
        (Role.ANONYMOUS, {Action.INDEX}),
    ],
)
def test_each_role_is_granted_just_this(role: Role, granted: set[Action]) -> None:
    assert {action for action in Action if not decide(caller(role), action, "MeshTimeout")} == granted


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_secrets_and_the_end_of_a_mesh_are_the_administrators(role: Role) -> None:
    for kind in ("Secret", "GlobalSecret"):
        assert all(decide(caller(role), action, kind) for action in Action)
    assert decide(caller(role), Action.DELETE, "Mesh")


def test_groups_decide_the_role() -> None:
    roles = [
        access.user("jo", groups, token_id="t", peer="").role for groups in ((ADMIN, OPERATOR), (OPERATOR,), ("x",))
    ]
    assert roles == [Role.ADMIN, Role.OPERATOR, Role.VIEWER]


def test_callers_name_themselves_in_one_way_only() -> None:
    written = str(access.user("kim from=10.0.0.1", ("a,b",), token_id="t", peer="192.0.2.1:5"))
    assert written == 'user="kim from=10.0.0.1" groups="a,b",mesh-system:authenticated token=t from=192.0.2.1:5'


@pytest.mark.parametrize(
    ("claims", "own"),
    [
        ({"name": "web-1"}, True),
        ({"workload": "web"}, True),
        ({"tags": {"kuma.io/workload": ["web", "api"]}}, True),
        ({"name": "web-2"}, False),
        ({"name": "web-1", "workload": "api"}, False),
        ({"name": "web-1", "mesh": "bank"}, False),
        ({}, False),
    ],
)
def test_a_dataplanes_token_stands_for_its_own(claims: dict[str, Any], own: bool) -> None:
    dates = {"token_id": "t", "issued_at": 0.0, "not_before": 0.0, "expires_at": 1.0}
    proven = DataplaneClaims(**{"mesh": "default", **claims}, **dates)
    assert owns(access.dataplane(proven, peer=""), load_resource(dataplane(), file="")) is own


def test_without_a_token_there_is_the_front_page_alone() -> None:
    async def body(world: ApiWorld) -> None:
        world.token = ""
        assert (await world.get("/"))["product"] == "trio-mesh"
        replies = [
            await world.request("GET", path) for path in ("/meshes", "/config", "/nothing", "/openapi.json", SECRET)
        ]
        replies += [await world.request("PUT", TIMEOUT, timeout()), await world.request("PATCH", "/meshes")]
        for reply in replies:
            assert reply.status == 401 and reply.headers["www-authenticate"].startswith("Bearer")
            assert set(reply.json) == {"type", "status", "title", "detail", "details"}
        assert len({reply.body for reply in replies}) == 1

    run(body)


def test_no_endpoint_lets_in_whom_its_action_does_not() -> None:
    for endpoint in endpoints():
        if endpoint.action is not Action.INDEX:
            assert decide(caller(Role.ANONYMOUS), endpoint.action, endpoint.kind), endpoint.path
        if endpoint.action not in (Action.INDEX, Action.WHO_AM_I):
            assert decide(caller(Role.ZONE), endpoint.action, endpoint.kind), endpoint.path


def test_viewers_read_and_operators_write_but_neither_sees_secrets() -> None:
    async def body(world: ApiWorld) -> None:
        operator, viewer = world.user_token(OPERATOR), world.user_token()
        assert (await world.put(TIMEOUT, timeout(), token=operator)).status == 201
        assert (await world.request("GET", TIMEOUT, token=viewer)).status == 200
        assert (await world.put(TIMEOUT, timeout(), token=viewer)).status == 403
        assert (await world.put(SECRET, A_SECRET)).status == 201
        for token in (operator, viewer):
            for path in (SECRET, "/meshes/default/secrets", "/global-secrets", "/_kri/kri_sec_default___key_"):
                reply = await world.request("GET", path, token=token)
                assert reply.status == 403 and b"aHVudGVyMg" not in reply.body
            assert (await world.put(SECRET, A_SECRET, token=token)).status == 403
            assert (await world.request("DELETE", "/meshes/default", token=token)).status == 403
            reply = await world.request("POST", "/apply", {"resources": [A_SECRET]}, token=token)
            assert reply.status == 403
        assert (await world.get(SECRET))["data"] == "aHVudGVyMg=="
        assert (await world.request("GET", "/audit", token=viewer)).status == 403

    run(body)


def test_dataplanes_read_their_own_and_zones_nothing() -> None:
    async def body(world: ApiWorld) -> None:
        world.join(dataplane())
        world.join(dataplane("db-1", "db", address="192.0.2.2"))
        token, base = world.dataplane_token(name="web-1"), "/meshes/default/dataplanes"
        for end in ("", "/_overview", "/_policies", "/_rules", "/_config", "/_layout"):
            assert (await world.request("GET", f"{base}/web-1{end}", token=token)).status == 200, end
        for path in (f"{base}/db-1", f"{base}/none", base, f"{base}/_overview", "/meshes", "/status", "/config"):
            assert (await world.request("GET", path, token=token)).status == 403, path
        assert (await world.request("PUT", f"{base}/web-1", dataplane(), token=token)).status == 403
        whole_mesh = world.dataplane_token()
        assert (await world.request("GET", f"{base}/web-1", token=whole_mesh)).status == 403
        zone = world.zone_token()
        assert (await world.request("GET", "/who-am-i", token=zone)).json["name"] == "zone:east"
        assert (await world.request("GET", "/meshes", token=zone)).status == 403

    run(body)


def test_bad_tokens_are_refused_alike_and_never_repeated() -> None:
    async def body(world: ApiWorld) -> None:
        good = world.user_token(ADMIN)
        expired = world.plane.tokens.issue_user(
            name="jo", groups=(ADMIN,), lifetime_s=10.0, now=EPOCH_S - 1000, random=random.Random(1)
        )
        for token in ("garbage", good[:-3] + "AAA", good.rsplit(".", 1)[0] + ".", expired, "a.b.c", "x" * 20_000):
            reply = await world.request("GET", "/", token=token)
            assert (reply.status, reply.json["title"]) == (401, "Unauthorized")
            assert not any(len(part) > 8 and part.encode() in reply.body for part in token.split("."))
        for header in ("Basic am86cHc=", "Bearer", f"Bearer {good}, Bearer {good}"):
            reply = await world.request("GET", "/meshes", token="", headers=[("authorization", header)])
            assert reply.status == 401
        twice = [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")]
        assert (await world.request("GET", "/meshes", token="", headers=twice)).status == 401

    run(body)


def test_revoked_user_is_out_at_once_and_old_keys_go_when_they_are_deleted() -> None:
    async def body(world: ApiWorld) -> None:
        token = world.user_token(name="mallory")
        token_id = (await world.get("/who-am-i", token=token))["tokenId"]
        revoked = {"type": "GlobalSecret", "name": "user-token-revocations"}
        data = base64.b64encode(f"x, {token_id}".encode()).decode()
        assert (await world.put("/global-secrets/user-token-revocations", {**revoked, "data": data})).status == 201
        reply = await world.request("GET", "/meshes", token=token)
        assert reply.status == 401 and "was revoked" in reply.json["detail"]

    run(body)


# Headers, the peer's address, and whether development mode takes the request for the administrator's.
FROM_LOOPBACK: list[tuple[list[tuple[str, str]], str, bool]] = [
    ([], "127.0.0.1", True),
    ([], "::1", True),
    ([("host", "localhost:5681")], "127.0.0.1", True),
    ([("host", "[::1]:5681")], "::1", True),
    ([("origin", "http://127.0.0.1:5681")], "127.0.0.1", True),
    ([], "192.0.2.1", False),
    ([("host", "evil.example:5681")], "127.0.0.1", False),
    ([("host", "127.0.0.1.evil.example")], "127.0.0.1", False),
    ([("host", "user@127.0.0.1")], "127.0.0.1", False),
    ([("host", "127.0.0.1"), ("host", "evil.example")], "127.0.0.1", False),
    ([("x-forwarded-for", "127.0.0.1")], "127.0.0.1", False),
    ([("forwarded", "for=127.0.0.1")], "127.0.0.1", False),
    ([("via", "1.1 proxy")], "127.0.0.1", False),
    ([("x-real-ip", "127.0.0.1")], "127.0.0.1", False),
    ([("x-forwarded-unheard-of", "1")], "127.0.0.1", False),
    ([("x-original-forwarded-for", "1")], "127.0.0.1", False),
    ([("x-cluster-client-ip", "1")], "127.0.0.1", False),
    ([("origin", "http://evil.example")], "127.0.0.1", False),
    ([("origin", "null")], "127.0.0.1", False),
    ([("origin", "http://127.0.0.1:8080")], "127.0.0.1", False),
    ([("sec-fetch-site", "cross-site")], "127.0.0.1", False),
    ([("sec-fetch-site", "none")], "127.0.0.1", True),
]


def test_development_mode_trusts_this_hosts_own_users_alone() -> None:
    async def body(world: ApiWorld) -> None:
        for headers, peer, admin in FROM_LOOPBACK:
            reply = await world.request("GET", "/meshes", token="", headers=headers, peer=peer)
            assert (reply.status == 200) is admin, (headers, peer, reply.body)

    run(body, dev=True)


def test_without_development_mode_loopback_is_nobody_in_particular() -> None:
    async def body(world: ApiWorld) -> None:
        for headers, peer, _ in FROM_LOOPBACK:
            assert (await world.request("GET", "/meshes", token="", headers=headers, peer=peer)).status == 401

    run(body)


def test_a_token_counts_in_development_mode_too() -> None:
    async def body(world: ApiWorld) -> None:
        assert (await world.put(TIMEOUT, timeout(), token=world.user_token())).status == 403
        assert (await world.get("/who-am-i", token=""))["name"] == ADMIN
        assert (await world.request("GET", "/meshes", token="garbage")).status == 401

    run(body, dev=True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(Role), st.sampled_from(Action), st.text(max_size=20))
def test_whoever_is_no_administrator_never_gets_more_by_a_strange_kind(role: Role, action: Action, kind: str) -> None:
    if role is not Role.ADMIN and decide(caller(role), action, "MeshTimeout"):
        assert decide(caller(role), action, kind)
