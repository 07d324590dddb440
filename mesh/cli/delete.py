"""`mesh delete`: resources by name, or all those of files."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import attrs
import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import connect, context_option, file_option, form_option, mesh_option
from mesh.cli.failures import CommandFailed
from mesh.cli.get import nothing_there
from mesh.cli.inputs import Inputs
from mesh.cli.kinds import KindWord, path_of_kind, read_kind
from mesh.cli.output import warn
from mesh.cli.resource_files import ResourceFiles, read_resource_files
from mesh.cli.tables import Cell, print_result, table
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import Kind


@attrs.frozen(kw_only=True)
class Doomed:
    """One resource to delete."""

    kind: Kind
    mesh: str
    name: str


@click.command("delete")
@click.argument("kind_word", metavar="[KIND", type=KindWord(), required=False)
@click.argument("name", metavar="NAME]", required=False)
@file_option(required=False)
@mesh_option
@click.option("--ignore-not-found", is_flag=True, help="What is not there counts as deleted.")
@form_option
@context_option
def command(
    kind_word: str | None,
    name: str | None,
    paths: tuple[Path, ...],
    variables: tuple[str, ...],
    mesh: str,
    ignore_not_found: bool,
    form: str,
    context: str | None,
) -> int:
    """Delete the resource NAME of a KIND, or all that stand in files: meshes last.

    \b
    Examples:
      mesh delete meshtimeout orders-answer-soon -m shop
      mesh delete -f policies/ --ignore-not-found
    """
    if bool(kind_word and name) is bool(paths) or (kind_word and not name):
        raise click.UsageError("give KIND and NAME, or files with -f.")
    inputs = Inputs()
    client = inputs.read(connect, context)
    if paths:
        files = inputs.read(read_resource_files, paths, variables)
        inputs.check()
        doomed = _in_files(files.value)
    else:
        kind = inputs.read(read_kind, kind_word or "")
        inputs.check()
        doomed = [Doomed(kind=kind.value, mesh=mesh if kind.value.mesh_scoped else "", name=name or "")]
    return _delete_all(client.value, doomed, form, ignore_not_found=ignore_not_found)


def _in_files(files: ResourceFiles) -> list[Doomed]:
    """Return the resources of files, the last one first, and each mesh after what is in it."""
    doomed = [
        Doomed(kind=KIND_BY_NAME[resource.kind], mesh=resource.mesh, name=resource.name)
        for resource in reversed(files.resources)
    ]
    return sorted(doomed, key=lambda one: one.kind.name == "Mesh")


def _delete_all(client: ApiClient, doomed: Sequence[Doomed], form: str, *, ignore_not_found: bool) -> int:
    results = []
    missing = []
    for one in doomed:
        found = _delete(client, one)
        if not found:
            missing.append(nothing_there(one.kind, one.mesh, one.name))
        results.append(
            {"type": one.kind.name, "mesh": one.mesh, "name": one.name, "action": "deleted" if found else "not there"}
        )
    rows = [[_action(result["action"]), result["type"], result["mesh"], result["name"]] for result in results]
    if len(doomed) == 1 and missing and not ignore_not_found:
        raise CommandFailed(missing[0])
    print_result(form, {"results": results}, lambda: table(["ACTION", "KIND", "MESH", "NAME"], rows))
    if missing and not ignore_not_found:
        for text in missing:
            warn(text)
        return 1
    return 0


def _action(text: str) -> Cell | str:
    return Cell(text, "red") if text == "deleted" else text


def _delete(client: ApiClient, one: Doomed) -> bool:
    try:
        client.delete(path_of_kind(one.kind, one.mesh, one.name))
    except RequestRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True
