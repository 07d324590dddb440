"""`mesh service`: one instance of a scenario's service model on real sockets. `mesh up` starts these."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import trio

from mesh.cli.addresses import parse_ip_address
from mesh.cli.process import run_process, with_log_options
from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Environment
from sim.scenario.loader import load_scenario
from sim.workload.deployment import instances_of, service_settings
from sim.workload.observations import ServiceTally
from sim.workload.service import make_service


@click.command("service", hidden=True)
@click.argument("scenario_file", type=click.Path(path_type=Path))
@click.option("--instance", "name", required=True, help="Which instance, as web-1.")
@click.option("--local", required=True, help="The loopback address that it shares with its sidecar.")
@click.option("--data", "data_dir", required=True, type=click.Path())
@with_log_options
def command(scenario_file: Path, name: str, local: str, data_dir: str, log_level: str, log_form: str) -> int:
    """Run one instance of a scenario's service model, behind the sidecar at the same address."""
    local = parse_ip_address(local, option="--local")
    scenario = load_scenario(scenario_file)
    instance = next((instance for instance in instances_of(scenario) if instance.name == name), None)
    if instance is None:
        raise ConfigError([Violation(file=str(scenario_file), message=f"has no instance {name!r}")])

    async def start(env: Environment, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
        service = make_service(env, service_settings(scenario, instance, local), ServiceTally(keeps_moments=False))
        nursery.start_soon(service.run)

        async def finish() -> None:
            while service.places.busy:
                await trio.sleep(0.05)

        return finish

    return run_process(name, data_dir=data_dir, log_level=log_level, log_form=log_form, start=start)
