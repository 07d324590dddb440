"""`mesh check`: mistakes in resource files and scenarios, found offline, each with a stable code and what to do about it."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mesh.cli.check_inputs import CheckInputs, counts, read_check_inputs
from mesh.cli.tables import Cell, Column, colors_allowed, count, print_result, table, to_yaml_stream, width
from mesh.config.lint.engine import CODE_BY_NAME
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import parse_documents, suggest

COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
AFFECTED_SHOWN = 4
_INDENT = "    "


@click.command("check")
@click.argument("paths", metavar="[FILE|DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--file",
    "-f",
    "more_paths",
    metavar="FILE|DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The same, as other commands take it. Repeatable.",
)
@click.option(
    "--output",
    "-o",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="How findings are printed.",
)
@click.option(
    "--severity",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.INFO.value,
    help="The least that is reported.",
)
@click.option("--ignore", default="", metavar="CODE,...", help="Codes that are not reported.")
@click.option("--strict", is_flag=True, help="Warnings fail the check too.")
@click.option("--explain", default=None, metavar="CODE", help="Say what a code means, with an example and its fix.")
@click.option("--list", "listed", is_flag=True, help="List all codes.")
def command(
    paths: tuple[Path, ...],
    more_paths: tuple[Path, ...],
    form: str,
    severity: str,
    ignore: str,
    strict: bool,
    explain: str | None,
    listed: bool,
) -> int:
    """Look for mistakes in resources and scenarios, offline.

    FILE: YAML or JSON, - for standard input; DIR: the files in it. Policies are judged as they are merged for each proxy
    and destination. Calls, methods and capacities come from a scenario, else calls come from the Dataplanes' outbounds.
    A resource's label mesh.io/ignore: TM101,... suppresses codes for it. Exit code 0: no error was found; 1: one was (with
    --strict, a warning); 2: a file cannot be read.

    \b
    Examples:
      mesh check policies/ dataplanes.yaml
      mesh check policies/ --strict --ignore TM901 -o json
      mesh check --explain TM101
    """
    paths += more_paths
    if explain is not None:
        return _explain(form, _code(explain, option="--explain"))
    if listed:
        return _list(form)
    if not paths:
        raise click.UsageError("name a file or a folder, or use --list or --explain CODE.")
    ignored = {_code(name, option="--ignore").code for name in ignore.split(",") if name.strip()}
    inputs = read_check_inputs(paths)
    least = Severity(severity)
    findings = [
        finding
        for finding in inputs.findings()
        if finding.code.code not in ignored and finding.code.severity.weight >= least.weight
    ]
    print_result(form, _as_json(findings, inputs), lambda: _text(findings, inputs))
    fatal = Severity.WARNING if strict else Severity.ERROR
    return int(any(finding.code.severity.weight >= fatal.weight for finding in findings))


def _code(name: str, *, option: str) -> Code:
    """Raises: ConfigError when there is no such code."""
    code = CODE_BY_NAME.get(name.strip().upper())
    if code is None:
        hint = suggest(name.strip().upper(), CODE_BY_NAME) or "`mesh check --list` shows all"
        raise ConfigError([Violation(path=option, message=f"there is no code '{name.strip()}'", hint=hint)])
    return code


def _text(findings: Sequence[Finding], inputs: CheckInputs) -> str:
    blocks = [_block(finding, inputs) for finding in findings]
    return "\n".join([*blocks, _summary(findings, inputs)])


def _block(finding: Finding, inputs: CheckInputs) -> str:
    found = inputs.locate(finding.place)
    lines = [*_head(finding.code, _position(found)), *_wrapped("in    ", _title(finding.place, found))]
    lines += _wrapped("", finding.message)
    for place in finding.others:
        other = inputs.locate(place)
        lines += _wrapped("with  ", f"{_position(other)} {_title(place, other)}")
    if finding.affects:
        shown = ", ".join(finding.affects[:AFFECTED_SHOWN])
        rest = len(finding.affects) - AFFECTED_SHOWN
        lines += _wrapped("for   ", f"{shown} and {rest} more" if rest > 0 else shown)
    return "\n".join([*lines, *_wrapped("fix   ", finding.advice)])


def _head(code: Code, position: str) -> list[str]:
    """Return the first line: a place that editors open, and what is wrong there; two where that does not fit."""
    plain = f"{position}: {code.severity.value} {code.code} {code.title}"
    word = f"{code.severity.value} {code.code}"
    if colors_allowed():
        word = click.style(word, fg=COLORS[code.severity], bold=True)
    if len(plain) <= width():
        return [f"{position}: {word} {code.title}"]
    return [f"{position}: {word}", f"{_INDENT}{code.title}"]


def _title(place: Place, found: Violation) -> str:
    return " ".join(part for part in (place.title, found.path) if part)


def _position(found: Violation) -> str:
    return f"{found.file}:{found.line}:{found.column}"


def _wrapped(label: str, text: str) -> list[str]:
    start = f"{_INDENT}{label}"
    return textwrap.wrap(
        text,
        width(),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(findings: Sequence[Finding], inputs: CheckInputs) -> str:
    numbers = counts(findings)
    found = ", ".join(count(number, "note" if name == "info" else name) for name, number in numbers.items())
    return f"{found} in {count(inputs.document_count, 'document')}"


def _as_json(findings: Iterable[Finding], inputs: CheckInputs) -> dict[str, Any]:
    listed = list(findings)
    return {
        "findings": [
            {
                "code": finding.code.code,
                "severity": finding.code.severity.value,
                "title": finding.code.title,
                "message": finding.message,
                **_place_json(finding.place, inputs),
                "others": [_place_json(place, inputs) for place in finding.others],
                "affects": list(finding.affects),
                "fix": finding.advice,
            }
            for finding in listed
        ],
        "totals": {**counts(listed), "documents": inputs.document_count},
    }


def _place_json(place: Place, inputs: CheckInputs) -> dict[str, Any]:
    found, resource = inputs.locate(place), place.resource
    return {
        "resource": {"type": resource.kind, "mesh": resource.mesh, "name": resource.name},
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "path": found.path,
    }


def _list(form: str) -> int:
    rows = [(code.code, Cell(code.severity.value, COLORS[code.severity]), code.title) for code in CODE_BY_NAME.values()]
    values = [
        {"code": code.code, "severity": code.severity.value, "title": code.title} for code in CODE_BY_NAME.values()
    ]
    print_result(form, values, lambda: table(["CODE", "SEVERITY", Column("TITLE", cut=True)], rows))
    return 0


def _explain(form: str, code: Code) -> int:
    value = {
        "code": code.code,
        "severity": code.severity.value,
        "title": code.title,
        "why": code.why,
        "fix": code.fix,
        "example": code.example,
        "better": code.better,
    }
    print_result(form, value, lambda: _explanation(code))
    return 0


def _explanation(code: Code) -> str:
    parts = [f"{code.code} {code.severity.value}: {code.title}", ""]
    parts += [*textwrap.wrap(code.why, width()), "", *_hanging("Fix: ", code.fix)]
    found, better = _documents(code.example), _documents(code.better)
    parts += ["", "Found in:", _indented(found)]
    changed = [document for document in better if document not in found]
    kept = {(document.get("type"), document.get("name")) for document in better}
    gone = [f"{each['type']}/{each['name']}" for each in found if (each.get("type"), each.get("name")) not in kept]
    if changed:
        parts += ["", "Mended, the rest as it is:", _indented(changed)]
    if gone:
        parts += ["", *_hanging("Mended without ", ", ".join(gone))]
    return "\n".join(parts)


def _documents(text: str) -> list[dict[str, Any]]:
    documents = parse_documents(text, file="example")[0]
    return [document.data for document in documents if isinstance(document.data, dict)]


def _indented(documents: Sequence[Any]) -> str:
    return textwrap.indent(to_yaml_stream(documents).rstrip(), _INDENT)


def _hanging(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, width(), initial_indent=label, subsequent_indent=" " * len(label))
