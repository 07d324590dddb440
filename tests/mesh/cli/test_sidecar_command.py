"""`mesh sidecar`: what it is handed is checked before anything starts, all of it at once."""

import json
import signal
import time
from pathlib import Path
from random import Random

import attrs
import pytest
from command_line import Mesh, write_ca

from mesh.identity.tokens import SigningKey, issue_dataplane_token

KEY = SigningKey.create()
DATAPLANE = {
    "type": "Dataplane",
    "mesh": "shop",
    "name": "cart-1",
    "labels": {"kuma.io/workload": "cart"},
    "networking": {"address": "127.0.0.1"},
}


@attrs.frozen
class Files:
    """A sidecar's files, all right until a test changes one."""

    folder: Path

    @property
    def token(self) -> Path:
        return self.folder / "token"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def dataplane(self) -> Path:
        return self.folder / "dataplane.yaml"

    def arguments(self, *more: object) -> tuple[object, ...]:
        given = ("--dataplane", self.dataplane, "--token-file", self.token, "--ca-cert-file", self.ca)
        return ("sidecar", *given, "--control-plane", "https://127.0.0.1:1", "--data", self.folder / "data", *more)

    def write_token(self, **claims: object) -> str:
        defaults = {"mesh": "shop", "name": "cart-1", "workload": "cart", "lifetime_s": 3600.0, "now": time.time()}
        token = issue_dataplane_token(KEY, random=Random(1), **{**defaults, **claims})  # type: ignore[arg-type]
        self.token.write_text(token + "\n")
        return token


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.dataplane.write_text(json.dumps(DATAPLANE))
    files.write_token()
    write_ca(files.ca)
    return files


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"now": 1_000_000_000.0}, "the token expired on 2001-09-09 02:46 UTC"),
        ({"mesh": "bank"}, "the token is for the mesh 'bank'; the Dataplane's is 'shop'"),
        ({"name": "web-1"}, "the token is for the Dataplane 'web-1'; the Dataplane's is 'cart-1'"),
        ({"workload": "web"}, "the token is for the workload 'web'; the Dataplane's is 'cart'"),
        ({"tags": {"team": ("a", "b")}}, "the token is for the label team: a or b"),
    ],
)
def test_token_for_somebody_else_is_refused_without_quoting_it(
    mesh: Mesh, files: Files, claims: dict[str, object], message: str
) -> None:
    token = files.write_token(**claims)
    ended = mesh(*files.arguments())
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.errors == [f"{files.token}: {message} (make one with mesh generate dataplane-token)"]
    assert not any(part in ended.stderr for part in token.split("."))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not a token (three parts joined by dots)"),
        ("secret.secret", "this is not a token (three parts joined by dots)"),
        ("secret.secret.secret", "the dataplane token is not a JWT; it may be cut or mixed up with another file"),
        (
            "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
            "a claim of the dataplane token is wrong: Object missing required field `jti`",
        ),
    ],
)
def test_what_is_no_token_is_refused_without_quoting_it(mesh: Mesh, files: Files, text: str, message: str) -> None:
    files.token.write_text(text)
    ended = mesh(*files.arguments())
    assert ended.code == 2
    assert ended.errors == [f"{files.token}: {message} (make one with mesh generate dataplane-token)"]
    assert "secret" not in ended.stderr and "eyJ" not in ended.stderr


def test_ca_certificate_is_decoded_and_in_date(mesh: Mesh, files: Files) -> None:
    hint = "(copy ca.pem from the control plane's data folder)"
    write_ca(files.ca, days_old=20)
    assert mesh(*files.arguments()).errors[0].startswith(f"{files.ca}: the CA certificate expired on 20")
    write_ca(files.ca, days_old=-20)
    assert "is not valid before" in mesh(*files.arguments()).errors[0]
    files.ca.write_text("-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n")
    assert mesh(*files.arguments()).errors == [f"{files.ca}: the certificate is damaged {hint}"]
    files.ca.write_text("junk")
    assert mesh(*files.arguments()).errors == [f"{files.ca}: no certificate in PEM {hint}"]
    files.ca.write_bytes(b"\x30\x82\xff")
    ended = mesh(*files.arguments())
    assert ended.errors == [f"{files.ca}: cannot read the control plane's CA certificate: not UTF-8 text {hint}"]
    assert ended.code == 2


def test_one_certificate_in_date_is_enough(tmp_path: Path, mesh: Mesh, files: Files) -> None:
    old, new = write_ca(tmp_path / "old.pem", days_old=20).read_text(), files.ca.read_text()
    files.ca.write_text(old + new)
    ended = mesh(*files.arguments("--admin", "here:1"))
    assert ended.errors == ["--admin: 'here' is not an IP address (write IP:PORT, as 127.0.0.1:5678)"]


def test_everything_wrong_is_said_at_once(mesh: Mesh, files: Files) -> None:
    files.token.unlink()
    files.ca.unlink()
    files.dataplane.write_text("{type: Mesh, name: default}")
    file = files.folder / "file"
    file.touch()
    options = ("--control-plane", "http://a:1", "--admin", "10.0.0.1:9901", "--drain-time", "soon", "--data", file)
    options = (*options, "--drain-settle", "later")
    ended = mesh(*files.arguments(*options, "--access-log", files.folder / "no" / "log"))
    assert ended.code == 2
    assert [error.split(": ")[0] for error in ended.errors] == [
        "--control-plane",
        f"{files.dataplane}:1:1",
        str(files.ca),
        str(files.token),
        "--drain-time",
        "--drain-settle",
        "--admin",
        "--data",
        "--access-log",
    ]
    assert "10.0.0.1:9901 is not on loopback (write 127.0.0.1:9901: the admin page has no login)" in ended.stderr
    assert f"{file} is a file, not a folder" in ended.stderr


def test_interrupt_during_the_start_is_no_error(mesh: Mesh, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("mesh.cli.sidecar.Sidecar", interrupted)
    ended = mesh(*files.arguments("--access-log", "off"))
    assert (ended.code, ended.stdout, ended.stderr.strip()) == (130, "", "")


def test_ca_certificate_is_looked_for_beside_the_token(mesh: Mesh, files: Files) -> None:
    files.ca.unlink()
    arguments = [argument for argument in files.arguments() if argument not in ("--ca-cert-file", files.ca)]
    ended = mesh(*arguments)
    assert ended.code == 2
    assert ended.errors[0].startswith(f"{files.ca}: cannot read the control plane's CA certificate")


def test_inbound_at_which_its_application_listens_too_is_refused(mesh: Mesh, files: Files) -> None:
    networking = {"address": "127.0.0.1", "inbound": [{"port": 8080}]}
    files.dataplane.write_text(json.dumps({**DATAPLANE, "networking": networking}))
    ended = mesh(*files.arguments())
    assert ended.code == 2
    (error,) = ended.errors
    assert error.startswith(f"{files.dataplane}:1:") and "would both listen on 127.0.0.1:8080" in error
    assert "set servicePort, or serviceAddress: 127.0.0.1" in error
