"""The front page, who asks, the kinds, settings, errors of the frame, and the API's own description."""

import re

from starlette.routing import compile_path

from mesh.control.api.openapi import document
from mesh.control.api.table import endpoints
from mesh.resources.registry import KINDS
from tests.mesh.control.api.api_world import ADMIN, ApiWorld, run

SETTINGS = {
    "store": {"type": "sqlite"},
    "postgres": {"password": "hunter2", "host": "db"},
    "tls": {"privateKeyPem": "-----BEGIN PRIVATE KEY-----\nx"},
}


def test_front_page_is_ours_and_accepted_by_kumas_clients() -> None:
    async def body(world: ApiWorld) -> None:
        index = await world.get("/", token="", headers=[("host", "cp:5681")])
        assert index["product"] == "trio-mesh" and "preview" in index["version"]
        assert index["gui"] == "http://cp:5681/gui"
        assert (index["instanceId"], index["clusterId"], index["hostname"]) == ("cp-1", "c-1", "localhost")
        assert (await world.request("HEAD", "/", token="")).status == 200

    run(body)


def test_who_am_i_names_the_caller_without_the_token() -> None:
    async def body(world: ApiWorld) -> None:
        me = await world.get("/who-am-i")
        assert (me["name"], me["role"]) == ("root", "admin") and ADMIN in me["groups"] and len(me["tokenId"]) == 32

    run(body)


def test_settings_are_shown_without_their_secrets() -> None:
    async def body(world: ApiWorld) -> None:
        config = await world.get("/config")
        assert config["postgres"] == {"password": "[redacted]", "host": "db"}
        assert config["tls"]["privateKeyPem"] == "[redacted]"
        assert config["mode"] == "zone" and config["environment"] == "universal"

    run(body, config=SETTINGS)


def test_kinds_and_policies_are_described() -> None:
    async def body(world: ApiWorld) -> None:
        resources = {item["name"]: item for item in (await world.get("/_resources"))["resources"]}
        assert set(resources) == {kind.name for kind in KINDS}
        timeout = resources["MeshTimeout"]
        assert (timeout["scope"], timeout["path"], timeout["shortName"]) == ("Mesh", "meshtimeouts", "mt")
        assert timeout["policy"]["hasToTargetRef"] and timeout["singularDisplayName"] == "Mesh Timeout"
        assert resources["Workload"]["readOnly"] and "policy" not in resources["Mesh"]
        assert resources["MeshTLS"]["pluralDisplayName"] == "Mesh TLSes"
        policies = (await world.get("/policies"))["policies"]
        assert {item["name"] for item in policies} == {kind.name for kind in KINDS if kind.policy}

    run(body)


def test_paths_and_methods_that_are_not_there_have_kumas_errors() -> None:
    async def body(world: ApiWorld) -> None:
        for path in ("/nothing", "/meshes/default/nothings", "/meshes/default/meshtimeouts/a/b/c", "/meshes//x"):
            reply = await world.request("GET", path)
            assert (reply.status, reply.json["type"]) == (404, "/std-errors") and reply.json["title"], path
        wrong = await world.request("POST", "/meshes")
        assert (wrong.status, wrong.headers["allow"], wrong.json["status"]) == (405, "GET", 405)
        assert (await world.request("DELETE", "/")).headers["allow"] == "GET"
        assert (await world.request("GET", "/meshes/")).status == 200
        for kri in ("x", "kri_", "kri_zz_a_b_c_d_e", "kri_mt_default___none_"):
            assert (await world.request("GET", f"/_kri/{kri}")).status in (400, 404)

    run(body)


def test_crash_is_a_500_that_says_nothing_and_is_logged() -> None:
    async def body(world: ApiWorld) -> None:
        world.plane.statuses = None  # type: ignore[assignment]  # A bug, planted.
        reply = await world.request("GET", "/status")
        assert (reply.status, reply.json["detail"]) == (500, "The control plane's log says more")
        assert world.memory.named("api.crashed", path="/status")

    run(body)


def test_refusals_are_logged_without_tokens() -> None:
    async def body(world: ApiWorld) -> None:
        token = world.user_token()
        await world.request("GET", "/global-secrets", token=token)
        assert world.memory.named("api.denied", status=403) and token not in str(world.memory.events)

    run(body)


def test_description_and_table_name_the_same_endpoints() -> None:
    async def body(world: ApiWorld) -> None:
        described = await world.get("/openapi.json")
        there = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
        there = {(method, path) for method, path in there if method != "PARAMETERS"}
        assert there == {(endpoint.method, endpoint.path) for endpoint in endpoints()}
        # What is described is what answers: a path with its parameters filled in finds just that endpoint.
        for endpoint in endpoints():
            path = re.sub(r"{\w+}", "x", endpoint.path)
            reply = await world.request(endpoint.method, path)
            assert reply.status != 405 and reply.json.get("title") != "Page not found", (endpoint.method, path)

    run(body)


def test_description_is_whole() -> None:
    described = document(endpoints())
    assert described["openapi"] == "3.1.0"
    references = set(re.findall(r"'\$ref': '#/components/(\w+)/(\w+)'", repr(described)))
    for family, name in references:
        assert name in described["components"][family]
    operations = [
        operation
        for item in described["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(identifiers) == len(set(identifiers))
    assert all("default" in operation["responses"] for operation in operations)
    for path, item in described["paths"].items():
        assert [parameter["name"] for parameter in item.get("parameters", [])] == list(compile_path(path)[2])


def test_no_two_endpoints_share_a_method_and_a_path() -> None:
    keys = [(endpoint.method, endpoint.path) for endpoint in endpoints()]
    assert len(keys) == len(set(keys))
