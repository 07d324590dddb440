"""The options that commands share which talk to a control plane."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mesh.cli.api_client import ApiClient
from mesh.cli.contexts import choose_context, config_path, load_contexts
from mesh.model.errors import ConfigError
from mesh.resources.resource import DEFAULT_MESH

F = TypeVar("F", bound=Callable[..., Any])

FORMS = ("table", "json", "yaml")


def connect(context: str | None) -> ApiClient:
    """Return a client of the control plane that is meant, closed when the command ends. Raises: ConfigError."""
    client = ApiClient(choose_context(context, os.environ))
    click.get_current_context().call_on_close(client.close)
    return client


def context_option(command: F) -> F:
    """Add --context."""
    help_text = "Another control plane than the one in use: its name, or a URL."
    return click.option("--context", metavar="NAME", default=None, help=help_text, shell_complete=context_names)(
        command
    )


def context_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of contexts that begin so, for shells. A broken file completes nothing, and breaks no prompt."""
    try:
        contexts = load_contexts(config_path(os.environ))
    except ConfigError:
        return []
    return [context.name for context in contexts.all if context.name.startswith(incomplete)]


def mesh_option(command: F) -> F:
    """Add --mesh."""
    return click.option("--mesh", "-m", default=DEFAULT_MESH, show_default=True, help="The mesh that is meant.")(
        command
    )


def form_option(command: F) -> F:
    """Add --output."""
    choices = click.Choice(FORMS)
    return click.option("--output", "-o", "form", type=choices, default="table", help="How the result is printed.")(
        command
    )


def file_option(*, required: bool) -> Callable[[F], F]:
    """Add -f, repeatable, and -v, the variables of those files."""
    from pathlib import Path

    def add(command: F) -> F:
        command = click.option(
            "--var", "-v", "variables", multiple=True, metavar="KEY=VALUE", help="Fill in {{ KEY }}. Repeatable."
        )(command)
        return click.option(
            "--file",
            "-f",
            "paths",
            multiple=True,
            required=required,
            type=click.Path(path_type=Path),
            help="A file, a folder, or - for standard input. Repeatable.",
        )(command)

    return add
