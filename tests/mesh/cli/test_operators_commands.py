"""The operator's commands against a real control plane in a process of its own: what the fakes of the other tests assume."""

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import jwt
import pytest
from command_line import Mesh

MESH = "type: Mesh\nname: shop\n"
TIMEOUT = """\
type: MeshTimeout
name: soon
mesh: shop
spec:
  to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 300ms}}}]
"""


@attrs.frozen
class Plane:
    """A control plane that runs: its data folder and the URLs of its API."""

    data: Path
    http: str
    https: str


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    data = tmp_path_factory.mktemp("real") / "cp"
    listening = ("--address", "127.0.0.1:0", "--api", "127.0.0.1:0", "--api-tls", "127.0.0.1:0")
    command = [sys.executable, "-m", "mesh", "control-plane", "--data", str(data), "--dev", *listening]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        text = ""
        while "control plane on https://" not in text:
            readable, _, _ = select.select([process.stderr], [], [], 30)
            read = os.read(process.stderr.fileno(), 65536) if readable else b""
            assert read, text
            text += read.decode()
        urls = dict(re.findall(r"API on (https?)://(\S+?),", text))
        yield Plane(data, f"http://{urls['http']}", f"https://{urls['https']}")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _use(real: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CONTROL_PLANE", real.http)


def test_a_mesh_is_made_changed_looked_at_and_deleted(mesh: Mesh, real: Plane, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(f"{MESH}---\n{TIMEOUT}")
    dry = mesh("apply", "-f", file, "--dry-run", "-o", "json")
    assert [result["action"] for result in json.loads(dry.stdout)["results"]] == ["created", "created"]
    assert mesh("get", "mesh", "shop").code == 1
    assert mesh("apply", "-f", file, "--wait").code == 0
    assert mesh("apply", "-f", file, "--wait").stdout.count("unchanged") == 2
    for word in ("meshtimeouts", "mt"):
        assert "soon" in mesh("get", word, "-m", "shop").stdout
    soon = json.loads(mesh("get", "mt", "soon", "-m", "shop", "-o", "json").stdout)
    assert soon["spec"]["to"][0]["default"] == {"http": {"requestTimeout": "300ms"}}
    assert "mesh-retry-all-shop" in mesh("inspect", "policies", "-m", "shop").stdout
    assert "shop" in mesh("inspect", "meshes").stdout
    assert "MeshTimeout" in mesh("audit").stdout
    file.write_text(f"{MESH}---\n{TIMEOUT.replace('300ms', '1s')}")
    assert "~ MeshTimeout shop/soon" in mesh("diff", "-f", file).stdout
    assert "- MeshTimeout shop/soon" in mesh("diff", "--delete", "mt/soon", "-m", "shop").stdout
    assert mesh("delete", "-f", file).stdout.count("deleted") == 2


def test_export_applied_again_changes_nothing(mesh: Mesh, tmp_path: Path) -> None:
    for profile in ("no-dataplanes", "all", "federation"):
        file = tmp_path / f"{profile}.yaml"
        file.write_text(mesh("export", "--profile", profile).stdout)
        assert ("signing-key" in file.read_text()) is (profile == "all")
        applied = mesh("apply", "-f", file, "-o", "json")
        assert applied.code == 0, applied.stderr
        actions = {result["action"] for result in json.loads(applied.stdout)["results"]}
        assert actions == {"unchanged"}


def test_what_only_the_control_plane_can_find_has_its_place(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "lost.yaml"
    file.write_text(f"type: Zone\nname: east\n---\n{TIMEOUT.replace('shop', 'nowhere')}")
    ended = mesh("apply", "-f", file)
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(f"{file}:6:1: mesh: ")
    assert mesh("get", "zone", "east").code == 1, "all or nothing"


def test_rights_follow_the_token(mesh: Mesh, real: Plane, tmp_path: Path) -> None:
    file = tmp_path / "zone.yaml"
    file.write_text("type: Zone\nname: west\n")
    codes = {}
    for user, group in (("viewer", "team"), ("operator", "mesh-system:operator")):
        token = tmp_path / f"{user}.token"
        token.write_text(mesh("generate", "user-token", "--name", user, "--group", group, "--valid-for", "1h").stdout)
        added = ("config", "control-planes", "add", "--name", user, "--address", real.https)
        ended = mesh(*added, "--ca-cert-file", real.data / "ca.pem", "--token-file", token)
        assert f"you are {user} ({group})" in ended.stderr
        codes[user] = [
            mesh(*arguments, "--context", user).code
            for arguments in (("get", "zones"), ("apply", "-f", file), ("get", "secrets"), ("audit",))
        ]
    assert codes == {"viewer": [0, 1, 1, 1], "operator": [0, 0, 1, 0]}


def test_tokens_signed_here_and_there_are_both_good(mesh: Mesh, real: Plane) -> None:
    options = ("user-token", "--name", "jo", "--valid-for", "1h")
    for more in ((), ("--data", real.data)):
        token = mesh("generate", *options, *more).stdout.strip()
        assert token.count(".") == 2
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MESH_CONTROL_PLANE", real.https)
            environment.setenv("MESH_CA_CERT_FILE", str(real.data / "ca.pem"))
            environment.setenv("MESH_TOKEN", token)
            assert mesh("get", "meshes").code == 0
            environment.setenv("MESH_TOKEN", f"{token}x")
            refused = mesh("get", "meshes")
            assert (refused.code, token in refused.stderr) == (1, False)
    assert (
        mesh("generate", "dataplane-token", "-m", "nowhere", "--name", "a", "--valid-for", "1h")
        .errors[0]
        .startswith("--mesh: ")
    )


def test_signing_keys_are_rotated_by_applying_a_secret(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "key.yaml"
    made = mesh("generate", "signing-key", "--format", "secret", "--for", "user-token", "--serial", "2")
    file.write_text(made.stdout)
    assert mesh("apply", "-f", file).code == 0
    token = mesh("generate", "user-token", "--name", "jo", "--valid-for", "1h").stdout
    assert jwt.get_unverified_header(token.strip())["kid"] == "2"
    assert mesh("delete", "global-secret", "user-token-signing-key-2").code == 0
