"""`mesh run --on local`: the same scenario on real processes of this machine."""

from collections.abc import Callable
from pathlib import Path

from mesh.cli.local_control_plane import LocalControlPlane
from mesh.cli.output import say
from mesh.runtime.environment import Processes
from sim.local.places import CONTROL_PLANE_ADDRESS, CONTROL_PLANE_PORT
from sim.local.runner import LocalOptions, run_locally
from sim.report.result import RunResult
from sim.runner import Progress
from sim.scenario.scenario import Scenario


def run_on_local(scenario: Scenario, options: LocalOptions, progress: Callable[[Progress], None]) -> RunResult:
    """Run it. Raises: ConfigError (perhaps in a group)."""
    say("starting real processes on loopback addresses")
    return run_locally(scenario, options, make_control_plane=_make_control_plane, progress=progress)


def _make_control_plane(scenario: Scenario, folder: Path, processes: Processes) -> LocalControlPlane:
    address = f"{CONTROL_PLANE_ADDRESS}:{CONTROL_PLANE_PORT}"
    zone = scenario.control_plane.zone
    return LocalControlPlane(processes, folder, mesh=scenario.mesh, address=address, zone=zone)
