"""`mesh audit`: who changed what, and when."""

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.connecting import connect, context_option, form_option
from mesh.cli.output import say
from mesh.cli.tables import Cell, Column, Columns, print_result, table

SIZE = 50
COLORS = {
    "create": "green",
    "created": "green",
    "update": "yellow",
    "updated": "yellow",
    "delete": "red",
    "deleted": "red",
}


@click.command("audit")
@click.option("--size", type=click.IntRange(1, 1000), default=SIZE, show_default=True, help="At most so many.")
@click.option("--before", type=click.IntRange(1), default=None, help="Older than this number.")
@form_option
@context_option
def command(size: int, before: int | None, form: str, context: str | None) -> int:
    """Show who changed what, and when: the newest first.

    \b
    Examples:
      mesh audit
      mesh audit --size 200 --before 1412 -o json
    """
    query = {"size": str(size), **({"before": str(before)} if before else {})}
    answer = connect(context).get("/audit", query)
    entries: list[dict[str, Any]] = answer["items"]
    print_result(form, answer, lambda: _render(entries))
    if answer.get("next"):
        say(f"there are more: add --before {answer['next']}")
    return 0


def _render(entries: list[dict[str, Any]]) -> str:
    columns: Columns = [
        Column("NR", right=True),
        "WHEN (UTC)",
        Column("WHO", cut=True),
        "ACTION",
        "KIND",
        "MESH",
        Column("NAME", cut=True),
    ]
    return table(columns, [_row(entry) for entry in entries])


def _row(entry: Mapping[str, Any]) -> list[str | Cell]:
    action = str(entry.get("action") or "")
    return [
        str(entry.get("sequence") or ""),
        _date(entry.get("at")),
        _who(entry.get("by")),
        Cell(action, COLORS[action]) if action in COLORS else action,
        *(str(entry.get(part) or "") for part in ("type", "mesh", "name")),
    ]


def _who(by: Any) -> str:
    """Return the user of `user=jo groups=... from=...`; all of it stands in the data."""
    first = str(by or "").partition(" ")[0]
    return first.removeprefix("user=")


def _date(instant: Any) -> str:
    """Write an RFC 3339 date of the API, which is in UTC, to the second."""
    return str(instant or "").replace("T", " ")[:19]
