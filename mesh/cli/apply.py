"""`mesh apply`: resources from files become the mesh's, all of them or none."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import connect, context_option, file_option, form_option
from mesh.cli.durations import read_duration
from mesh.cli.inputs import Inputs
from mesh.cli.output import say, warn
from mesh.cli.resource_files import ResourceFiles, read_resource_files
from mesh.cli.tables import Cell, Column, print_result, table
from mesh.cli.waiting import wait_until_live

COLORS = {"created": "green", "updated": "yellow"}


@click.command("apply")
@file_option(required=True)
@click.option("--dry-run", is_flag=True, help="Let the control plane check it all, and change nothing.")
@click.option("--wait", is_flag=True, help="Return when every proxy concerned has it; 1 if one refuses or is away.")
@click.option("--timeout", default="60s", show_default=True, help="How long --wait waits.")
@form_option
@context_option
def command(
    paths: tuple[Path, ...],
    variables: tuple[str, ...],
    dry_run: bool,
    wait: bool,
    timeout: str,
    form: str,
    context: str | None,
) -> int:
    """Create and update resources from files: all of them, or none.

    The files are checked here, each mistake with its place, and then by the control plane, which knows the rest of the
    mesh. What has been reported is durable.

    \b
    Examples:
      mesh apply -f policies/
      mesh apply -f mesh.yaml -f timeout.yaml --wait
      mesh apply -f service.yaml -v name=web -v port=8080
      cat retry.yaml | mesh apply -f - --dry-run
    """
    inputs = Inputs()
    timeout_s = inputs.read(read_duration, timeout, option="--timeout", min_s=0.1)
    files = inputs.read(read_resource_files, paths, variables)
    client = inputs.read(connect, context)
    inputs.check()
    outcome = apply_files(client.value, files.value, dry_run=dry_run)
    results: list[dict[str, Any]] = outcome.get("results", [])
    print_result(form, outcome, lambda: _render(results))
    if dry_run:
        say("dry run: nothing was changed")
        return 0
    say(f"revision {outcome.get('revision')}: {_summary(results)}")
    if not wait:
        return 0
    return 0 if wait_until_live(client.value, outcome, timeout_s=timeout_s.value) else 1


def apply_files(client: ApiClient, files: ResourceFiles, *, dry_run: bool = False) -> dict[str, Any]:
    """Send everything in one transaction; return `{"revision", "results"}` and tell the warnings.

    Raises: ConfigError with the places of what the control plane refused, CommandFailed.
    """
    files.warn()
    try:
        outcome: dict[str, Any] = client.post("/apply", {"resources": files.documents(), "dryRun": dry_run})
    except RequestRefused as refused:
        located = files.locate(refused)
        if located is None:
            raise
        raise located from refused
    _tell_warnings(files, outcome.get("results", []))
    return outcome


def _tell_warnings(files: ResourceFiles, results: Sequence[Mapping[str, Any]]) -> None:
    """Tell what the control plane warns of beyond what was found here."""
    told = [str(violation) for resource in files.resources for violation in resource.warnings]
    for result in results:
        for warning in result.get("warnings") or []:
            text = warning if isinstance(warning, str) else json.dumps(warning)
            if not any(text in line or line.endswith(text) for line in told):
                warn(f"{result.get('type')} {result.get('name')}: {text}")


def _render(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        action = str(result.get("action", ""))
        cell = Cell(action, COLORS[action]) if action in COLORS else action
        version = str(result.get("version") or "")
        rows.append([cell, str(result.get("type")), str(result.get("mesh") or ""), str(result.get("name")), version])
    return table(["ACTION", "KIND", "MESH", "NAME", Column("VERSION", right=True)], rows)


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    actions = [str(result.get("action")) for result in results]
    return ", ".join(f"{actions.count(action)} {action}" for action in dict.fromkeys(actions)) or "nothing in it"
