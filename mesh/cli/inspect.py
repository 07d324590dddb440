"""`mesh inspect`: proxies, services, meshes, and which policies apply to whom."""

import importlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# {subcommand: (module, attribute, help)}: loaded when used.
SUBCOMMANDS = {
    "dataplanes": ("mesh.cli.inspect_dataplanes", "dataplanes", "List proxies: are they online, and up to date?"),
    "dataplane": (
        "mesh.cli.inspect_dataplanes",
        "dataplane",
        "Show the policies, rules or configuration of one proxy.",
    ),
    "policies": ("mesh.cli.inspect_policies", "policies", "List policies, each with the number of proxies it matches."),
    "rules": ("mesh.cli.inspect_rules", "command", "Show the merged rules of one proxy; from files alone with -f."),
    "services": ("mesh.cli.inspect_meshes", "services", "List services: ports, hostnames, healthy proxies."),
    "meshes": ("mesh.cli.inspect_meshes", "meshes", "List meshes: proxies, policies, services."),
    "zones": ("mesh.cli.inspect_meshes", "zones", "List zones."),
}


class Subcommands(click.Group):
    """The subcommands, loaded late; each kind of policy is one too."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in SUBCOMMANDS:
            module, attribute, _ = SUBCOMMANDS[cmd_name]
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        from mesh.cli.inspect_policies import matched_by
        from mesh.resources.registry import find_kind

        kind = find_kind(cmd_name)
        return matched_by(kind) if kind is not None and kind.policy else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        from mesh.resources.registry import KINDS

        found = super().shell_complete(ctx, incomplete)
        # Policies when they are begun: listed with the rest, they would hide it.
        words = [kind.name.lower() for kind in KINDS if kind.policy] if incomplete.startswith("mesh") else []
        return [*found, *(CompletionItem(word) for word in words if word.startswith(incomplete))]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            entries = [(name, text) for name, (_, _, text) in SUBCOMMANDS.items()]
            formatter.write_dl(
                [*entries, ("POLICY NAME", "Show which proxies a policy matches, as `meshtimeout NAME`.")]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from mesh.resources.documents import suggest
            from mesh.resources.registry import KINDS

            words = [*SUBCOMMANDS, *(kind.name.lower() for kind in KINDS if kind.policy)]
            ctx.fail(f"nothing to inspect is called {args[0]!r}. {suggest(args[0], words)}".rstrip())
        return super().resolve_command(ctx, args)


@click.group("inspect", cls=Subcommands)
def command() -> None:
    """Show proxies, services and meshes, and which policies apply to whom.

    \b
    Examples:
      mesh inspect dataplanes -m shop --tag team=a
      mesh inspect dataplane web-1 -m shop
      mesh inspect meshtimeout orders-answer-soon -m shop
      mesh inspect rules -f policies/ --dataplane web-1
    """
