"""What the API shows of Dataplanes, services, meshes and zones, in Kuma's shapes."""

from typing import Any

from mesh.control.insights import Insight, Subscription
from mesh.control.registry import Presence
from mesh.discovery.publication import Refusal
from mesh.model.names import ProxyId
from tests.mesh.control.api.api_world import (
    ApiWorld,
    MadeUpPartChange,
    MadeUpPreview,
    MadeUpProxyPreview,
    dataplane,
    run,
    timeout,
)
from tests.mesh.control.memory_world import EPOCH_S

BASE = "/meshes/default/dataplanes"
WEB = ProxyId("default", "web-1")
OUTBOUND = {"address": "127.0.0.1", "port": 10001, "backendRef": {"kind": "MeshService", "name": "db", "port": 8080}}


def populate(world: ApiWorld) -> None:
    """A web that calls a database; one of two databases is not ready, one is away."""
    world.join(dataplane(outbound=[OUTBOUND]), inbounds=(("http", True),))
    world.join(dataplane("db-1", "db", address="192.0.2.2"), inbounds=(("http", False),))
    world.join(dataplane("db-2", "db", address="192.0.2.3"), presence=Presence.LOST)
    first = Subscription(
        session="s1", instance="cp-1", connected=EPOCH_S, disconnected=EPOCH_S + 1, updated=EPOCH_S + 1
    )
    second = Subscription(
        session="s2", instance="cp-1", connected=EPOCH_S + 2, updated=EPOCH_S + 3.5, sent=10, acked=9, rejected=1
    )
    world.plane.insights[WEB] = Insight(
        subscriptions=(first, second),
        certificate_issued=EPOCH_S,
        certificate_expires=EPOCH_S + 3600,
        certificate_regenerations=2,
    )


def test_overview_has_kumas_shape() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        overview = await world.get(f"{BASE}/web-1/_overview")
        assert overview["type"] == "DataplaneOverview"
        assert (overview["mesh"], overview["name"], overview["status"]) == ("default", "web-1", "Online")
        assert overview["dataplane"]["networking"]["address"] == "192.0.2.1"
        insight = overview["dataplaneInsight"]
        assert insight["mTLS"] == {
            "certificateExpirationTime": "2027-01-15T09:00:00Z",
            "lastCertificateRegeneration": "2027-01-15T08:00:00Z",
            "certificateRegenerations": 2,
        }
        assert insight["subscriptions"][0]["disconnectTime"] == "2027-01-15T08:00:01Z"
        last = insight["subscriptions"][1]
        assert "disconnectTime" not in last and last["controlPlaneInstanceId"] == "cp-1"
        assert last["status"]["lastUpdateTime"] == "2027-01-15T08:00:03.5Z"
        counted = {"responsesSent": "10", "responsesAcknowledged": "9", "responsesRejected": "1"}
        assert last["status"]["total"] == counted
        alone = await world.get("/meshes/default/dataplane-insights/web-1")
        assert alone["subscriptions"] == insight["subscriptions"] and alone["type"] == "DataplaneInsight"

    run(body)


def test_overviews_are_filtered_by_label_and_gateway() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        every = await world.get(f"{BASE}/_overview")
        assert [item["name"] for item in every["items"]] == ["db-1", "db-2", "web-1"]
        assert [item["status"] for item in every["items"]] == ["PartiallyDegraded", "Offline", "Online"]
        assert every["items"][0]["dataplane"]["networking"]["inbound"][0]["state"] == "NotReady"
        db = await world.get(f"{BASE}/_overview?tag=kuma.io/workload:db&gateway=false")
        assert db["total"] == 2
        assert (await world.get("/dataplanes/_overview?gateway=true"))["items"] == []
        assert (await world.get("/meshes/default/dataplane-insights"))["total"] == 3
        for query in ("tag=x", "gateway=perhaps"):
            assert (await world.request("GET", f"{BASE}/_overview?{query}")).status == 400
        assert (await world.request("GET", f"{BASE}/none/_overview")).status == 404

    run(body)


def test_dataplanes_are_those_that_were_written_and_those_that_joined() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        assert (await world.put(f"{BASE}/api-1", dataplane("api-1", "api"))).status == 201
        names = [item["name"] for item in (await world.get(BASE))["items"]]
        assert names == ["api-1", "db-1", "db-2", "web-1"]
        reply = await world.request("GET", f"{BASE}/web-1")
        assert reply.json["networking"]["outbound"] and "etag" not in reply.headers

    run(body)


