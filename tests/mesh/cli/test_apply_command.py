"""`mesh apply`: mistakes have their place in the file, whoever finds them; what is acknowledged is told; waiting tells why."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Mesh
from fake_control_plane import Answer, Asked, FakeControlPlane, problem

from mesh.cli.api_client import ApiClient, Query
from mesh.cli.failures import CommandFailed

TIMEOUT = """\
# how long callers wait
type: MeshTimeout
name: soon
mesh: shop
spec:
  targetRef: {kind: Mesh}
  to:
    - targetRef: {kind: Mesh}
      default:
        http: {requestTimeout: 300ms}
"""
MESH = "type: Mesh\nname: shop\n"


def results(*actions: tuple[str, str, str, str], revision: int = 7) -> dict[str, Any]:
    """Return an answer of `POST /apply`: (action, type, mesh, name) each."""
    found = [
        {"type": kind, **({"mesh": mesh} if mesh else {}), "name": name, "action": action, "version": 1, "warnings": []}
        for action, kind, mesh, name in actions
    ]
    return {"revision": revision, "dryRun": False, "results": found}


def proxy(
    name: str, *, mesh: str = "shop", presence: str = "connected", acked: str = "b", refusal: Any = None
) -> dict[str, Any]:
    """Return a proxy of `GET /status`, whose wanted version is b."""
    versions = {"wantedVersion": "b", "sentVersion": "b", "ackedVersion": acked}
    return {"mesh": mesh, "name": name, "instance": "cp-1", "presence": presence, **versions, "refusal": refusal}


def status(*proxies: dict[str, Any], published: int = 7) -> dict[str, Any]:
    return {"revision": 7, "published": {"shop": published}, "proxies": list(proxies)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "timeout.yaml"
    path.write_text(TIMEOUT)
    return path


def test_each_resource_is_told_and_sent_in_one_request(
    mesh: Mesh, plane: FakeControlPlane, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mesh.yaml").write_text(MESH)
    plane.answer("POST", "/apply", results(("created", "Mesh", "", "shop"), ("updated", "MeshTimeout", "shop", "soon")))
    ended = mesh("apply", "-f", tmp_path / "mesh.yaml", "-f", file)
    assert ended.code == 0
    assert ended.stdout.splitlines() == [
        "ACTION   KIND         MESH  NAME  VERSION",
        "created  Mesh               shop        1",
        "updated  MeshTimeout  shop  soon        1",
    ]
    assert ended.stderr == "revision 7: 1 created, 1 updated\n"
    (body,) = plane.bodies("POST", "/apply")
    assert body["dryRun"] is False
    assert [(sent["type"], sent["name"]) for sent in body["resources"]] == [("Mesh", "shop"), ("MeshTimeout", "soon")]
    assert body["resources"][1]["mesh"] == "shop"


def test_resource_without_mesh_is_sent_with_the_default_one(
    mesh: Mesh, plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TIMEOUT.replace("mesh: shop\n", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    plane.answer("POST", "/apply", results(("created", "MeshTimeout", "default", "soon")))
    assert mesh("apply", "-f", "-").code == 0
    assert plane.bodies("POST", "/apply")[0]["resources"][0]["mesh"] == "default"


def test_mistakes_found_here_are_told_at_once_and_nothing_is_sent(
    mesh: Mesh, plane: FakeControlPlane, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(TIMEOUT.replace("requestTimeout", "requestTimeut"))
    (tmp_path / "b.yaml").write_text("type: MeshTimeuot\nname: x\n")
    ended = mesh("apply", "-f", tmp_path)
    assert ended.code == 2
    assert len(ended.errors) == 2
    assert ended.errors[0].startswith(f"{tmp_path}/a.yaml:10:16: spec.to[0].default.http.requestTimeut: unknown key")
    assert "did you mean 'requestTimeout'?" in ended.errors[0]
    assert ended.errors[1].startswith(f"{tmp_path}/b.yaml:1:1: type: unknown kind 'MeshTimeuot'")
    assert plane.bodies("POST", "/apply") == []


def test_what_the_control_plane_finds_has_its_place_in_the_file(
    mesh: Mesh, plane: FakeControlPlane, file: Path
) -> None:
    text = f"{MESH}---\n{TIMEOUT}"
    file.write_text(text)
    invalid = [
        {"field": "resources[1].spec.to[0].default.http", "reason": "must be longer (write 1s)"},
        {
            "field": "mesh",
            "reason": "mesh shop is not there",
            "resource": {"type": "MeshTimeout", "mesh": "shop", "name": "soon"},
        },
        {"field": "somewhere", "reason": "is wrong"},
    ]
    plane.answer("POST", "/apply", problem(400, "Could not process", invalid_parameters=invalid), status=400)
    ended = mesh("apply", "-f", file)
    assert ended.code == 2
    assert ended.stdout == ""
    assert ended.errors == [
        f"{file}:13:9: spec.to[0].default.http: must be longer (write 1s)",
        f"{file}:7:1: mesh: mesh shop is not there",
        "somewhere: is wrong",
    ]


def test_refusal_as_a_whole_is_no_mistake_in_the_file(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", problem(403, "Access Denied", "user 'jo' may not write MeshTimeout"), status=403)
    ended = mesh("apply", "-f", file)
    assert ended.code == 1
    assert ended.errors[0].startswith("this is not allowed to you: user 'jo' may not write MeshTimeout")


def test_warnings_are_told_once(mesh: Mesh, plane: FakeControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(
        "type: MeshTimeout\nname: old\nmesh: shop\nspec:\n  targetRef: {kind: Mesh}\n  from:\n"
        "    - targetRef: {kind: Mesh}\n      default: {http: {requestTimeout: 1s}}\n"
    )
    answer = results(("created", "MeshTimeout", "shop", "old"))

    def warn(asked: Asked) -> Answer:
        answer["results"][0]["warnings"] = ["no proxy is selected"]
        return 200, answer

    plane.handle("POST", "/apply", warn)
    ended = mesh("apply", "-f", file)
    assert ended.code == 0, ended.stderr
    warnings = [line for line in ended.stderr.splitlines() if line.startswith("warning: ")]
    assert warnings[0].startswith(f"warning: {file}:6:3: spec.from")
    assert warnings[-1] == "warning: MeshTimeout old: no proxy is selected"
    assert "rules" in plane.bodies("POST", "/apply")[0]["resources"][0]["spec"]


def test_dry_run_is_the_control_planes(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", results(("created", "MeshTimeout", "shop", "soon")))
    ended = mesh("apply", "-f", file, "--dry-run", "--wait")
    assert (ended.code, ended.stderr) == (0, "dry run: nothing was changed\n")
    assert plane.bodies("POST", "/apply")[0]["dryRun"] is True
    assert plane.bodies("GET", "/status") == []


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_result_as_data(mesh: Mesh, plane: FakeControlPlane, file: Path, form: str) -> None:
    answer = results(("unchanged", "MeshTimeout", "shop", "soon"))
    plane.answer("POST", "/apply", answer)
    ended = mesh("apply", "-f", file, "-o", form)
    if form == "json":
        assert json.loads(ended.stdout) == answer
    else:
        assert ended.stdout.startswith("revision: 7\n")


def test_variables_are_filled_in_and_kumas_own_templates_stay(
    mesh: Mesh, plane: FakeControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "generator.yaml"
    file.write_text(
        "type: HostnameGenerator\nname: {{ name }}\nspec:\n"
        '  template: "{{ .DisplayName }}.{{zone}}.local"\n  selector: {meshService: {matchLabels: {}}}\n'
    )
    plane.answer("POST", "/apply", results(("created", "HostnameGenerator", "", "east-names")))
    assert mesh("apply", "-f", file, "-v", "name=east-names", "-v", "zone=east").code == 0
    sent = plane.bodies("POST", "/apply")[0]["resources"][0]
    assert (sent["name"], sent["spec"]["template"]) == ("east-names", "{{ .DisplayName }}.east.local")
    missing = mesh("apply", "-f", file, "-v", "nam=east-names")
    assert missing.code == 2
    assert (
        missing.errors[0] == f"{file}:2:7: no value for {{{{ name }}}} (did you mean 'nam'? give it with -v name=VALUE)"
    )
    assert mesh("apply", "-f", file, "-v", "name").errors[0] == "--var: 'name' has no name (write NAME=VALUE)"


def test_variable_at_the_end_of_a_mapping_leaves_it_its_brace(
    mesh: Mesh, plane: FakeControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("{type: Mesh, labels: {team: {{ team }}, owner: {{{who}}}}, name: {{ name }}}\n")
    plane.answer("POST", "/apply", results(("created", "Mesh", "", "shop")))
    assert mesh("apply", "-f", file, "-v", "name=shop", "-v", "team=a", "-v", "who=jo").code == 0
    sent = plane.bodies("POST", "/apply")[0]["resources"][0]
    assert (sent["name"], sent["labels"]) == ("shop", {"team": "a", "owner": "jo"})


def test_file_with_holes_is_told_for_its_holes_alone(mesh: Mesh, plane: FakeControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "dataplane.yaml"
    file.write_text(
        "type: Dataplane\nname: {{ name }}-1\nmesh: shop\nnetworking: {address: 10.0.0.1, inbound: [{port: {{ port }}}]}\n"
    )
    ended = mesh("apply", "-f", file, "-v", "name=web")
    assert ended.errors == [f"{file}:4:50: no value for {{{{ port }}}} (give it with -v port=VALUE)"]
    without = mesh("apply", "-f", file)
    assert without.code == 2
    assert f"{file}:2:7: no value for {{{{ name }}}} (give it with -v name=VALUE)" in without.errors


def test_urls_are_not_fetched(mesh: Mesh, plane: FakeControlPlane) -> None:
    ended = mesh("apply", "-f", "https://example.com/mesh.yaml")
    assert ended.code == 2
    assert ended.errors[0].startswith("https://example.com/mesh.yaml: ")
    assert "this is a URL, not a file (pipe it in: curl -sf URL | mesh apply -f -)" in ended.errors[0]


def test_wait_returns_when_every_proxy_has_acknowledged(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    answers = [
        status(proxy("web-1"), proxy("web-2"), published=6),  # Acknowledged, but what came before.
        status(proxy("web-1"), proxy("web-2", acked="a")),
        status(proxy("web-1"), proxy("web-2"), proxy("far-1", mesh="other", presence="lost", acked="a")),
    ]
    plane.handle("GET", "/status", lambda asked: (200, answers.pop(0)))
    ended = mesh("apply", "-f", file, "--wait")
    assert ended.code == 0
    assert answers == []
    assert ended.stderr.splitlines()[-1].startswith("live on 2 of 2 proxies after 0.")


def test_wait_names_who_refused_and_why_and_who_is_away(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    refusal = {"reason": "listener 10001: address in use", "count": 1}
    plane.answer(
        "GET",
        "/status",
        status(
            proxy("web-1"),
            proxy("web-2", acked="a", refusal=refusal),
            proxy("web-3", presence="lost", acked="a"),
            proxy("web-4", acked="a"),
        ),
    )
    ended = mesh("apply", "-f", file, "--wait", "--timeout", "300ms")
    assert ended.code == 1
    assert ended.stderr.splitlines()[-3:] == [
        "  shop/web-2 refused it: listener 10001: address in use",
        "  shop/web-4 has not acknowledged it yet",
        "  shop/web-3 is not connected (lost)",
    ]


def test_wait_is_not_for_dataplanes_without_a_sidecar(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", results(("created", "Dataplane", "shop", "web-2")))
    plane.answer("GET", "/status", status(proxy("web-1"), proxy("web-2", presence="offline", acked="")))
    ended = mesh("apply", "-f", file, "--wait", "--timeout", "60s")
    assert ended.code == 0 and ended.stderr.splitlines()[-1].startswith("live on 1 of 1 proxy after 0.")


def test_wait_ends_at_once_when_all_others_are_done_and_one_refused(
    mesh: Mesh, plane: FakeControlPlane, file: Path
) -> None:
    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    plane.answer("GET", "/status", status(proxy("web-1"), proxy("web-2", acked="a", refusal={"reason": "no"})))
    ended = mesh("apply", "-f", file, "--wait", "--timeout", "60s")
    assert ended.code == 1
    assert len([asked for asked in plane.asked if asked.path == "/status"]) == 1


def test_wait_forgets_what_was_refused_before_it_was_mended(mesh: Mesh, plane: FakeControlPlane, file: Path) -> None:
    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    refusal = {"version": "a", "reason": "port 8055 is in use", "count": 1}
    plane.answer("GET", "/status", status(proxy("web-1", refusal=refusal)))
    ended = mesh("apply", "-f", file, "--wait", "--timeout", "300ms")
    assert (ended.code, "refused" in ended.stderr) == (0, False)


def test_wait_goes_on_while_the_control_plane_starts_again(
    mesh: Mesh, plane: FakeControlPlane, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    plane.answer("GET", "/status", status(proxy("web-1")))
    get, failures = ApiClient.get, [CommandFailed("connection refused")]

    def get_later(client: ApiClient, path: str, query: Query | None = None) -> Any:
        if failures:
            raise failures[-1] if len(failures) > 1 else failures.pop()
        return get(client, path, query)

    monkeypatch.setattr(ApiClient, "get", get_later)
    assert mesh("apply", "-f", file, "--wait").code == 0
    failures += [CommandFailed("connection refused")] * 2
    ended = mesh("apply", "-f", file, "--wait", "--timeout", "200ms")
    assert ended.code == 1
    assert "applied, but nobody knows who has it after 0.2 s: connection refused" in ended.stderr


def test_interrupted_wait_says_that_the_change_stays(
    mesh: Mesh, plane: FakeControlPlane, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    plane.answer("POST", "/apply", results(("updated", "MeshTimeout", "shop", "soon")))
    plane.answer("GET", "/status", status(proxy("web-1", acked="a")))
    monkeypatch.setattr("mesh.cli.waiting.time.sleep", interrupt)
    ended = mesh("apply", "-f", file, "--wait")
    assert ended.code == 130
    assert "no longer waiting: what was applied stays" in ended.stderr


def test_resource_of_no_mesh_concerns_every_mesh_and_what_was_unchanged_waits_for_no_revision(
    mesh: Mesh, plane: FakeControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "zone.yaml"
    file.write_text("type: Zone\nname: east\nenabled: true\n")
    plane.answer("POST", "/apply", results(("updated", "Zone", "", "east")))
    plane.answer("GET", "/status", status(proxy("a-1", mesh="other", presence="lost"), published=7))
    assert mesh("apply", "-f", file, "--wait", "--timeout", "150ms").code == 1
    plane.answer("POST", "/apply", results(("unchanged", "Zone", "", "east"), revision=9))
    plane.answer("GET", "/status", status(proxy("web-1"), published=7))
    assert mesh("apply", "-f", file, "--wait", "--timeout", "150ms").code == 0
