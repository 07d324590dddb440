"""`mesh generate`: tokens, made offline with the control plane's signing key."""

from pathlib import Path

import click

from mesh.cli.durations import read_duration
from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.signing_key import read_signing_key
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.errors import Violation
from mesh.resources.resource import DNS_LABEL, NAME
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness

LIFETIME_S_MIN = 1.0  # Dates in tokens are whole seconds.
LIFETIME_S_MAX = 10 * 365 * 86400.0


@click.group("generate")
def command() -> None:
    """Make tokens with the control plane's signing key."""


@command.command("dataplane-token")
@click.option(
    "--data", "data_dir", required=True, type=click.Path(path_type=Path), help="The control plane's data folder."
)
@click.option("--mesh", default="default", show_default=True, help="The mesh that the token is for.")
@click.option("--name", default=None, help="Binds the token to one Dataplane.")
@click.option("--workload", default=None, help="Binds the token to Dataplanes with this kuma.io/workload label.")
@click.option("--valid-for", required=True, help="How long it is good, as 24h; at most 87600h, ten years.")
def dataplane_token(data_dir: Path, mesh: str, name: str | None, workload: str | None, valid_for: str) -> int:
    """Print a token with which a sidecar may join. --name and --workload bind it more tightly; bind at least one."""
    inputs = Inputs()
    bounds = {"min_s": LIFETIME_S_MIN, "max_s": LIFETIME_S_MAX}
    lifetime_s = inputs.read(read_duration, valid_for, option="--valid-for", **bounds)
    inputs.read(read_name, mesh, DNS_LABEL, option="--mesh")
    # Empty is not absent: an unset variable of a script must not make a token that binds less.
    if name is not None:
        inputs.read(read_name, name, NAME, option="--name")
    if workload is not None:
        inputs.read(read_name, workload, DNS_LABEL, option="--workload")
    if name is None and workload is None:
        hint = "with neither, every sidecar of the mesh could use the token"
        inputs.refuse([Violation(path="--name, --workload", message="give at least one of them", hint=hint)])
    key = inputs.read(read_signing_key, data_dir)
    inputs.check()
    token = issue_dataplane_token(
        key.value,
        mesh=mesh,
        name=name or "",
        workload=workload or "",
        lifetime_s=lifetime_s.value,
        now=wall_clock(),
        random=SystemRandomness().stream("token-id"),
    )
    click.echo(token)
    return 0