def test_rules_policies_and_layout_of_one_proxy() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        await world.put("/meshes/default/meshtimeouts/slow", timeout(span="111s"))
        inbound = {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {"idleTimeout": "1h"}}]}
        await world.put("/meshes/default/meshtimeouts/in", timeout("in", spec=inbound))
        rules = await world.get(f"{BASE}/web-1/_rules")
        (of_timeout,) = rules["rules"]
        assert rules["resource"]["name"] == "web-1" and of_timeout["type"] == "MeshTimeout"
        (to,) = of_timeout["toResourceRules"]
        assert to["conf"] == [{"http": {"requestTimeout": "1m51s"}}]
        assert to["origin"][0]["resourceMeta"]["name"] == "slow" and to["origin"][0]["ruleIndex"] == 0
        (at,) = of_timeout["inboundRules"]
        assert at["inbound"]["port"] == 8080 and at["rules"][0]["conf"] == [{"idleTimeout": "1h0m0s"}]
        layout = await world.get(f"{BASE}/web-1/_layout")
        assert layout["inbounds"][0]["kri"] == "kri_dp_default___web-1_http"
        (outbound,) = layout["outbounds"]
        assert outbound["kri"] == "kri_msvc_default___db_http" and outbound["address"] == "127.0.0.1:10001"
        towards = await world.get(f"{BASE}/web-1/_outbounds/{outbound['kri']}/_policies")
        assert towards["policies"] == [
            {
                "kind": "MeshTimeout",
                "conf": {"http": {"requestTimeout": "1m51s"}},
                "origins": [{"kri": "kri_mt_default___slow_"}],
            }
        ]
        inside = await world.get(f"{BASE}/web-1/_inbounds/{layout['inbounds'][0]['kri']}/_policies")
        assert inside["policies"][0]["origins"] == [{"kri": "kri_mt_default___in_"}]
        assert await world.get(f"{BASE}/web-1/_policies") == {"policies": []}
        assert (await world.get(f"{BASE}/web-1/_outbounds/{outbound['kri']}/_routes"))["routes"] == []
        for path in ("_inbounds/kri_dp_x/_policies", "_outbounds/none/_policies", "_outbounds/none/_routes"):
            assert (await world.request("GET", f"{BASE}/web-1/{path}")).status == 404

    run(body)


def test_configuration_is_shown_part_by_part() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        config = await world.get(f"{BASE}/web-1/_config?include=diff")
        assert {"proxy", "inbound/http"} <= set(config["xds"]["parts"]) and config["diff"] == []
        await world.put(f"{BASE}/api-1", dataplane("api-1", "api"))
        assert (await world.request("GET", f"{BASE}/api-1/_config")).status == 404
        assert (await world.request("GET", f"{BASE}/web-1/_config?shadow=maybe")).status == 400

    run(body)


def test_shadow_policies_show_what_they_would_change() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        shadow = timeout(labels={"kuma.io/effect": "shadow"})
        await world.put("/meshes/default/meshtimeouts/slow", shadow)
        change = MadeUpPartChange(part="outbound/db~1", op="replace", before=1, after={"timeout": 2})
        gone = MadeUpPartChange(part="proxy", op="remove", before=1)
        changed = MadeUpProxyPreview(proxy=WEB, changes=(change, gone))
        world.plane.previews = MadeUpPreview(proxies=(changed,))
        config = await world.get(f"{BASE}/web-1/_config?shadow=true&include=diff")
        assert config["xds"]["parts"]["outbound/db~1"] == {"timeout": 2} and "proxy" not in config["xds"]["parts"]
        assert config["diff"] == [
            {"op": "replace", "path": "/parts/outbound~1db~01", "value": {"timeout": 2}},
            {"op": "remove", "path": "/parts/proxy"},
        ]
        assert (await world.get(f"{BASE}/web-1/_config?include=diff"))["diff"] == []
        assert (await world.get(f"{BASE}/web-1/_rules"))["rules"] == []
        assert (await world.get(f"{BASE}/web-1/_rules?shadow=true"))["rules"][0]["type"] == "MeshTimeout"

    run(body)


def test_services_of_workloads_are_listed_with_who_is_behind_them() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        generator = {"template": "{{ .DisplayName }}.svc.mesh.local", "selector": {"meshService": {"matchLabels": {}}}}
        await world.put("/hostnamegenerators/g", {"type": "HostnameGenerator", "name": "g", "spec": generator})
        services = await world.get("/meshes/default/meshservices")
        assert [item["name"] for item in services["items"]] == ["db", "web"]
        db = await world.get("/meshes/default/meshservices/db")
        assert db["spec"]["ports"][0]["port"] == 8080 and db["kri"] == "kri_msvc_default___db_"
        assert db["status"]["dataplaneProxies"] == {"connected": 1, "healthy": 0, "total": 2}
        assert db["status"]["addresses"][0]["hostname"] == "db.svc.mesh.local"
        assert db["status"]["vips"][0]["ip"].startswith("241.")
        for end in ("_dataplanes", "_resources/dataplanes", "-resources/dataplanes"):
            behind = await world.get(f"/meshes/default/meshservices/db/{end}")
            assert [item["name"] for item in behind["items"]] == ["db-1", "db-2"]
        names = await world.get("/meshes/default/meshservices/db/_hostnames")
        assert names == {"total": 1, "items": [{"hostname": "db.svc.mesh.local", "zones": [{"name": "default"}]}]}
        workloads = await world.get("/meshes/default/workloads")
        assert [(item["name"], item["status"]["dataplaneProxies"]["total"]) for item in workloads["items"]] == [
            ("db", 2),
            ("web", 1),
        ]

    run(body)


