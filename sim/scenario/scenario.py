"""One scenario, read and checked: everything that a run needs besides its seed. Values only."""

from collections.abc import Mapping

import attrs

from mesh.resources.documents import Value
from mesh.resources.resource import Resource
from sim.scenario.promises import Check
from sim.scenario.timeline import TimelineEntry
from sim.scenario.topology import ControlPlaneModel, NetworkModel, Service
from sim.scenario.users import Workload


@attrs.frozen(kw_only=True)
class Output:
    """Where a run leaves its files, and which ones."""

    folder: str = ""
    save: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Scenario:
    """The whole of a scenario file. Spans in seconds. `notes` are for the operator: accepted, but not used yet."""

    name: str
    file: str
    seed: int
    duration_s: float
    warmup_s: float
    mesh: str
    zones: tuple[str, ...]
    network: NetworkModel
    control_plane: ControlPlaneModel
    services: tuple[Service, ...]
    workloads: tuple[Workload, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    checks: tuple[Check, ...] = ()
    resources: tuple[Resource, ...] = ()
    tls: str = "modelled"  # or "real" (OpenSSL over the simulated network), "none" (no identity by default)
    fuzz: Mapping[str, Value] = attrs.field(factory=dict)
    output: Output = Output()
    notes: tuple[str, ...] = ()

    def service(self, name: str) -> Service:
        """Return a service by name. Raises: KeyError; the loader has checked every reference."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)
