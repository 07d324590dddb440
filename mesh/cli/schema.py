"""`mesh schema`: the JSON Schema of a kind of resource, from the definition that checks it."""

import click

from mesh.cli.connecting import FORMS
from mesh.cli.kinds import KindWord, read_kind
from mesh.cli.tables import Column, Columns, print_result, table
from mesh.resources.registry import KINDS, kind_json_schema


@click.command("schema")
@click.argument("kind_word", metavar="[KIND]", type=KindWord(), required=False)
@click.option("--output", "-o", "form", type=click.Choice(FORMS[1:]), default="json", help="How it is printed.")
def command(kind_word: str | None, form: str) -> int:
    """Print the JSON Schema of a KIND, or of a Scenario, for editors. Without a KIND: list them.

    \b
    Examples:
      mesh schema
      mesh schema MeshTimeout > MeshTimeout.schema.json
      mesh schema Scenario > Scenario.schema.json
    """
    if kind_word is None:
        click.echo(_render_kinds())
        return 0
    if kind_word.lower() == "scenario":
        from sim.scenario.json_schema import json_schema

        print_result(form, json_schema(), str)
        return 0
    kind = read_kind(kind_word)
    print_result(form, kind_json_schema(kind), str)
    return 0


def _render_kinds() -> str:
    columns: Columns = ["KIND", "IN URLS", "SHORT", "SCOPE", Column("WRITTEN BY", cut=True)]
    rows = []
    for kind in KINDS:
        scope = "mesh" if kind.mesh_scoped else "global"
        rows.append([kind.name, kind.path, kind.short, scope, "the control plane" if kind.generated else "operators"])
    return table(columns, rows)