def test_policies_lead_to_the_dataplanes_under_them() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        top = {"kind": "Dataplane", "labels": {"kuma.io/workload": "db"}}
        spec = {**timeout()["spec"], "targetRef": top}
        await world.put("/meshes/default/meshtimeouts/db", timeout("db", spec=spec))
        for end in ("_resources/dataplanes", "-resources/dataplanes"):
            under = await world.get(f"/meshes/default/meshtimeouts/db/{end}?size=1")
            assert under["total"] == 2 and [item["name"] for item in under["items"]] == ["db-1"]
        assert (await world.request("GET", "/meshes/default/meshtimeouts/x/_resources/dataplanes")).status == 404

    run(body)


def test_insights_count_what_there_is() -> None:
    async def body(world: ApiWorld) -> None:
        populate(world)
        await world.put("/meshes/default/meshtimeouts/slow", timeout())
        await world.put("/zones/east", {"type": "Zone", "name": "east", "enabled": True})
        counts = {"total": 3, "online": 1, "offline": 1, "partiallyDegraded": 1}
        (insight,) = (await world.get("/mesh-insights"))["items"]
        assert (insight["type"], insight["name"], insight["dataplanes"]) == ("MeshInsight", "default", counts)
        assert insight["resources"]["MeshTimeout"] == {"total": 1} and insight["services"]["internal"] == 2
        alone = await world.get("/mesh-insights/default")
        assert {**alone, "lastSync": ""} == {**insight, "lastSync": ""}
        overall = await world.get("/global-insight")
        assert overall["dataplanes"]["standard"] == counts and overall["meshes"] == {"total": 1}
        assert overall["services"]["internal"]["total"] == 2 and overall["policies"]["total"] == 1
        services = (await world.get("/meshes/default/service-insights"))["items"]
        assert [(item["name"], item["status"]) for item in services] == [
            ("db", "partially_degraded"),
            ("web", "online"),
        ]
        assert (await world.get("/meshes/default/service-insights/db"))["dataplanes"]["total"] == 2
        (zone,) = (await world.get("/zones/_overview"))["items"]
        assert (zone["type"], zone["name"], zone["zone"]) == ("ZoneOverview", "east", {"enabled": True})
        assert await world.get("/zones/east/_overview") == zone
        for path in ("/mesh-insights/x", "/zones/x/_overview", "/meshes/default/service-insights/x"):
            assert (await world.request("GET", path)).status == 404

    run(body)


def test_status_says_how_far_each_proxy_is() -> None:
    async def body(world: ApiWorld) -> None:
        refusal = Refusal(version="v3", reason="port 80 is taken")
        world.join(dataplane(), wanted_version="v3", sent_version="v3", refusal=refusal, lag_s=4.5)
        status = await world.get("/status?mesh=default")
        expected: dict[str, Any] = {
            "mesh": "default",
            "name": "web-1",
            "instance": "cp-1",
            "presence": "connected",
            "wantedVersion": "v3",
            "sentVersion": "v3",
            "ackedVersion": "v2",
            "lagSeconds": 4.5,
            "refusal": {"version": "v3", "reason": "port 80 is taken"},
            "certificateExpires": None,
            "inbounds": [],
            "departure": "staying",
        }
        assert status["proxies"] == [expected] and status["published"] == {"default": status["revision"]}
        assert (await world.get("/status?mesh=bank"))["proxies"] == []

    run(body)


def test_applied_dataplane_without_a_sidecar_is_offline() -> None:
    async def body(world: ApiWorld) -> None:
        world.join(dataplane("web-2"))
        for name in ("web-1", "web-2", "web-3"):
            await world.put(f"/meshes/default/dataplanes/{name}", dataplane(name))
        status = await world.get("/status")
        presences = [(proxy["name"], proxy["presence"]) for proxy in status["proxies"]]
        assert presences == [("web-1", "offline"), ("web-2", "connected"), ("web-3", "offline")]
        assert {**status["proxies"][0], "name": "", "presence": ""} == {
            **dict.fromkeys(("name", "presence", "instance", "wantedVersion", "sentVersion", "ackedVersion"), ""),
            **{"mesh": "default", "lagSeconds": 0.0, "refusal": None, "certificateExpires": None, "inbounds": []},
            "departure": "staying",
        }
        assert (await world.get("/status?mesh=bank"))["proxies"] == []

    run(body)
