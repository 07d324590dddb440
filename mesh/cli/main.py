"""The command `mesh`: names the verbs, loads the one that is asked for, and turns errors into exit codes.

Exit codes: 0 ok, 1 a check failed or the control plane did not do it, 2 bad usage or file, 3 our own bug,
4 not deterministic, 130 interrupted.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mesh import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# {section: {verb: (module, what `mesh --help` says)}}: modules are imported when their verb is used, so that help stays quick.
SECTIONS = {
    "Try it on this machine": {
        "run": ("mesh.cli.run", "Run a scenario, in simulation or for real, judge its checks, write its report."),
        "replay": ("mesh.cli.replay", "Run a saved failure again: is it reproduced, what led to it, step by step."),
        "faults": ("mesh.cli.faults", "List what a scenario's timeline can do to a mesh, and explain each fault."),
        "up": ("mesh.cli.up", "Start a scenario's mesh for real: processes and sockets on this machine."),
    },
    "Run the parts": {
        "control-plane": ("mesh.cli.control_plane", "Run the control plane of a mesh."),
        "sidecar": ("mesh.cli.sidecar", "Run the proxy beside one instance of a service."),
    },
    "Change the mesh": {
        "check": ("mesh.cli.check", "Look for mistakes in resource files, offline: stable codes, each with its fix."),
        "diff": ("mesh.cli.diff", "Show what applying files would change, for each proxy; or how two runs differ."),
        "apply": ("mesh.cli.apply", "Create and update resources from files, all or none."),
        "delete": ("mesh.cli.delete", "Delete resources."),
    },
    "Look at the mesh": {
        "status": ("mesh.cli.status", "Show whether every proxy has what it should have."),
        "get": ("mesh.cli.get", "Show resources."),
        "inspect": ("mesh.cli.inspect", "Show proxies, services and meshes, and which policies apply to whom."),
        "export": ("mesh.cli.export", "Print all resources, so that they can be applied elsewhere."),
        "audit": ("mesh.cli.audit", "Show who changed what, and when."),
    },
    "Set up": {
        "config": ("mesh.cli.config", "Choose the control plane that commands talk to."),
        "generate": ("mesh.cli.generate", "Make tokens and signing keys."),
        "schema": ("mesh.cli.schema", "Print the JSON Schema of a kind of resource, or of scenarios, for editors."),
        "completion": ("mesh.cli.completion", "Print a script that completes commands in a shell."),
    },
}
# Used by other commands, not by people.
HIDDEN = {"service": ("mesh.cli.service", "Run one instance of a scenario's service model (used by `mesh up`).")}
VERBS = {verb: entry for section in (*SECTIONS.values(), HIDDEN) for verb, entry in section.items()}


class Verbs(click.Group):
    """The verbs, loaded late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verb in VERBS if verb not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), text) for verb, (_, text) in verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        # Not click's own way: it would import every verb for one line of help.
        return [
            CompletionItem(verb, help=VERBS[verb][1]) for verb in self.list_commands(ctx) if verb.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from mesh.resources.documents import suggest

            ctx.fail(f"no command {args[0]!r}. {suggest(args[0], self.list_commands(ctx))}".rstrip())
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mesh")
def cli() -> None:
    """trio-mesh: a service mesh that shows what a policy will do before it is applied.

    The same sidecars and control plane run in a deterministic simulation (`mesh run`) or on real sockets (`mesh up`,
    `mesh control-plane`, `mesh sidecar`). Operators use Kuma's resources and the words of its command line.

    \b
    Examples:
      mesh control-plane --data cp --dev &      a control plane to try things with
      mesh apply -f policies/ --wait            return when every proxy has it
      mesh status                               who has what, who refused and why
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. What nobody foresaw is our own bug: a traceback, and 3."""
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has enough. What is left must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 3
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    try:
        result: Any = cli.main(args=arguments, prog_name="mesh", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except (Exception, BaseExceptionGroup) as error:
        from mesh.cli.failures import exit_code_of

        code = exit_code_of(error)
        if code is None:
            raise
        return code
    return result if isinstance(result, int) else 0
