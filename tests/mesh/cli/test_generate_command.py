"""`mesh generate dataplane-token`: what it signs is bound, limited in time and well named."""

from pathlib import Path

import pytest
from command_line import Mesh

from mesh.control.bootstrap import FOLDER
from mesh.identity.tokens import SigningKey, read_claims


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control plane's data folder with a signing key."""
    folder = tmp_path_factory.mktemp("control-plane")
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / "dataplane-token-1.pem").write_text(SigningKey.create().encode())
    return folder


def test_token_says_what_was_asked(mesh: Mesh, data: Path) -> None:
    options = ("--mesh", "shop", "--name", "cart-1", "--workload", "cart", "--valid-for", "24h")
    ended = mesh("generate", "dataplane-token", "--data", data, *options)
    assert (ended.code, ended.stderr) == (0, "")
    claims = read_claims(ended.stdout.strip())
    assert (claims.mesh, claims.name, claims.workload) == ("shop", "cart-1", "cart")
    assert claims.expires_at - claims.issued_at == 86405


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--name", "a", "--valid-for", "0s"], "--valid-for: '0s' is too short (write at least 1s)"),
        (["--name", "a", "--valid-for", "-1h"], "--valid-for: '-1h' is negative"),
        (["--name", "a", "--valid-for", "87601h"], "--valid-for: '87601h' is too long (write at most 87600h0m0s)"),
        (["--name", "a", "--valid-for", "1d"], "--valid-for: '1d' is not a duration; write a number with a unit"),
        (["--valid-for", "1h"], "--name, --workload: give at least one of them (with neither, every sidecar"),
        (["--name", "", "--valid-for", "1h"], "--name: is empty (write a name of lower case letters"),
        (["--name", "A b", "--valid-for", "1h"], "--name: 'A b' is not a name of lower case letters, digits, '.'"),
        (["--workload", "1x", "--valid-for", "1h"], "--workload: '1x' is not a name of lower case letters, digits"),
        (["--mesh", "x" * 64, "--name", "a", "--valid-for", "1h"], "--mesh: takes at most 63 characters, got 64"),
    ],
)
def test_each_option_is_checked(mesh: Mesh, data: Path, options: list[str], error: str) -> None:
    ended = mesh("generate", "dataplane-token", "--data", data, *options)
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.errors) == 1 and ended.errors[0].startswith(error)


def test_everything_wrong_is_said_at_once(mesh: Mesh, tmp_path: Path) -> None:
    ended = mesh("generate", "dataplane-token", "--data", tmp_path, "--mesh", "A", "--name", "B", "--valid-for", "0")
    assert ended.code == 2
    assert [error.partition(": ")[0] for error in ended.errors] == [
        "--valid-for",
        "--mesh",
        "--name",
        str(tmp_path / FOLDER / "dataplane-token-1.pem"),
    ]
    assert "it is there once `mesh control-plane --data` has run" in ended.errors[-1]


def test_damaged_signing_key_is_named_and_not_quoted(mesh: Mesh, tmp_path: Path) -> None:
    path = tmp_path / FOLDER / "dataplane-token-1.pem"
    path.parent.mkdir(parents=True)
    path.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    ended = mesh("generate", "dataplane-token", "--data", tmp_path, "--name", "a", "--valid-for", "1h")
    assert ended.code == 2
    assert ended.errors[0].startswith(f"{path}: token signing key 1 is not an unencrypted private key in PEM")
    assert "c2VjcmV0" not in ended.stderr


def test_data_folder_that_is_a_file(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    ended = mesh("generate", "dataplane-token", "--data", file, "--name", "a", "--valid-for", "1h")
    assert (ended.code, ended.errors) == (2, [f"--data: {file} is a file, not a folder (name a folder or a new one)"])
