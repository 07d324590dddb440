"""`mesh generate`: tokens and signing keys.

Tokens come from the control plane that commands talk to, or are signed here: with a key that never left this machine
(`--signing-key-path`), or with the one in a control plane's data folder (`--data`).
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.signing_key import read_key_file
from mesh.cli.tables import to_yaml
from mesh.cli.token_signing import Signing, read_key, read_lifetime, signing_options
from mesh.identity.token_authority import TokenKind, signing_key_secret
from mesh.identity.tokens import (
    SigningKey,
    issue_dataplane_token,
    issue_user_token,
    issue_zone_token,
)
from mesh.model.errors import ConfigError, Violation
from mesh.resources.resource import DEFAULT_MESH, DNS_LABEL, NAME
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness


@click.group("generate")
def command() -> None:
    """Make tokens and signing keys.

    \b
    Examples:
      mesh generate dataplane-token --name web-1 --workload web --valid-for 24h > web.token
      mesh generate user-token --name jo --group mesh-system:operator --valid-for 720h > jo.token
    """


@command.command("dataplane-token")
@click.option("--mesh", "-m", default=DEFAULT_MESH, show_default=True, help="The mesh that the token is for.")
@click.option("--name", default=None, help="Binds the token to one Dataplane.")
@click.option("--workload", default=None, help="Binds the token to Dataplanes with this kuma.io/workload label.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Binds it to Dataplanes with this label. Repeatable."
)
@click.option("--proxy-type", type=click.Choice(["dataplane"]), default="dataplane", help="As in kumactl.")
@signing_options
def dataplane_token(
    mesh: str,
    name: str | None,
    workload: str | None,
    tags: tuple[str, ...],
    proxy_type: str,
    valid_for: str,
    **signing_from: Any,
) -> int:
    """Print a token with which a sidecar may join.

    --name, --workload and --tag bind it more tightly; give at least one.

    \b
    Examples:
      mesh generate dataplane-token --mesh shop --name web-1 --workload web --valid-for 24h > web.token
      mesh generate dataplane-token --data cp --workload web --valid-for 24h
      mesh generate dataplane-token --signing-key-path key.pem --kid 7 --name web-1 --valid-for 24h
    """
    signing = Signing(**signing_from)
    inputs = Inputs()
    lifetime_s = inputs.read(read_lifetime, valid_for)
    inputs.read(read_name, mesh, DNS_LABEL, option="--mesh")
    # Empty is not absent: an unset variable of a script must not make a token that binds less.
    if name is not None:
        inputs.read(read_name, name, NAME, option="--name")
    if workload is not None:
        inputs.read(read_name, workload, DNS_LABEL, option="--workload")
    values_by_tag = inputs.read(_read_tags, tags)
    if name is None and workload is None and not tags:
        hint = "with none, every sidecar of the mesh could use the token"
        inputs.refuse([Violation(path="--name, --workload, --tag", message="give at least one of them", hint=hint)])
    key = read_key(inputs, signing, TokenKind.DATAPLANE, mesh)
    inputs.check()
    if key is None:
        body = {"mesh": mesh, "name": name or "", "workload": workload or "", "tags": values_by_tag.value}
        body |= {"type": proxy_type, "validFor": valid_for}
        options = {field: f"--{field}" for field in ("mesh", "name", "workload")}
        click.echo(signing.ask("/tokens/dataplane", body, {**options, "tags": "--tag", "validFor": "--valid-for"}))
        return 0
    token = issue_dataplane_token(
        key,
        mesh=mesh,
        name=name or "",
        workload=workload or "",
        tags={tag: tuple(values) for tag, values in values_by_tag.value.items()},
        lifetime_s=lifetime_s.value,
        now=wall_clock(),
        random=SystemRandomness().stream("token-id"),
    )
    click.echo(token)
    return 0


@command.command("user-token")
@click.option("--name", required=True, help="Who it is; stands in the audit log.")
@click.option(
    "--group", "groups", multiple=True, help="mesh-system:admin, mesh-system:operator, or your own. Repeatable."
)
@signing_options
def user_token(name: str, groups: tuple[str, ...], valid_for: str, **signing_from: Any) -> int:
    """Print a token with which somebody may use the control plane's API.

    Members of mesh-system:admin may do everything, those of mesh-system:operator all but secrets and deleting meshes,
    everybody else may look.

    \b
    Example:
      mesh generate user-token --name jo --group mesh-system:operator --valid-for 720h > jo.token
    """
    signing = Signing(**signing_from)
    inputs = Inputs()
    lifetime_s = inputs.read(read_lifetime, valid_for)
    for option, value in (("--name", name), *(("--group", group) for group in groups)):
        if not value.strip() or not value.isprintable():
            inputs.refuse([Violation(path=option, message=f"{value!r} is not printable text")])
    key = read_key(inputs, signing, TokenKind.USER)
    inputs.check()
    if key is None:
        body = {"name": name, "groups": list(groups), "validFor": valid_for}
        click.echo(
            signing.ask("/tokens/user", body, {"name": "--name", "groups": "--group", "validFor": "--valid-for"})
        )
        return 0
    random = SystemRandomness().stream("token-id")
    click.echo(
        issue_user_token(key, name=name, groups=groups, lifetime_s=lifetime_s.value, now=wall_clock(), random=random)
    )
    return 0


@command.command("zone-token")
@click.option("--zone", required=True, help="The zone that it is for.")
@click.option("--scope", "scopes", multiple=True, help="What it may be used for. Repeatable.")
@signing_options
def zone_token(zone: str, scopes: tuple[str, ...], valid_for: str, **signing_from: Any) -> int:
    """Print a token for a zone.

    \b
    Example:
      mesh generate zone-token --zone east --valid-for 720h
    """
    signing = Signing(**signing_from)
    inputs = Inputs()
    lifetime_s = inputs.read(read_lifetime, valid_for)
    inputs.read(read_name, zone, DNS_LABEL, option="--zone")
    key = read_key(inputs, signing, TokenKind.ZONE)
    inputs.check()
    if key is None:
        body = {"zone": zone, "scope": list(scopes), "validFor": valid_for}
        click.echo(signing.ask("/tokens/zone", body, {"zone": "--zone", "scope": "--scope", "validFor": "--valid-for"}))
        return 0
    random = SystemRandomness().stream("token-id")
    click.echo(
        issue_zone_token(key, zone=zone, scope=scopes, lifetime_s=lifetime_s.value, now=wall_clock(), random=random)
    )
    return 0


@command.command("signing-key")
@click.option(
    "--format",
    "form",
    type=click.Choice(["pem", "base64", "secret"]),
    default="pem",
    show_default=True,
    help="base64: for a secret's data. secret: the whole resource, to apply.",
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice([kind.value for kind in TokenKind]),
    default=TokenKind.DATAPLANE.value,
    show_default=True,
    help="With --format secret: what the key signs.",
)
@click.option("--mesh", "-m", default=DEFAULT_MESH, show_default=True, help="With --for dataplane-token: whose.")
@click.option(
    "--serial", type=click.IntRange(1, 999_999_999), default=None, help="With --format secret: above the last."
)
def signing_key(form: str, purpose: str, mesh: str, serial: int | None) -> int:
    """Print a new private key that signs tokens. Keep it secret.

    To rotate: apply a key with the next serial, hand out new tokens, then delete the old key.

    \b
    Examples:
      mesh generate signing-key > key.pem
      mesh generate signing-key --format secret --for dataplane-token -m shop --serial 2 | mesh apply -f -
      mesh delete secret dataplane-token-signing-key-shop-1 -m shop
    """
    inputs = Inputs()
    inputs.read(read_name, mesh, DNS_LABEL, option="--mesh")
    if form == "secret" and serial is None:
        hint = "the newest key is the one with the highest: see mesh get secrets, mesh get global-secrets"
        inputs.refuse([Violation(path="--serial", message="is missing", hint=hint)])
    inputs.check()
    pem = SigningKey.create(serial or 1).encode()
    data = base64.b64encode(pem.encode()).decode()
    if form == "secret":
        kind = TokenKind(purpose)
        key = signing_key_secret(kind, serial or 1, mesh=mesh if kind is TokenKind.DATAPLANE else "")
        named = {name: part for name, part in zip(("type", "mesh", "name"), key, strict=True) if part}
        click.echo(to_yaml({**named, "data": data}), nl=False)
    else:
        click.echo(data if form == "base64" else pem.rstrip("\n"))
    return 0


@command.command("public-key")
@click.option(
    "--signing-key-path", "key_path", type=click.Path(path_type=Path), required=True, help="The private key's file."
)
def public_key(key_path: Path) -> int:
    """Print the public half of a signing key, with which tokens signed elsewhere are checked.

    \b
    Example:
      mesh generate public-key --signing-key-path key.pem > key.pub
    """
    from cryptography.hazmat.primitives import serialization

    key = read_key_file(key_path, "1").public_key
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    click.echo(pem.decode().rstrip("\n"))
    return 0


def _read_tags(tags: Sequence[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not (key and equals and value):
            raise ConfigError([Violation(path="--tag", message=f"{tag!r} is not a label", hint="write KEY=VALUE")])
        values.setdefault(key, []).append(value)
    return values
