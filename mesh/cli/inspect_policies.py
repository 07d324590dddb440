"""`mesh inspect policies` and `mesh inspect POLICY NAME`: which proxies a policy matches."""

from collections.abc import Callable
from typing import Any

import click

from mesh.cli.api_client import ApiClient, path_of
from mesh.cli.connecting import connect, context_option, form_option, mesh_option
from mesh.cli.failures import CommandFailed
from mesh.cli.get import check_meshes, nothing_there
from mesh.cli.kinds import path_of_kind
from mesh.cli.resource_tables import labels_text, target_text
from mesh.cli.tables import Cell, Column, Columns, print_result, table
from mesh.resources.registry import KINDS
from mesh.resources.resource import EFFECT, Kind

MATCHED = ("_resources", "dataplanes")


@click.command("policies")
@mesh_option
@form_option
@context_option
def policies(mesh: str, form: str, context: str | None) -> int:
    """List the policies of a mesh, each with the number of proxies it matches: one that matches none is a mistake.

    \b
    Example:
      mesh inspect policies -m shop
    """
    client = connect(context)
    items = [item for kind in KINDS if kind.policy for item in _of_kind(client, kind, mesh)]
    if not items:
        check_meshes(client, [mesh])
    columns: Columns = ["KIND", "NAME", Column("TARGET", cut=True), "EFFECT", Column("PROXIES", right=True)]
    print_result(
        form, {"total": len(items), "items": items, "next": None}, lambda: table(columns, [_row(i) for i in items])
    )
    return 0


def _of_kind(client: ApiClient, kind: Kind, mesh: str) -> list[dict[str, Any]]:
    path = path_of_kind(kind, mesh)
    return [
        {
            "type": kind.name,
            "mesh": mesh,
            "name": item["name"],
            "targetRef": (item.get("spec") or {}).get("targetRef"),
            "effect": (item.get("labels") or {}).get(EFFECT, ""),
            "dataplanes": len(client.find_items(f"{path}{path_of(item['name'], *MATCHED)}")),
        }
        for item in client.find_items(path)
    ]


def _row(item: dict[str, Any]) -> list[str | Cell]:
    matched = str(item["dataplanes"])
    return [
        item["type"],
        item["name"],
        target_text(item["targetRef"]),
        item["effect"],
        matched if item["dataplanes"] else Cell(matched, "yellow"),
    ]


def matched_by(kind: Kind) -> click.Command:
    """Return the command that shows which proxies a policy of this kind matches."""
    word = kind.name.lower()
    help_text = f"Show which proxies a {kind.name} matches.\n\n\b\nExample:\n  mesh inspect {word} NAME -m shop"
    command: Callable[..., int] = _show_matched(kind)
    return click.command(word, help=help_text)(
        click.argument("name")(mesh_option(form_option(context_option(command))))
    )


def _show_matched(kind: Kind) -> Callable[..., int]:
    def show(name: str, mesh: str, form: str, context: str | None) -> int:
        client = connect(context)
        path = path_of_kind(kind, mesh, name)
        if client.find(path) is None:
            raise CommandFailed(nothing_there(kind, mesh, name), hint=f"list them: mesh get {kind.path} -m {mesh}")
        items = list(client.items(f"{path}{path_of(*MATCHED)}"))
        rows = [[str(item.get("mesh")), str(item.get("name")), labels_text(item.get("labels"))] for item in items]
        page = {"total": len(items), "items": items, "next": None}
        print_result(form, page, lambda: table(["MESH", "DATAPLANE", Column("LABELS", cut=True)], rows))
        return 0

    return show
