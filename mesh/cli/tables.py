"""How results look: tables that fit 100 columns, YAML that can be applied again, JSON.

On a terminal a table takes its width, and colours say what is well; elsewhere it is plain text of at most 100 columns.
Only columns that may be cut are cut, with an ellipsis: never the names by which a line is found again.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import click
import yaml

from mesh.resources.yaml_scalars import ScalarTrap, resolve_plain

WIDTH = 100
WIDTH_MIN = 60
_FLEXIBLE_MIN = 8
_GAP = "  "


@attrs.frozen
class Cell:
    """Text in a colour that says how it stands: green, yellow or red."""

    text: str
    color: str


@attrs.frozen
class Column:
    """One column: a number's digits stand to the right; `cut` may lose its end where the line is too long, `first` before
    any other does.
    """

    title: str
    right: bool = attrs.field(default=False, kw_only=True)
    cut: bool = attrs.field(default=False, kw_only=True)
    first: bool = attrs.field(default=False, kw_only=True)


Row: TypeAlias = Sequence[str | Cell]
Columns: TypeAlias = Sequence[Column | str]


def table(columns: Columns, rows: Sequence[Row]) -> str:
    """Lay out rows under their titles. Columns that are empty everywhere are left out."""
    named = [column if isinstance(column, Column) else Column(column) for column in columns]
    shown = [i for i in range(len(named)) if not rows or any(_text(row[i]) for row in rows)]
    kept = [named[i] for i in shown]
    lines: list[Row] = [[column.title for column in kept], *([row[i] for i in shown] for row in rows)]
    widths = _fit(kept, [max(len(_text(line[i])) for line in lines) for i in range(len(kept))])
    colored = colors_allowed()
    return "\n".join(_line(kept, widths, line, colored=colored) for line in lines)


def print_result(form: str, value: Any, render: Callable[[], str]) -> None:
    """Print a result on standard output: `render()` for a table, else `value` as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif form == "yaml":
        click.echo(to_yaml(value), nl=False)
    else:
        click.echo(render())


def to_yaml(value: Any) -> str:
    """Write JSON values as YAML: keys in their order, text that could be taken for something else in quotes."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=2**31 - 1
    )


def to_yaml_stream(values: Sequence[Any]) -> str:
    """Write several documents, as `mesh apply` reads them."""
    return "---\n".join(to_yaml(value) for value in values)


def colors_allowed() -> bool:
    """May standard output be coloured? Source: no-color.org."""
    return not os.environ.get("NO_COLOR") and (sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR")))


def width() -> int:
    """Return how many columns a line may take."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH_MIN)


def age(seconds: float) -> str:
    """Write a span as operators read ages: `42s`, `5m`, `3h`, `12d`."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 proxy`, `2 proxies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("xy") or noun.endswith("cy") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


class _Dumper(yaml.CSafeDumper):  # In C: an export of a large mesh would take half a minute otherwise.
    """Writes text of several lines as such, so that certificates stay readable, and repeats what occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style: str | None
    if "\n" in text:
        style = "|" if not any(line != line.rstrip() for line in text.split("\n")) else '"'
    else:
        style = None if _is_plain(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_plain(text: str) -> bool:
    """Would our own reader take it for text? It and PyYAML differ on what is a number."""
    try:
        return resolve_plain(text) == text
    except ScalarTrap:
        return False


_Dumper.add_representer(str, _represent_text)


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _fit(columns: Sequence[Column], widths: list[int]) -> list[int]:
    """Take what is too much from the widest columns that may be cut."""
    surplus = sum(widths) + len(_GAP) * (len(widths) - 1) - width()
    while surplus > 0:
        cuttable = [i for i, column in enumerate(columns) if column.cut and widths[i] > _FLEXIBLE_MIN]
        if not cuttable:
            break
        widest = max(cuttable, key=lambda i: (columns[i].first, widths[i]))
        widths[widest] -= 1
        surplus -= 1
    return widths


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Row, *, colored: bool) -> str:
    parts = []
    for column, size, cell in zip(columns, widths, cells, strict=True):
        text = _text(cell)
        text = f"{text[: size - 1]}…" if len(text) > size else text
        padded = text.rjust(size) if column.right else text.ljust(size)
        if isinstance(cell, Cell) and text and colored:
            padded = padded.replace(text, click.style(text, fg=cell.color), 1)
        parts.append(padded)
    return _GAP.join(parts).rstrip()
