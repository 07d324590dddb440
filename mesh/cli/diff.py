"""`mesh diff`: what applying files would change, in the configuration of each proxy; or what differs between two runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import connect, context_option, file_option, form_option, mesh_option
from mesh.cli.inputs import Inputs
from mesh.cli.kinds import read_kind
from mesh.cli.resource_files import ResourceFiles, read_resource_files
from mesh.cli.tables import colors_allowed, count, print_result, width
from mesh.model.errors import ConfigError, Violation

SHOWN_MAX = 8  # differences of one part, unless all are asked for
NAMES_SHOWN_MAX = 6
SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
ACTIONS = {"created": "added", "deleted": "removed", "updated": "changed"}
_ABSENT = object()


@click.command("diff")
@click.argument("runs", nargs=-1, metavar="[RUN RUN]", type=click.Path(path_type=Path))
@file_option(required=False)
@click.option("--delete", "deletions", multiple=True, metavar="KIND/NAME", help="As if this was deleted. Repeatable.")
@mesh_option
@click.option("--full", is_flag=True, help="Every difference, not cut.")
@click.option("--exit-code", is_flag=True, help="1 when a proxy would change, or the runs differ.")
@form_option
@context_option
def command(
    runs: tuple[Path, ...],
    paths: tuple[Path, ...],
    variables: tuple[str, ...],
    deletions: tuple[str, ...],
    mesh: str,
    full: bool,
    exit_code: bool,
    form: str,
    context: str | None,
) -> int:
    """Show what applying files, or deleting resources of the mesh --mesh, would change for each proxy.

    Nothing is changed. Proxies for which the same would change stand together. With two folders of `mesh run --out`: show what
    differs between those runs, per edge and per check.

    \b
    Examples:
      mesh diff -f policies/
      mesh diff -f retry.yaml --full
      mesh diff --delete meshtimeout/orders-answer-soon -m shop --exit-code
      mesh diff simulated/ real/
    """
    if runs:
        if len(runs) != 2 or paths or deletions:
            raise click.UsageError("give two folders of runs, or files with -f, or --delete.")
        from mesh.cli.diff_runs import diff_runs  # The simulator, which those who ask a control plane do not need.

        alike = diff_runs(runs[0], runs[1], form=form)
        return 1 if exit_code and not alike else 0
    if not (paths or deletions):
        raise click.UsageError("give files with -f, or --delete, or two folders of runs.")
    inputs = Inputs()
    client = inputs.read(connect, context)
    files = inputs.read(read_resource_files, paths, variables) if paths else None
    removed = [inputs.read(_read_deletion, word, mesh) for word in deletions]
    inputs.check()
    sent = files.value if files else ResourceFiles(text_by_file={}, resources=())
    answer = _ask(client.value, sent, [one.value for one in removed])
    print_result(form, answer, lambda: _render(answer, full=full))
    changes = any(proxy.get("changes") for proxy in answer.get("proxies") or [])
    return 1 if exit_code and changes else 0


def _read_deletion(word: str, mesh: str) -> dict[str, str]:
    kind_word, slash, name = word.partition("/")
    if not slash or not name:
        message = f"{word!r} names no resource"
        raise ConfigError([Violation(path="--delete", message=message, hint="write KIND/NAME, as meshretry/all")])
    kind = read_kind(kind_word)
    return {"type": kind.name, **({"mesh": mesh} if kind.mesh_scoped else {}), "name": name}


def _ask(client: ApiClient, files: ResourceFiles, deletions: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    files.warn()
    try:
        answer: dict[str, Any] = client.post("/diff", {"resources": files.documents(), "deletions": list(deletions)})
    except RequestRefused as refused:
        located = files.locate(refused)
        if located is None:
            raise
        raise located from refused
    return answer


def _render(answer: Mapping[str, Any], *, full: bool) -> str:
    lines = []
    for resource in answer.get("resources") or []:
        if resource.get("action") != "unchanged":
            where = "/".join(str(part) for part in (resource.get("mesh"), resource.get("name")) if part)
            lines.append(_sign(ACTIONS.get(str(resource.get("action")), "changed"), f"{resource.get('type')} {where}"))
    lines = lines or ["no resource would change"]
    groups = _groups(answer.get("proxies") or [])
    for changes, proxies in groups:
        lines += ["", f"{_names(proxies, full=full)}: {count(len(changes), 'part')}"]
        for change in changes:
            lines += _part(change, full=full)
    total = sum(len(proxies) for _, proxies in groups)
    lines += ["", f"{count(total, 'proxy')} would change" if total else "no proxy would change"]
    return "\n".join(lines)


def _groups(proxies: Iterable[Mapping[str, Any]]) -> list[tuple[list[dict[str, Any]], list[str]]]:
    """Put proxies together for which the very same would change."""
    groups: dict[str, tuple[list[dict[str, Any]], list[str]]] = {}
    for proxy in proxies:
        changes = proxy.get("changes") or []
        if changes:
            names = groups.setdefault(json.dumps(changes, sort_keys=True), (changes, []))[1]
            names.append(f"{proxy.get('mesh')}/{proxy.get('name')}")
    return list(groups.values())


def _names(names: Sequence[str], *, full: bool) -> str:
    if full or len(names) <= NAMES_SHOWN_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:NAMES_SHOWN_MAX])} and {len(names) - NAMES_SHOWN_MAX} more"


def _part(change: Mapping[str, Any], *, full: bool) -> Iterator[str]:
    operation = _operation(change)
    yield _sign(operation, str(change.get("part")), indent="  ")
    before, after = change.get("before"), change.get("after")
    if not full and operation != "changed":
        return
    differences = list(_differences(before, after, ""))
    for path, old, new in differences if full else differences[:SHOWN_MAX]:
        text = f"      {f'{path} ' if path else ''}{_difference(old, new)}"
        yield text if full or len(text) <= width() else f"{text[: width() - 1]}…"
    if not full and len(differences) > SHOWN_MAX:
        yield f"      and {len(differences) - SHOWN_MAX} more; see --full"


def _operation(change: Mapping[str, Any]) -> str:
    words = {"add": "added", "remove": "removed", "delete": "removed", "replace": "changed", "change": "changed"}
    operation = str(change.get("op"))
    return words.get(operation, operation if operation in SIGNS else "changed")


def _difference(old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"= {_value(new)}"
    return f"{_value(old)} gone" if new is _ABSENT else f"{_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Go through the values in which two JSON values differ: (path, before, after)."""
    if before is None and path == "":
        before = {} if isinstance(after, dict) else _ABSENT
    if after is None and path == "":
        after = {} if isinstance(before, dict) else _ABSENT
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield path, before, after


def _sign(operation: str, text: str, *, indent: str = "") -> str:
    sign, color = SIGNS[operation]
    line = f"{indent}{sign} {text}"
    return click.style(line, fg=color) if colors_allowed() else line
