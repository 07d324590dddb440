"""`mesh sidecar --name`: a Dataplane that was applied instead of a file, and several control planes."""

import time
from pathlib import Path
from random import Random

import pytest
from command_line import Mesh, write_ca

from mesh.identity.tokens import SigningKey, issue_dataplane_token

KEY = SigningKey.create()


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[object, ...]:
    token = issue_dataplane_token(KEY, mesh="shop", name="cart-1", lifetime_s=3600.0, now=time.time(), random=Random(1))
    (tmp_path / "token").write_text(token)
    write_ca(tmp_path / "ca.pem")
    return ("sidecar", "--token-file", tmp_path / "token", "--control-plane", "https://127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((), "--dataplane: is missing (name a file with a Dataplane, or with --name one that was applied)"),
        (
            ("--dataplane", "x.yaml", "--name", "cart-1"),
            "--dataplane: stands beside --name or --mesh (name the file, or the Dataplane that was applied)",
        ),
        (("--name", "Cart", "--mesh", "shop"), "--name: 'Cart' is not a name of lower case letters, digits"),
        (("--name", "cart-1", "--mesh", "a b"), "--mesh: 'a b' is not a name of lower case letters, digits"),
        (("--name", "web-1", "--mesh", "shop"), "the token is for the Dataplane 'cart-1'; the sidecar's is 'web-1'"),
        (("--name", "cart-1"), "the token is for the mesh 'shop'; the sidecar's is 'default'"),
        (
            ("--name", "cart-1", "--mesh", "shop", "--control-plane", "http://127.0.0.1:2"),
            "--control-plane: 'http://127.0.0.1:2' is not the URL of a control plane",
        ),
    ],
)
def test_who_the_sidecar_is_has_to_be_clear(
    mesh: Mesh, arguments: tuple[object, ...], options: tuple[str, ...], error: str
) -> None:
    ended = mesh(*arguments, *options)
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.errors) == 1 and error in ended.errors[0]
