"""`mesh export`: everything that operators wrote, as files that can be applied elsewhere, or kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import connect, context_option
from mesh.cli.get import SECRET_KINDS, check_meshes, meshes_of
from mesh.cli.kinds import path_of_kind
from mesh.cli.output import say, warn
from mesh.cli.tables import count, print_result, to_yaml_stream
from mesh.resources.registry import KINDS
from mesh.resources.resource import SERVER_FIELDS, Kind

REDACTED = "[redacted]"  # What only administrators may see.
MANAGED_BY = "kuma.io/managed-by"  # What the control plane generated, it will generate again.
# What belongs to one zone: a global control plane has no use for it.
ZONAL = ("Dataplane", "MeshService", "MeshZoneAddress", "Zone")


@click.command("export")
@click.option(
    "--profile",
    type=click.Choice(["all", "federation", "no-dataplanes"]),
    default="no-dataplanes",
    show_default=True,
    help="all: also Dataplanes and, for administrators, secrets. federation: what a global control plane takes.",
)
@click.option("--mesh", "-m", "meshes", multiple=True, help="Only this mesh, without what belongs to none. Repeatable.")
@click.option(
    "--output",
    "-o",
    "form",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    help="yaml can be applied again; json is one list, for programs.",
)
@context_option
def command(profile: str, meshes: tuple[str, ...], form: str, context: str | None) -> int:
    """Print all resources, so that they can be applied elsewhere, or kept.

    Applied to the same control plane, the result changes nothing. Dates and status are left out, and so is what the
    control plane generates by itself.

    \b
    Examples:
      mesh export > backup.yaml
      mesh export --profile all > everything-with-secrets.yaml
      mesh export -m shop | mesh apply -f - --context staging
    """
    client = connect(context)
    if meshes:
        check_meshes(client, meshes)
    kinds = [kind for kind in KINDS if _belongs(kind, profile)]
    resources = list(_resources(client, kinds, meshes or tuple(meshes_of(client)), whole=not meshes))
    if profile == "all":
        resources = _without_authorities(resources)
    if form == "yaml":
        click.echo(to_yaml_stream(resources), nl=False)
    else:
        print_result(form, {"total": len(resources), "items": resources, "next": None}, str)
    say(count(len(resources), "resource"))
    return 0


def _belongs(kind: Kind, profile: str) -> bool:
    if kind.generated:
        return False
    if profile == "all":
        return True
    if kind.name in SECRET_KINDS or kind.name == "Dataplane":
        return False
    return profile != "federation" or kind.name not in ZONAL


def _resources(
    client: ApiClient, kinds: Sequence[Kind], meshes: Sequence[str], *, whole: bool
) -> Iterator[dict[str, Any]]:
    """Go through meshes first, since all else stands in one, then kind by kind."""
    for kind in sorted(kinds, key=lambda kind: (kind.name != "Mesh", kind.mesh_scoped)):
        if not (kind.mesh_scoped or whole or kind.name == "Mesh"):
            continue
        for mesh in meshes if kind.mesh_scoped else ("",):
            for item in _list(client, kind, mesh):
                if kind.name == "Mesh" and item.get("name") not in meshes:
                    continue
                if not _is_generated(client, kind, item):
                    _warn_of_redaction(item)
                    yield _without_server_fields(item)


def _list(client: ApiClient, kind: Kind, mesh: str) -> list[dict[str, Any]]:
    try:
        return client.find_items(path_of_kind(kind, mesh))
    except RequestRefused as error:
        if kind.name not in SECRET_KINDS or error.status != HTTPStatus.FORBIDDEN:
            raise
        warn(f"without {kind.name}s: only administrators may read them")
        return []


def _without_authorities(resources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what no other control plane takes: one such secret, and all the rest would be refused with it."""
    # Not at the top: it takes as long to import as the rest of the command.
    from mesh.control.initial_resources import CONTROL_PLANE_CA, MESH_CA

    def is_authority(kind: str, name: str) -> bool:
        return (kind == "Secret" and name.startswith(MESH_CA)) or (kind == "GlobalSecret" and name == CONTROL_PLANE_CA)

    kept = [one for one in resources if not is_authority(one["type"], one["name"])]
    if len(kept) < len(resources):
        warn("without certificate authorities: each control plane has its own; to keep them, copy its --data folder")
    return kept


def _is_generated(client: ApiClient, kind: Kind, item: Mapping[str, Any]) -> bool:
    """Was it not an operator who wrote this? A Dataplane that a sidecar brought along is in no store: it has no version."""
    if MANAGED_BY in (item.get("labels") or {}):
        return True
    return kind.name == "Dataplane" and not client.version(path_of_kind(kind, item["mesh"], item["name"]))


def _warn_of_redaction(item: Mapping[str, Any]) -> None:
    if REDACTED in json.dumps(item):
        warn(f"{item.get('type')} {item.get('name')} holds {REDACTED}: applying it would lose what stands there")


def _without_server_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in SERVER_FIELDS}
