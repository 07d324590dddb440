"""`mesh get`: resources as a table, or as they are."""

from collections.abc import Iterable, Iterator
from typing import Any

import click

from mesh.cli.api_client import ApiClient, next_offset
from mesh.cli.connecting import connect, context_option, form_option, mesh_option
from mesh.cli.failures import CommandFailed
from mesh.cli.inputs import Inputs
from mesh.cli.kinds import KindWord, path_of_kind, read_kind
from mesh.cli.output import say
from mesh.cli.resource_tables import resource_table
from mesh.cli.tables import print_result, table, to_yaml_stream
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import suggest
from mesh.resources.registry import KINDS
from mesh.resources.resource import Kind

SECRET_KINDS = ("Secret", "GlobalSecret")


@click.command("get")
@click.argument("kind_word", metavar="KIND", type=KindWord())
@click.argument("name", required=False)
@mesh_option
@click.option("--all-meshes", "-A", is_flag=True, help="Of every mesh.")
@click.option("--size", type=click.IntRange(1, 1000), default=None, help="At most so many; otherwise all.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Where to begin in the list.")
@form_option
@context_option
def command(
    kind_word: str,
    name: str | None,
    mesh: str,
    all_meshes: bool,
    size: int | None,
    offset: int,
    form: str,
    context: str | None,
) -> int:
    """Show resources of one KIND, or the one called NAME. `mesh get all` lists those of every kind.

    A KIND may be written as meshtimeouts, meshtimeout, MeshTimeout or mt. What -o yaml prints can be applied again.

    \b
    Examples:
      mesh get meshes
      mesh get meshtimeouts -m shop
      mesh get meshtimeout orders-answer-soon -m shop -o yaml
      mesh get dataplanes --all-meshes -o json
      mesh get all -m shop
    """
    inputs = Inputs()
    kind = inputs.read(_read_kind, kind_word)
    client = inputs.read(connect, context)
    if all_meshes and name:
        inputs.refuse([Violation(path="--all-meshes", message="one resource has one mesh", hint="name it with -m")])
    inputs.check()
    if kind.value is None:
        meshes = meshes_of(client.value) if all_meshes else [mesh]
        return _print_all_kinds(client.value, meshes, form)
    if name:
        return _print_one(client.value, kind.value, mesh, name, form)
    scopes = meshes_of(client.value) if all_meshes and kind.value.mesh_scoped else [mesh]
    items, following = _list(client.value, kind.value, scopes, size, offset)
    print_resources(form, kind.value, items, following)
    if following is not None:
        say(f"there are more: add --offset {following}")
    return 0


def meshes_of(client: ApiClient) -> list[str]:
    """Return the names of all meshes. Raises: CommandFailed."""
    return [str(item["name"]) for item in client.items("/meshes")]


def check_meshes(client: ApiClient, names: Iterable[str]) -> None:
    """Nothing found in a mesh may be a mistake in its name. Raises: CommandFailed when there is no mesh of such a name."""
    known = meshes_of(client)
    for name in names:
        if name not in known:
            hint = f"{suggest(name, known)} there are: {', '.join(known)}".strip()
            raise CommandFailed(f"there is no mesh {name!r}", hint=hint)


def print_resources(form: str, kind: Kind, items: list[dict[str, Any]], following: str | None = None) -> None:
    """Print a list: YAML as a stream of documents, JSON as one page of the API."""
    if form == "yaml":
        click.echo(to_yaml_stream(items), nl=False)
        return
    page = {"total": len(items), "items": items, "next": following}
    print_result(form, page, lambda: resource_table(kind, items))


def _read_kind(word: str) -> Kind | None:
    return None if word == "all" else read_kind(word)


def _list(
    client: ApiClient, kind: Kind, meshes: list[str], size: int | None, offset: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page where a size is given, or everything; and where the next page begins."""
    if size is None and not offset:
        return [item for mesh in meshes for item in client.items(path_of_kind(kind, mesh))], None
    if len(meshes) > 1:
        hint = "leave out --all-meshes, or --size and --offset"
        raise ConfigError([Violation(path="--all-meshes", message="pages are of one mesh", hint=hint)])
    query = {"offset": str(offset), **({"size": str(size)} if size else {})}
    page = client.page(path_of_kind(kind, meshes[0]), query)
    return page["items"], next_offset(page)


def _print_one(client: ApiClient, kind: Kind, mesh: str, name: str, form: str) -> int:
    resource = client.find(path_of_kind(kind, mesh, name))
    if resource is None:
        raise CommandFailed(nothing_there(kind, mesh, name), hint=f"list them: mesh get {kind.path}")
    print_result(form, resource, lambda: resource_table(kind, [resource]))
    return 0


def nothing_there(kind: Kind, mesh: str, name: str) -> str:
    """Say that a resource does not exist."""
    where = f" in mesh {mesh!r}" if kind.mesh_scoped else ""
    return f"there is no {kind.name} named {name!r}{where}"


def _print_all_kinds(client: ApiClient, meshes: list[str], form: str) -> int:
    items = list(_everything(client, meshes))
    if form == "yaml":
        click.echo(to_yaml_stream(items), nl=False)
        return 0
    rows = [[str(item["type"]), str(item.get("mesh") or ""), str(item["name"])] for item in items]
    print_result(
        form, {"total": len(items), "items": items, "next": None}, lambda: table(["KIND", "MESH", "NAME"], rows)
    )
    return 0


def _everything(client: ApiClient, meshes: list[str]) -> Iterator[dict[str, Any]]:
    """Return the resources of every kind but insights, and secrets: administrators see them when they ask for them."""
    for kind in KINDS:
        if kind.name in SECRET_KINDS or kind.name.endswith("Insight"):
            continue
        for mesh in meshes if kind.mesh_scoped else meshes[:1]:
            for item in client.find_items(path_of_kind(kind, mesh)):
                if kind.name != "Mesh" or item.get("name") in meshes:
                    yield item
