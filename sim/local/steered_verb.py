"""A verb of the network on real processes: begun on the runner's map, and by every process on its own links."""

from typing import TYPE_CHECKING, Any, cast

import attrs

from sim.faults.active import Active
from sim.local.mesh import LocalMesh
from sim.local.messages import Begin, End, Spare
from sim.scenario.scenario import Scenario
from sim.scenario.verb import Reach, Verb

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


def steer(scenario: Scenario) -> Scenario:
    """Return a scenario whose faults of links reach the processes."""
    timeline = tuple(
        attrs.evolve(entry, verb=cast(Verb, _Steered(entry.verb, number))) if entry.verb.reach is Reach.LINKS else entry
        for number, entry in enumerate(scenario.timeline)
    )
    return attrs.evolve(scenario, timeline=timeline)


class _Steered:
    """Stands in for a verb: the same, but for where it begins."""

    def __init__(self, verb: Verb, entry: int) -> None:
        self._verb = verb
        self._entry = entry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verb, name)

    def begin(self, mesh: LocalMesh, name: str) -> Active:
        """Begin here and everywhere."""
        active = self._verb.begin(cast("SimulatedMesh", mesh), name)
        mesh.begun[self._entry] = None
        mesh.steering.tell(Begin(entry=self._entry))
        return _SteeredActive(mesh, self._entry, active)


class _SteeredActive:
    """What was begun everywhere. It has bitten when one process says so."""

    def __init__(self, mesh: LocalMesh, entry: int, on_map: Active) -> None:
        self._mesh = mesh
        self._entry = entry
        self._on_map = on_map

    def end(self) -> None:
        self._on_map.end()
        self._mesh.begun.pop(self._entry, None)
        self._mesh.steering.tell(End(entry=self._entry))

    def bit(self) -> bool:
        return self._entry in self._mesh.steering.bit

    def spare(self, core: frozenset[str]) -> bool:
        self._mesh.steering.tell(Spare(entry=self._entry, core=tuple(sorted(core))))
        return self._on_map.spare(core)
