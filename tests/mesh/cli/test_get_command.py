"""`mesh get`, `delete`, `export`: Kuma's words for kinds, all pages, and YAML that can be applied again."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import Mesh
from fake_control_plane import FakeControlPlane, problem

from mesh.resources.documents import load_documents


def timeout(name: str, *, mesh: str = "shop", **more: Any) -> dict[str, Any]:
    spec = {
        "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": "web"}},
        "to": [
            {
                "targetRef": {
                    "kind": "MeshService",
                    "labels": {"kuma.io/display-name": "orders"},
                    "sectionName": "http",
                },
                "default": {"http": {"requestTimeout": "300ms"}},
            }
        ],
    }
    changed = datetime.fromtimestamp(time.time() - 7300, UTC).isoformat().replace("+00:00", "Z")
    return {"type": "MeshTimeout", "mesh": mesh, "name": name, "modificationTime": changed, "spec": spec, **more}


@pytest.mark.parametrize("word", ["meshtimeouts", "meshtimeout", "MeshTimeout", "mt", "mesh-timeouts"])
def test_a_kind_has_many_names(mesh: Mesh, plane: FakeControlPlane, word: str) -> None:
    plane.list_of("/meshes/shop/meshtimeouts", [timeout("soon")])
    ended = mesh("get", word, "-m", "shop")
    assert ended.code == 0
    assert ended.stdout.splitlines() == [
        "MESH  NAME  TARGET                          WHAT                        AGE",
        "shop  soon  Dataplane kuma.io/workload=web  to MeshService orders http   2h",
    ]


def test_unknown_kind_gets_a_suggestion(mesh: Mesh, plane: FakeControlPlane) -> None:
    ended = mesh("get", "meshtimeuot")
    assert ended.code == 2
    assert ended.errors == ["unknown kind 'meshtimeuot' (did you mean 'meshtimeout'? all kinds: mesh schema)"]
    assert "its place took MeshRetry" in mesh("get", "Retry").errors[0]
    assert mesh("get", "policies").errors == [
        "unknown kind 'policies' (list those of every kind with mesh inspect policies)"
    ]


def test_all_pages_are_listed_unless_one_is_asked_for(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": f"m{number:04}"} for number in range(700)])
    assert len(mesh("get", "meshes").stdout.splitlines()) == 701
    page = mesh("get", "meshes", "--size", "2", "--offset", "1", "-o", "json")
    assert [item["name"] for item in json.loads(page.stdout)["items"]] == ["m0001", "m0002"]
    assert page.stderr == "there are more: add --offset 3\n"


def test_one_resource_as_yaml_can_be_applied_again(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.answer("GET", "/meshes/shop/meshtimeouts/soon", timeout("soon"))
    ended = mesh("get", "meshtimeout", "soon", "-m", "shop", "-o", "yaml")
    (document,) = load_documents(ended.stdout, file="printed")
    assert document.data == timeout("soon") | {"modificationTime": document.data["modificationTime"]}  # type: ignore[call-overload,index]
    assert json.loads(mesh("get", "mt", "soon", "-m", "shop", "-o", "json").stdout)["name"] == "soon"
    assert "soon" in mesh("get", "mt", "soon", "-m", "shop").stdout


def test_what_is_not_there_is_said(mesh: Mesh, plane: FakeControlPlane) -> None:
    ended = mesh("get", "meshtimeout", "none", "-m", "shop")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.errors == ["there is no MeshTimeout named 'none' in mesh 'shop' (list them: mesh get meshtimeouts)"]


def test_all_meshes_and_all_kinds(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "a"}, {"type": "Mesh", "name": "b"}])
    plane.list_of("/meshes/a/meshtimeouts", [timeout("one", mesh="a")])
    plane.list_of("/meshes/b/meshtimeouts", [timeout("two", mesh="b")])
    both = mesh("get", "mt", "-A", "-o", "yaml")
    assert [document.data["name"] for document in load_documents(both.stdout, file="")] == ["one", "two"]  # type: ignore[call-overload,index]
    everything = mesh("get", "all", "-m", "b")
    assert everything.stdout.splitlines() == [
        "KIND         MESH  NAME",
        "Mesh               b",
        "MeshTimeout  b     two",
    ]
    assert not any("secret" in asked.path for asked in plane.asked)
    assert mesh("get", "mt", "one", "-A").code == 2


def test_dataplanes_and_services_have_their_own_columns(mesh: Mesh, plane: FakeControlPlane) -> None:
    networking = {"address": "10.0.0.5", "inbound": [{"port": 8080, "protocol": "http"}, {"port": 9090}]}
    labels = {"kuma.io/workload": "web", "team": "a", "kuma.io/zone": "default"}
    plane.list_of(
        "/meshes/default/dataplanes",
        [{"type": "Dataplane", "mesh": "default", "name": "web-1", "labels": labels, "networking": networking}],
    )
    assert mesh("get", "dataplanes").stdout.splitlines()[1].split() == [
        *("default", "web-1", "10.0.0.5", "8080/http,9090/tcp", "kuma.io/workload=web,team=a")
    ]
    service = {
        "type": "MeshService",
        "mesh": "default",
        "name": "web",
        "spec": {"state": "Available", "ports": [{"port": 80, "appProtocol": "http"}]},
        "status": {"addresses": [{"hostname": "web.svc.mesh.local"}], "dataplaneProxies": {"healthy": 1, "total": 2}},
    }
    plane.list_of("/meshes/default/meshservices", [service])
    assert mesh("get", "msvc").stdout.splitlines()[1].split() == [
        *("default", "web", "Available", "80/http", "1/2", "web.svc.mesh.local")
    ]


def test_lines_fit_a_hundred_columns(mesh: Mesh, plane: FakeControlPlane) -> None:
    labels = {f"label-{number}": "value" * 5 for number in range(9)}
    plane.list_of("/meshes/shop/meshtimeouts", [timeout("soon" * 5, labels=labels)])
    assert max(map(len, mesh("get", "mt", "-m", "shop").stdout.splitlines())) <= 100


def test_delete_by_name(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.answer("DELETE", "/meshes/shop/meshtimeouts/soon", {})
    ended = mesh("delete", "meshtimeout", "soon", "-m", "shop")
    assert ended.code == 0
    assert ended.stdout.splitlines()[1].split() == ["deleted", "MeshTimeout", "shop", "soon"]
    gone = mesh("delete", "meshtimeout", "none", "-m", "shop")
    assert (gone.code, gone.errors) == (1, ["there is no MeshTimeout named 'none' in mesh 'shop'"])
    assert mesh("delete", "meshtimeout", "none", "-m", "shop", "--ignore-not-found").code == 0


def test_delete_by_file_takes_meshes_last(mesh: Mesh, plane: FakeControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(
        "type: Mesh\nname: shop\n---\n"
        "type: Zone\nname: east\n---\n"
        "type: MeshTimeout\nname: soon\nmesh: shop\nspec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}\n"
    )
    for path in ("/meshes/shop", "/meshes/shop/meshtimeouts/soon"):
        plane.answer("DELETE", path, {})
    ended = mesh("delete", "-f", file)
    assert ended.code == 1
    assert ended.stderr == "warning: there is no Zone named 'east'\n"
    assert [asked.path for asked in plane.asked] == ["/meshes/shop/meshtimeouts/soon", "/zones/east", "/meshes/shop"]
    assert mesh("delete", "-f", file, "--ignore-not-found").code == 0


@pytest.mark.parametrize("arguments", [[], ["meshtimeout"], ["meshtimeout", "a", "-f", "x.yaml"]])
def test_delete_needs_one_way_to_say_what(mesh: Mesh, arguments: list[str]) -> None:
    ended = mesh("delete", *arguments)
    assert ended.code == 2
    assert "give KIND and NAME, or files with -f." in ended.stderr


def test_export_leaves_out_what_the_server_adds_and_generates(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "shop", "creationTime": "2026-01-01T00:00:00Z", "kri": "kri_m"}])
    managed = timeout("made", labels={"kuma.io/managed-by": "trio-mesh"})
    plane.list_of("/meshes/shop/meshtimeouts", [timeout("soon"), managed])
    plane.list_of("/meshes/shop/dataplanes", [dataplane("stored"), dataplane("joined")])
    plane.list_of("/meshes/shop/secrets", [{"type": "Secret", "mesh": "shop", "name": "s", "data": "c2VjcmV0"}])
    plane.answer("GET", "/meshes/shop/dataplanes/stored", dataplane("stored"))
    plane.answer("GET", "/meshes/shop/dataplanes/joined", dataplane("joined"))
    plane.etags["/meshes/shop/dataplanes/stored"] = '"1"'
    ended = mesh("export")
    found = [document.data for document in load_documents(ended.stdout, file="")]
    assert found[0] == {"type": "Mesh", "name": "shop"}
    assert [item["name"] for item in found] == ["shop", "soon"]  # type: ignore[call-overload,index]
    assert "modificationTime" not in ended.stdout and "c2VjcmV0" not in ended.stdout
    assert ended.stderr == "2 resources\n"
    whole = mesh("export", "--profile", "all", "-o", "json")
    names = [item["name"] for item in json.loads(whole.stdout)["items"]]
    assert names == [
        "shop",
        "stored",
        "soon",
        "s",
    ]  # The Dataplane that its sidecar brings is no resource of operators.


def test_export_of_all_without_rights_says_that_secrets_are_missing(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "shop"}])
    denied = problem(403, "Access Denied", "user may not read Secret")
    plane.answer("GET", "/meshes/shop/secrets", denied, status=403)
    plane.answer("GET", "/global-secrets", denied, status=403)
    ended = mesh("export", "--profile", "all")
    assert ended.code == 0
    assert "warning: without Secrets: only administrators may read them" in ended.stderr


def test_export_leaves_out_authorities_which_no_other_control_plane_takes(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "shop"}])
    names = ("ca-shop.default.mesh.local", "dataplane-token-signing-key-shop-1")
    plane.list_of("/meshes/shop/secrets", [{"type": "Secret", "mesh": "shop", "name": name} for name in names])
    named = [{"type": "GlobalSecret", "name": name} for name in ("control-plane-ca", "user-token-signing-key-1")]
    plane.list_of("/global-secrets", named)
    ended = mesh("export", "--profile", "all", "-o", "json")
    kept = [item["name"] for item in json.loads(ended.stdout)["items"]]
    assert kept == ["shop", "user-token-signing-key-1", "dataplane-token-signing-key-shop-1"]
    assert "warning: without certificate authorities: each control plane has its own" in ended.stderr


@pytest.mark.parametrize("command", [["export"], ["status"], ["inspect", "services"], ["inspect", "policies"]])
def test_nothing_in_a_mesh_that_is_not_there_is_a_mistake(
    mesh: Mesh, plane: FakeControlPlane, command: list[str]
) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "shop"}])
    plane.answer("GET", "/status", {"revision": 3, "proxies": []})
    ended = mesh(*command, "-m", "shpo")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.errors == ["there is no mesh 'shpo' (did you mean 'shop'? there are: shop)"]
    assert mesh(*command, "-m", "shop").code == 0


def test_export_warns_of_what_was_redacted(mesh: Mesh, plane: FakeControlPlane) -> None:
    plane.list_of("/meshes", [{"type": "Mesh", "name": "shop"}])
    plane.list_of("/meshes/shop/meshtimeouts", [timeout("soon", labels={"key": "[redacted]"})])
    ended = mesh("export")
    assert "warning: MeshTimeout soon holds [redacted]: applying it would lose what stands there" in ended.stderr


def dataplane(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "Dataplane", "mesh": "shop", "name": name, "networking": {"address": "10.0.0.5"}, **more}
