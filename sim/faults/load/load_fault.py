"""What all faults of load have in common: the users of one workload, wherever they are."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from sim.faults.active import Whole
from sim.scenario.verb import Verb

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.workload.users import Users

WORKLOAD_TEXT = "a workload"


@attrs.frozen(kw_only=True)
class LoadFault(Verb):
    """Something about the users of a workload."""

    workload: str

    def title(self) -> str:
        return f"{self.word} {self.workload}"

    def users(self, mesh: "SimulatedMesh") -> "list[Users]":
        """Return the users of the workload in all zones, in the order of the scenario."""
        members = mesh.members.values()
        return [m.users for m in members if m.users is not None and m.what.workload == self.workload]


@attrs.frozen
class LoadActive(Whole):
    """What users do otherwise for a while. Load has no part that could be left alone: healing a core ends it."""

    undo: Callable[[], None]
    touched: Callable[[], bool]

    def end(self) -> None:
        self.undo()

    def bit(self) -> bool:
        return self.touched()
