"""One scenario, read and checked: everything that a run needs besides its seed. Values only."""

from collections.abc import Mapping

import attrs

from mesh.resources.documents import Value
from mesh.resources.resource import Resource
from sim.scenario.phases import Phases
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
class Replay:
    """What a saved failure promises to reproduce. `violates`: the name of a check; `event_hash` may be its beginning only."""

    of: str = ""
    found_by: str = ""
    seed: int | None = None  # instead of the scenario's
    violates: str = ""
    at_s: float | None = None
    event_hash: str = ""
    tool: str = ""


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
    replay: Replay | None = None
    notes: tuple[str, ...] = ()
    buggify: float = 0.0  # the share of rare legal behaviour of the hosts' surroundings, from the first moment on
    phases: Phases | None = None  # None: nothing is healed before the end
    variant: str = ""  # which of `variants` this is; breaks: the checks that must fail in it
    variants: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()

    def service(self, name: str) -> Service:
        """Return a service by name. Raises: KeyError; the loader has checked every reference."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)
