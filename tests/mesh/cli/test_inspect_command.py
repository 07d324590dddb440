"""`mesh inspect`: Kuma's subcommands over Kuma's routes; and the small commands `schema` and `completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Mesh
from fake_control_plane import FakeControlPlane

OVERVIEW = {
    "type": "DataplaneOverview",
    "mesh": "shop",
    "name": "web-1",
    "labels": {"kuma.io/workload": "web"},
    "dataplane": {"networking": {"address": "10.0.0.5", "inbound": [{"port": 8080, "state": "Ready"}]}},
    "dataplaneInsight": {
        "subscriptions": [
            {"connectTime": "2026-01-01T00:00:00Z", "disconnectTime": "2026-01-02T00:00:00Z"},
            {
                "connectTime": "2026-01-02T00:00:01Z",
                "status": {
                    "lastUpdateTime": "2026-01-02T00:00:02Z",
                    "total": {"responsesSent": "10", "responsesAcknowledged": "9", "responsesRejected": "1"},
                },
                "version": {"kumaDp": {"version": "0.1.0"}},
            },
        ],
        "mTLS": {"certificateExpirationTime": "2099-01-01T00:00:00Z"},
    },
}


def overview(name: str, **networking: Any) -> dict[str, Any]:
    return {**OVERVIEW, "name": name, "dataplane": {"networking": networking}}


def test_dataplanes_say_whether_they_are_online(mesh: Mesh, plane: FakeControlPlane) -> None:
    degraded = overview("web-2", inbound=[{"port": 1, "state": "NotReady"}])
    offline = {**OVERVIEW, "name": "web-3", "dataplaneInsight": {}}
    said = {**OVERVIEW, "name": "web-4", "status": "Offline"}
    plane.list_of("/meshes/shop/dataplanes/_overview", [OVERVIEW, degraded, offline, said])
    ended = mesh("inspect", "dataplanes", "-m", "shop", "--tag", "kuma.io/workload=web", "--tag", "a=b")
    assert ended.code == 0
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["MESH", "NAME", "STATUS", "LABELS", "ACKED", "REFUSED", "UPDATED", "CERT", "VERSION"]
    assert lines[1].split()[:6] == ["shop", "web-1", "Online", "kuma.io/workload=web", "9", "1"]
    assert "Partially degraded" in lines[2] and "Offline" in lines[3] and "Offline" in lines[4]
    assert max(map(len, lines)) <= 100
    assert plane.asked[-1].query["tag"] == "kuma.io/workload:web,a:b"
    assert mesh("inspect", "dataplanes", "--tag", "x").errors == ["--tag: 'x' is not a label (write KEY=VALUE)"]


def meta(kind: str, name: str) -> dict[str, Any]:
    return {"resourceMeta": {"type": kind, "mesh": "shop", "name": name, "labels": {}}}


RULES = {
    "rules": [
        {
            "type": "MeshTimeout",
            "toResourceRules": [
                {
                    **meta("MeshService", "orders"),
                    "resourceSectionName": "http",
                    "conf": [{"idleTimeout": "1h0m0s"}],
                    "origin": [meta("MeshTimeout", "soon"), meta("MeshTimeout", "mesh-timeout-all-shop")],
                }
            ],
            "inboundRules": [
                {
                    "inbound": {"name": "", "port": 8080},
                    "rules": [{"conf": [{}], "origin": [meta("MeshTimeout", "soon")]}],
                }
            ],
        },
        {"type": "MeshTrace", "proxyRule": {"conf": {"tags": []}, "origin": [{"name": "traces"}]}},
    ],
    "warnings": ["MeshTimeout old selects nothing"],
}


def test_policies_of_a_dataplane_say_where_they_apply_and_where_they_come_from(
    mesh: Mesh, plane: FakeControlPlane
) -> None:
    plane.answer("GET", "/meshes/shop/dataplanes/web-1/_rules", RULES)
    ended = mesh("inspect", "dataplane", "web-1", "-m", "shop")
    assert ended.stdout.splitlines() == [
        "KIND         APPLIES                     FROM                         CONF",
        'MeshTimeout  to MeshService orders http  soon, mesh-timeout-all-shop  {"idleTimeout": "1h0m0s"}',
        "MeshTimeout  at 8080                     soon                         {}",
        'MeshTrace    whole proxy                 traces                       {"tags": []}',
    ]
    assert ended.stderr == "warning: MeshTimeout old selects nothing\n"
    as_data = mesh("inspect", "dataplane", "web-1", "-m", "shop", "--type", "rules", "--shadow")
    assert as_data.stdout.startswith("rules:\n- type: MeshTimeout\n")
    assert plane.asked[-1].query == {"shadow": "true"}
    same = mesh("inspect", "rules", "--dataplane", "web-1", "-m", "shop")
    assert same.stdout == as_data.stdout


@pytest.mark.parametrize(
    ("options", "path", "query"),
    [
        (["--type", "overview"], "_overview", {}),
        (["--type", "config-dump", "--shadow", "--include", "diff"], "_config", {"shadow": "true", "include": "diff"}),
    ],
)
def test_views_of_a_dataplane(
    mesh: Mesh, plane: FakeControlPlane, options: list[str], path: str, query: dict[str, str]
) -> None:
    plane.answer("GET", f"/meshes/default/dataplanes/web-1/{path}", {"here": ["it", "is"]})
    ended = mesh("inspect", "dataplane", "web-1", *options)
    assert ended.stdout == "here:\n- it\n- is\n"
    assert plane.asked[-1].query == query
    assert json.loads(mesh("inspect", "dataplane", "web-1", *options, "-o", "json").stdout) == {"here": ["it", "is"]}


def test_policies_with_how_many_they_match(mesh: Mesh, plane: FakeControlPlane) -> None:
    timeout = {"type": "MeshTimeout", "mesh": "shop", "name": "soon", "spec": {}}
    shadow = {"type": "MeshRetry", "mesh": "shop", "name": "new", "labels": {"kuma.io/effect": "shadow"}, "spec": {}}
    plane.list_of("/meshes/shop/meshtimeouts", [timeout])
    plane.list_of("/meshes/shop/meshretries", [shadow])
    plane.list_of("/meshes/shop/meshtimeouts/soon/_resources/dataplanes", [{"mesh": "shop", "name": "web-1"}])
    rows = {tuple(line.split()) for line in mesh("inspect", "policies", "-m", "shop").stdout.splitlines()[1:]}
    assert rows == {("MeshTimeout", "soon", "Mesh", "1"), ("MeshRetry", "new", "Mesh", "shadow", "0")}


@pytest.mark.parametrize("word", ["meshtimeout", "meshtimeouts", "MeshTimeout"])
def test_who_is_matched_by_a_policy(mesh: Mesh, plane: FakeControlPlane, word: str) -> None:
    matched = [{"type": "Dataplane", "mesh": "shop", "name": "web-1", "labels": {"team": "a"}}]
    plane.answer("GET", "/meshes/shop/meshtimeouts/soon", {"name": "soon"})
    plane.list_of("/meshes/shop/meshtimeouts/soon/_resources/dataplanes", matched)
    ended = mesh("inspect", word, "soon", "-m", "shop")
    assert ended.stdout.splitlines() == ["MESH  DATAPLANE  LABELS", "shop  web-1      team=a"]
    missing = mesh("inspect", word, "none", "-m", "shop")
    assert missing.code == 1
    assert missing.errors == [
        "there is no MeshTimeout named 'none' in mesh 'shop' (list them: mesh get meshtimeouts -m shop)"
    ]


def test_what_cannot_be_inspected(mesh: Mesh) -> None:
    ended = mesh("inspect", "dataplan")
    assert ended.code == 2
    assert "nothing to inspect is called 'dataplan'. did you mean 'dataplane'?" in ended.stderr
    assert mesh("inspect", "secret", "x").code == 2


def test_services_meshes_and_zones(mesh: Mesh, plane: FakeControlPlane) -> None:
    service = {
        "type": "MeshService",
        "name": "web",
        "spec": {"state": "Available", "ports": [{"port": 80}]},
        "status": {"dataplaneProxies": {"connected": 2, "healthy": 1, "total": 2}, "vips": [{"ip": "241.0.0.1"}]},
    }
    external = {"type": "MeshExternalService", "name": "api", "spec": {"match": {"port": 443, "protocol": "http"}}}
    plane.list_of("/meshes/default/meshservices", [service])
    plane.list_of("/meshes/default/meshexternalservices", [external])
    assert [line.split() for line in mesh("inspect", "services").stdout.splitlines()[1:]] == [
        ["MeshService", "web", "Available", "80/tcp", "1/2", "241.0.0.1"],
        ["MeshExternalService", "api", "443/http"],
    ]
    insight = {
        "type": "MeshInsight",
        "name": "shop",
        "dataplanes": {"total": 3, "online": 2},
        "resources": {"MeshTimeout": {"total": 2}, "MeshRetry": {"total": 1}, "Secret": {"total": 5}},
        "services": {"total": 4},
    }
    plane.list_of("/mesh-insights", [insight])
    assert mesh("inspect", "meshes").stdout.splitlines()[1].split() == ["shop", "2", "3", "3", "4"]
    zone = {"name": "east", "zone": {"enabled": True}, "zoneInsight": {"subscriptions": [{"connectTime": "x"}]}}
    plane.list_of("/zones/_overview", [zone])
    assert mesh("inspect", "zones").stdout.splitlines()[1].split() == ["east", "yes", "Online"]


def test_schema_of_a_kind(mesh: Mesh) -> None:
    schema = json.loads(mesh("schema", "mt").stdout)
    assert schema["title"] == "MeshTimeout"
    assert "spec" in schema["properties"]
    kinds = mesh("schema").stdout.splitlines()
    assert ["MeshTimeout", "meshtimeouts", "mt", "mesh", "operators"] in [line.split(maxsplit=4) for line in kinds]
    assert mesh("schema", "MeshTimeuot").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(mesh: Mesh, shell: str) -> None:
    ended = mesh("completion", shell)
    assert ended.code == 0
    assert "_MESH_COMPLETE" in ended.stdout


def complete(*words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    environment = {**os.environ, "_MESH_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words)}
    environment["COMP_CWORD"] = str(len(words) - 1)
    ended = subprocess.run(
        [sys.executable, "-m", "mesh"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.splitlines() if line]


def test_shells_complete_verbs_options_and_kinds() -> None:
    assert complete("mesh", "in") == ["inspect"]
    assert "--all-meshes" in complete("mesh", "get", "--a")
    assert complete("mesh", "get", "meshti") == ["meshtimeouts"]
    assert complete("mesh", "inspect", "meshti") == ["meshtimeout"]
    assert "meshtimeout" not in complete("mesh", "inspect", "")


def test_shells_complete_the_names_of_control_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = tmp_path / "contexts.yaml"
    monkeypatch.setenv("MESH_CONFIG", str(contexts))
    assert complete("mesh", "status", "--context", "") == []
    contexts.write_text(
        "current: prod\ncontrolPlanes:\n- {name: prod, address: 'http://a:5681'}\n- {name: dev, address: 'http://b:5681'}\n"
    )
    assert complete("mesh", "status", "--context", "p") == ["prod"]
    assert complete("mesh", "config", "control-planes", "use", "") == ["prod", "dev"]
    contexts.write_text("{")
    assert complete("mesh", "status", "--context", "") == []
