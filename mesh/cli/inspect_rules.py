"""`mesh inspect rules`: what policy files come to for one proxy, without a control plane; or what its policies come to."""

from collections.abc import Sequence
from pathlib import Path

import click

from mesh.cli.connecting import connect, context_option
from mesh.cli.files import gather_texts
from mesh.cli.inputs import Inputs
from mesh.cli.inspect_dataplanes import show_rules
from mesh.cli.output import warn
from mesh.cli.tables import print_result
from mesh.config.rules import inspect_rules
from mesh.resources.loading import load_resources
from mesh.resources.resource import DEFAULT_MESH, Resource


@click.command("rules")
@click.option(
    "-f",
    "--file",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file of resources, a folder of them, or - for standard input; may be given several times.",
)
@click.option("--dataplane", required=True, help="The proxy: the name of its Dataplane.")
@click.option("-m", "--mesh", default="", help="The proxy's mesh, where Dataplanes of several have that name.")
@click.option("--shadow", is_flag=True, help="As if policies labelled kuma.io/effect: shadow were in effect.")
@click.option(
    "-o", "--output", "form", type=click.Choice(("yaml", "json")), default="yaml", show_default=True, help="As what."
)
@context_option
def command(paths: Sequence[Path], dataplane: str, mesh: str, shadow: bool, form: str, context: str | None) -> int:
    """Print which settings the policies in files give to one proxy, and which policies they come from.

    Without files, those of the control plane in use, in the shape of its API.

    \b
    policies   those that apply, in the order in which they are merged: the last wins
    to         for each service, port, route or mesh that policies name: the merged settings; whatever has
               no entry of its own has that of its service, and else that of the mesh; `routes` of
               MeshHTTPRoutes are in the order in which requests are compared with them
    inbound    for each inbound: the rules, those for the most closely described callers first; `entries`
               are what they were merged from, one for each match
    proxy      settings of the proxy as a whole

    Settings are as Kuma writes them (1m51s). With files nothing is asked of a control plane: what they do not hold is not there.

    \b
    Examples:
      mesh inspect rules -f mesh/ -f dataplanes.yaml --dataplane web-1
      mesh inspect rules --dataplane web-1 -m shop
    """
    if not paths:
        return show_rules(connect(context), dataplane, mesh=mesh or DEFAULT_MESH, shadow=shadow, form=form)
    resources = _read(paths)
    for resource in resources:
        for warning in resource.warnings:
            warn(str(warning))
    rules = inspect_rules(resources, dataplane, mesh=mesh, shadow=shadow)
    for warning in rules.warnings:
        warn(str(warning))
    print_result(form, rules.as_json(), lambda: "")
    return 0


def _read(paths: Sequence[Path]) -> list[Resource]:
    """Read resources that need not fit together yet: policies may share a name. Raises: ConfigError."""
    inputs = Inputs()
    texts = gather_texts(inputs, paths)
    resources = inputs.read(load_resources, texts, lenient=True)
    inputs.check()
    return resources.value
