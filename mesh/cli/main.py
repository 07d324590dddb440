"""The command `mesh`: names the verbs, loads the one that is asked for, and turns errors into exit codes.

Exit codes: 0 ok, 1 a check failed, 2 bad usage or file, 3 our own bug, 4 not deterministic, 130 interrupted.
"""

import importlib
import sys
from typing import Any, NoReturn

import click

from mesh import __version__
from mesh.cli.output import fail
from mesh.model.errors import ConfigError, IdentityError

# {verb: (module, what `mesh --help` says)}: the modules are imported when their verb is used, so that help stays quick.
VERBS = {
    "run": ("mesh.cli.run", "Run a scenario in simulation, judge its checks, write its report."),
    "up": ("mesh.cli.up", "Start a scenario's mesh for real: processes and sockets on this machine."),
    "control-plane": ("mesh.cli.control_plane", "Run the control plane of a mesh."),
    "sidecar": ("mesh.cli.sidecar", "Run the proxy beside one instance of a service."),
    "generate": ("mesh.cli.generate", "Make tokens: dataplane-token."),
    "service": ("mesh.cli.service", "Run one instance of a scenario's service model (used by `mesh up`)."),
}
HIDDEN = ("service",)


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
        with formatter.section("Commands"):
            formatter.write_dl([(verb, VERBS[verb][1]) for verb in self.list_commands(ctx)])

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
    `mesh control-plane`, `mesh sidecar`).
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    try:
        result: Any = cli.main(args=arguments, prog_name="mesh", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except (ConfigError, IdentityError) as error:
        return fail(error)
    except BaseExceptionGroup as group:
        return _exit_code_of_group(group)
    return result if isinstance(result, int) else 0


def _exit_code_of_group(group: BaseExceptionGroup[BaseException]) -> int:
    """Tasks that failed together: what an operator can mend is said plainly, an interrupt is one, the rest is ours."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return 130
    _, ours = group.split((ConfigError, IdentityError))
    if ours is None:
        for error in _leaves(group):
            fail(error)
        return 2
    raise group


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
