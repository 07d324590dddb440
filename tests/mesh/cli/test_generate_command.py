"""`mesh generate`: what it signs is bound, limited in time and well named, whoever signs it; keys are quoted nowhere."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from command_line import Mesh
from fake_control_plane import FakeControlPlane, problem

from mesh.cli.signing_key import KEY_FILE, STORE_FILE
from mesh.control.initial_resources import secret
from mesh.control.store.documents import encode_resource
from mesh.control.store.migrations import migrate
from mesh.control.store.resource_rows import Author, RowChange, write_resources
from mesh.control.store.seal_check import seal_again
from mesh.control.store.sealing import Sealer, create_key, encode_keys
from mesh.identity.token_authority import TokenAuthority, TokenKind, signing_key_secret
from mesh.identity.tokens import SigningKey, decode_public_key, read_claims
from mesh.model.errors import IdentityError
from mesh.resources.documents import load_documents
from mesh.runtime.environment import Transaction
from mesh.runtime.real import wall_clock
from mesh.runtime.sqlite import make_durable, run_transaction

KEYS = {serial: SigningKey.create(serial) for serial in (1, 2)}
SECRETS = {
    signing_key_secret(TokenKind.DATAPLANE, 1, mesh="default"): KEYS[1],
    signing_key_secret(TokenKind.DATAPLANE, 1, mesh="shop"): KEYS[1],
    signing_key_secret(TokenKind.DATAPLANE, 2, mesh="shop"): KEYS[2],
    signing_key_secret(TokenKind.USER, 1): KEYS[1],
    signing_key_secret(TokenKind.ZONE, 1): KEYS[1],
}
AUTHORITY = TokenAuthority({key: signing_key.encode().encode() for key, signing_key in SECRETS.items()})


def write_store(folder: Path) -> Path:
    """Make the data folder of a control plane that has run: a store with sealed keys, and the key that opens it."""
    keys = (create_key(),)
    (folder / KEY_FILE).write_bytes(encode_keys(keys))
    sealer = Sealer(*keys)
    resources = [secret(key, signing_key.encode().encode()) for key, signing_key in SECRETS.items()]
    changes = [
        RowChange(key=resource.key, expected_version=0, document=encode_resource(resource, sealer))
        for resource in resources
    ]

    def write(transaction: Transaction) -> None:
        migrate(transaction)
        seal_again(transaction, sealer)
        write_resources(transaction, changes, Author(by="test", at=0.0, reason=""))

    connection = apsw.Connection(str(folder / STORE_FILE))
    make_durable(connection)
    run_transaction(connection, write, read_only=False)
    connection.close()
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("control-plane"))


def test_token_says_what_was_asked_and_is_signed_with_the_newest_key_of_the_mesh(mesh: Mesh, data: Path) -> None:
    options = ("--mesh", "shop", "--name", "cart-1", "--workload", "cart", "--tag", "team=a", "--valid-for", "24h")
    ended = mesh("generate", "dataplane-token", "--data", data, *options)
    assert (ended.code, ended.stderr) == (0, "")
    token = ended.stdout.strip()
    claims = read_claims(token)
    assert (claims.mesh, claims.name, claims.workload, claims.tags) == ("shop", "cart-1", "cart", {"team": ["a"]})
    assert claims.expires_at - claims.issued_at == 86405
    who: dict[str, Any] = {"mesh": "shop", "name": "cart-1", "workload": "cart", "tags": {"team": "a"}}
    only_new_key = TokenAuthority({signing_key_secret(TokenKind.DATAPLANE, 2, mesh="shop"): KEYS[2].encode().encode()})
    only_new_key.verify_dataplane(token, now=wall_clock(), **who)
    with pytest.raises(IdentityError):
        AUTHORITY.verify_dataplane(token, now=wall_clock(), **{**who, "name": "cart-2"})


def test_user_and_zone_tokens_are_signed_from_the_store(mesh: Mesh, data: Path) -> None:
    groups = ("--group", "mesh-system:operator", "--group", "team-a")
    ended = mesh("generate", "user-token", "--data", data, "--name", "jo", *groups, "--valid-for", "1h")
    claims = AUTHORITY.verify_user(ended.stdout.strip(), now=wall_clock())
    assert (claims.name, claims.groups) == ("jo", ("mesh-system:operator", "team-a"))
    ended = mesh("generate", "zone-token", "--data", data, "--zone", "east", "--scope", "cp", "--valid-for", "1h")
    zone = AUTHORITY.verify_zone(ended.stdout.strip(), now=wall_clock())
    assert (zone.zone, zone.scope) == ("east", ("cp",))


def test_control_plane_makes_tokens_when_no_key_is_named(mesh: Mesh, plane: FakeControlPlane) -> None:
    for kind in ("dataplane", "user", "zone"):
        plane.answer("POST", f"/tokens/{kind}", f"{kind}.token.text\n")
    bound = ("--name", "web-1", "--workload", "web", "--tag", "team=a", "--tag", "team=b")
    ended = mesh("generate", "dataplane-token", "-m", "shop", *bound, "--valid-for", "24h")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "dataplane.token.text\n", "")
    assert plane.bodies("POST", "/tokens/dataplane") == [
        {
            **{"mesh": "shop", "name": "web-1", "workload": "web", "tags": {"team": ["a", "b"]}},
            **{"type": "dataplane", "validFor": "24h"},
        }
    ]
    assert (
        mesh("generate", "user-token", "--name", "jo", "--group", "g", "--valid-for", "1h").stdout
        == "user.token.text\n"
    )
    assert plane.bodies("POST", "/tokens/user") == [{"name": "jo", "groups": ["g"], "validFor": "1h"}]
    assert mesh("generate", "zone-token", "--zone", "east", "--valid-for", "1h").stdout == "zone.token.text\n"
    assert plane.bodies("POST", "/tokens/zone") == [{"zone": "east", "scope": [], "validFor": "1h"}]


def test_what_the_control_plane_refuses_names_the_option(mesh: Mesh, plane: FakeControlPlane) -> None:
    invalid = [{"field": "mesh", "reason": "there is no mesh 'shop'"}, {"field": "type", "reason": "only 'dataplane'"}]
    answer = problem(400, "Could not issue a token", "not valid", invalid_parameters=invalid)
    plane.answer("POST", "/tokens/dataplane", answer, status=400)
    ended = mesh("generate", "dataplane-token", "-m", "shop", "--name", "a", "--valid-for", "1h")
    assert (ended.code, ended.errors) == (2, ["--mesh: there is no mesh 'shop'", "type: only 'dataplane'"])
    plane.answer("POST", "/tokens/dataplane", problem(403, "Access Denied", "may not"), status=403)
    assert mesh("generate", "dataplane-token", "--name", "a", "--valid-for", "1h").code == 1


def test_key_that_is_kept_offline_signs_under_its_own_id(mesh: Mesh, tmp_path: Path) -> None:
    made = mesh("generate", "signing-key")
    assert made.code == 0
    path = tmp_path / "key.pem"
    path.write_text(made.stdout)
    key = ("--signing-key-path", path)
    ended = mesh("generate", "user-token", *key, "--kid", "ci-2026", "--name", "ci", "--valid-for", "1h")
    assert ended.code == 0, ended.stderr
    public = mesh("generate", "public-key", *key).stdout
    assert (
        decode_public_key("ci-2026", public).public_numbers()
        == SigningKey.decode("x", made.stdout).public_key.public_numbers()
    )
    assert (
        mesh("generate", "user-token", *key, "--name", "ci", "--valid-for", "1h")
        .errors[0]
        .startswith("--kid: is missing")
    )
    alone = mesh("generate", "user-token", "--kid", "1", "--name", "ci", "--valid-for", "1h")
    assert alone.errors[0].startswith("--kid: needs --signing-key-path")
    both = mesh("generate", "user-token", *key, "--kid", "1", "--data", tmp_path, "--name", "ci", "--valid-for", "1h")
    assert both.errors[0].startswith("--signing-key-path: there is a key in --data")
    none = mesh(
        "generate",
        "user-token",
        "--signing-key-path",
        tmp_path / "no",
        "--kid",
        "1",
        "--name",
        "ci",
        "--valid-for",
        "1h",
    )
    assert none.errors[0].startswith(f"{tmp_path / 'no'}: cannot read the signing key: No such file")


def test_signing_key_as_a_secret_can_be_applied(mesh: Mesh) -> None:
    ended = mesh("generate", "signing-key", "--format", "secret", "-m", "shop", "--serial", "3")
    (document,) = load_documents(ended.stdout, file="printed")
    assert isinstance(document.data, dict)
    data = base64.b64decode(str(document.data.pop("data")))
    assert document.data == {"type": "Secret", "mesh": "shop", "name": "dataplane-token-signing-key-shop-3"}
    SigningKey.decode(3, data)
    user = mesh("generate", "signing-key", "--format", "secret", "--for", "user-token", "--serial", "2").stdout
    assert "type: GlobalSecret\nname: user-token-signing-key-2\n" in user
    assert mesh("generate", "signing-key", "--format", "secret").errors[0].startswith("--serial: is missing")
    SigningKey.decode(1, base64.b64decode(mesh("generate", "signing-key", "--format", "base64").stdout))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--name", "a", "--valid-for", "0s"], "--valid-for: '0s' is too short (write at least 1s)"),
        (["--name", "a", "--valid-for", "-1h"], "--valid-for: '-1h' is negative"),
        (["--name", "a", "--valid-for", "87601h"], "--valid-for: '87601h' is too long (write at most 87600h0m0s)"),
        (["--name", "a", "--valid-for", "1d"], "--valid-for: '1d' is not a duration; write a number with a unit"),
        (["--valid-for", "1h"], "--name, --workload, --tag: give at least one of them (with none, every sidecar"),
        (["--name", "", "--valid-for", "1h"], "--name: is empty (write a name of lower case letters"),
        (["--name", "A b", "--valid-for", "1h"], "--name: 'A b' is not a name of lower case letters, digits, '.'"),
        (["--workload", "1x", "--valid-for", "1h"], "--workload: '1x' is not a name of lower case letters, digits"),
        (["--tag", "x", "--valid-for", "1h"], "--tag: 'x' is not a label (write KEY=VALUE)"),
        (
            ["--mesh", "none", "--name", "a", "--valid-for", "1h"],
            "STORE: holds no signing key for a dataplane token of mesh 'none'",
        ),
    ],
)
def test_each_option_is_checked(mesh: Mesh, data: Path, options: list[str], error: str) -> None:
    ended = mesh("generate", "dataplane-token", "--data", data, *options)
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.errors) == 1 and ended.errors[0].startswith(error.replace("STORE", str(data / STORE_FILE)))


def test_everything_wrong_is_said_at_once(mesh: Mesh, tmp_path: Path) -> None:
    ended = mesh("generate", "dataplane-token", "--data", tmp_path, "--mesh", "A", "--name", "B", "--valid-for", "0")
    assert ended.code == 2
    places = [error.partition(": ")[0] for error in ended.errors]
    assert places == ["--valid-for", "--mesh", "--name", str(tmp_path / STORE_FILE)]
    assert "it is there once `mesh control-plane --data` has run" in ended.errors[-1]


def _no_key(folder: Path) -> str:
    (folder / KEY_FILE).unlink()
    return f"{folder / KEY_FILE}: cannot read the key that opens the store: No such file or directory"


def _other_key(folder: Path) -> str:
    (folder / KEY_FILE).write_bytes(encode_keys((create_key(),)))
    return "the sealing key is not the one with which the secrets in the store were sealed"


def _damaged_key(folder: Path) -> str:
    (folder / KEY_FILE).write_text("c2VjcmV0\n")
    return f"{folder / KEY_FILE}: is not a sealing key: 32 bytes as base64"


def _no_database(folder: Path) -> str:
    (folder / STORE_FILE).write_text("c2VjcmV0" * 1000)
    return f"{folder / STORE_FILE}: is not the store of a control plane: "


@pytest.mark.parametrize("damage", [_no_key, _other_key, _damaged_key, _no_database])
def test_damaged_store_is_named_and_not_quoted(mesh: Mesh, tmp_path: Path, damage: Callable[[Path], str]) -> None:
    expected = damage(write_store(tmp_path))
    ended = mesh("generate", "dataplane-token", "--data", tmp_path, "--name", "a", "--valid-for", "1h")
    assert ended.code == 2, ended.stderr
    assert ended.errors[0].startswith(expected)
    assert "c2VjcmV0" not in ended.stderr


def test_data_folder_that_is_a_file(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    ended = mesh("generate", "dataplane-token", "--data", file, "--name", "a", "--valid-for", "1h")
    assert (ended.code, ended.errors) == (2, [f"--data: {file} is a file, not a folder (name a folder or a new one)"])
