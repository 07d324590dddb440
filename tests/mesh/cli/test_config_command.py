"""`mesh config control-planes`: contexts are kept closed, whole, and never shown with their token."""

import json
from pathlib import Path

import pytest
from command_line import Mesh, write_ca
from fake_control_plane import FakeControlPlane, problem

ADD = ("config", "control-planes", "add")
TOKEN = "aaaa.bbbb.cccc"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "mesh-config.yaml"


def test_added_one_is_checked_used_and_kept_closed(
    mesh: Mesh, plane: FakeControlPlane, config: Path, tmp_path: Path
) -> None:
    plane.answer("GET", "/who-am-i", {"name": "jo", "groups": ["mesh-system:operator", "mesh-system:authenticated"]})
    token = tmp_path / "jo.token"
    token.write_text(f"{TOKEN}\n")
    ended = mesh(*ADD, "--name", "prod", "--address", plane.address, "--token-file", token)
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr.splitlines() == [
        f"trio-mesh 0.1-preview at {plane.address}; you are jo (mesh-system:operator)",
        "added control plane prod; commands use it from now",
    ]
    assert plane.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert config.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in config.read_text()
    assert [path.name for path in config.parent.iterdir() if path.suffix == ".new"] == []


def test_token_of_kumactls_options_is_kept_and_never_shown(
    mesh: Mesh, plane: FakeControlPlane, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = mesh(*ADD, "--name", "a", "--address", plane.address, "--auth-type=tokens", "--auth-conf", f"token={TOKEN}")
    assert ended.code == 0, ended.stderr
    assert config.stat().st_mode & 0o777 == 0o600
    assert TOKEN in config.read_text()
    for command in (("list",), ("list", "-o", "json"), ("current", "-o", "yaml")):
        shown = mesh("config", "control-planes", *command)
        assert shown.code == 0
        assert TOKEN not in shown.stdout + shown.stderr
    # The address of the environment is another one: it must not get the token of the file.
    assert mesh("get", "meshes").code == 1
    assert "authorization" not in plane.asked[-1].headers
    monkeypatch.delenv("MESH_CONTROL_PLANE")
    mesh("get", "meshes")
    assert plane.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    monkeypatch.setenv("MESH_TOKEN", "x.y.z")
    mesh("get", "meshes")
    assert plane.asked[-1].headers["authorization"] == "Bearer x.y.z"


def test_contexts_are_listed_switched_and_removed(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        mesh(*ADD, "--name", name, "--address", f"https://{name}.example:5682", "--skip-check")
    listed = mesh("config", "control-planes", "list")
    assert listed.stdout.splitlines() == [
        "ACTIVE  NAME  ADDRESS                   AUTHENTICATION",
        "        one   https://one.example:5682  none",
        "*       two   https://two.example:5682  none",
    ]
    assert mesh("config", "control-planes", "use", "one").code == 0
    assert mesh("config", "control-planes", "current").stdout == "one\n"
    monkeypatch.setenv("MESH_CONTROL_PLANE", "two")
    assert mesh("config", "control-planes", "current").stdout == "two\n"
    monkeypatch.delenv("MESH_CONTROL_PLANE")
    assert mesh("config", "control-planes", "switch", "--name", "two").code == 0
    assert mesh("config", "control-planes", "remove", "two").code == 0
    left = json.loads(mesh("config", "control-planes", "list", "-o", "json").stdout)
    assert [(item["name"], item["active"]) for item in left] == [("one", False)]
    assert (
        json.loads(mesh("config", "control-planes", "current", "-o", "json").stdout)["address"]
        == "http://127.0.0.1:5681"
    )


def test_wrong_words_are_refused_with_what_is_there(mesh: Mesh, config: Path) -> None:
    mesh(*ADD, "--name", "prod", "--address", "https://cp.example:5682", "--skip-check")
    before = config.read_text()
    again = mesh(*ADD, "--name", "prod", "--address", "https://other.example:5682", "--skip-check")
    assert (again.code, again.errors) == (
        2,
        ["--name: a control plane named 'prod' is there already (add --overwrite to replace it)"],
    )
    use = mesh("config", "control-planes", "use", "prd")
    assert use.errors == ["no control plane is named 'prd' (did you mean 'prod'? there are: prod)"]
    assert mesh("get", "meshes", "--context", "prd").code == 2
    assert config.read_text() == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--address", "cp:5682"], "--address: 'cp:5682' is not the URL of a control plane (write http://HOST:5681"),
        (["--address", "https://u@cp:1"], "--address: takes no user name, query or fragment"),
        (["--address", "https://cp:99999"], "--address: 'https://cp:99999' is not the URL of a control plane"),
        (["--address", "https://cp:1", "--ca-cert-file", "none.pem"], "--ca-cert-file: there is no file none.pem"),
        (["--address", "https://cp:1", "--auth-conf", "secret"], "--auth-conf: takes one token (write token=TOKEN)"),
        (["--address", "https://cp:1", "--auth-type", "tokens"], "--auth-type: needs --auth-conf token=TOKEN"),
    ],
)
def test_options_of_add_are_checked(mesh: Mesh, config: Path, options: list[str], error: str) -> None:
    ended = mesh(*ADD, "--name", "a", *options)
    assert ended.code == 2
    assert ended.errors[0].startswith(error)
    assert not config.exists()


def test_what_is_no_control_plane_is_not_added(mesh: Mesh, plane: FakeControlPlane, config: Path) -> None:
    plane.answer("GET", "/", {"product": "nginx"})
    ended = mesh(*ADD, "--name", "a", "--address", plane.address)
    assert (ended.code, ended.errors) == (
        1,
        [f"what answers at {plane.address} is no control plane (--skip-check adds it)"],
    )
    assert not config.exists()
    assert mesh(*ADD, "--name", "a", "--address", plane.address, "--skip-check").code == 0


def test_file_with_mistakes_says_where(mesh: Mesh, config: Path) -> None:
    config.write_text("current: a\ncontrolPlanes:\n  - name: a\n    adress: http://127.0.0.1:1\n")
    ended = mesh("config", "control-planes", "list")
    assert ended.code == 2
    assert any(f"{config}:4:5" in error and "did you mean 'address'?" in error for error in ended.errors)


def test_place_of_the_file_follows_xdg_and_home(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MESH_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    added = (*ADD, "--name", "a", "--address", "http://127.0.0.1:1", "--skip-check")
    assert mesh(*added).code == 0
    assert (tmp_path / "home" / ".mesh" / "config").is_file()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert mesh(*added).code == 0
    assert (tmp_path / "xdg" / "mesh" / "config.yaml").is_file()


def test_token_over_plain_http_to_another_host_is_warned_of(mesh: Mesh, tmp_path: Path) -> None:
    token = tmp_path / "t"
    token.write_text(TOKEN)
    options = ("--name", "a", "--token-file", token, "--skip-check", "--overwrite")
    assert (
        "warning: the token will travel unencrypted" in mesh(*ADD, *options, "--address", "http://10.0.0.1:5681").stderr
    )
    assert "warning" not in mesh(*ADD, *options, "--address", "http://127.0.0.1:5681").stderr
    ca = write_ca(tmp_path / "ca.pem")
    https = mesh(*ADD, *options, "--address", "https://10.0.0.1:5682", "--ca-cert-file", ca)
    assert "warning" not in https.stderr


def test_token_that_is_not_taken_keeps_it_out_and_none_is_warned_of(
    mesh: Mesh, plane: FakeControlPlane, config: Path, tmp_path: Path
) -> None:
    plane.answer("GET", "/who-am-i", problem(401, "Unauthorized", "the token expired"), status=401)
    token = tmp_path / "t"
    token.write_text(TOKEN)
    refused = mesh(*ADD, "--name", "a", "--address", plane.address, "--token-file", token)
    assert (refused.code, config.exists()) == (1, False)
    assert "does not know who is asking: the token expired" in refused.stderr
    assert TOKEN not in refused.stderr
    without = mesh(*ADD, "--name", "a", "--address", plane.address)
    assert without.code == 0
    assert "warning: without a token it lets nobody in" in without.stderr
