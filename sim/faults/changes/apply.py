"""`apply`: an operator applies a file of resources: those of the same kind and name are replaced.

All or none, as `mesh apply`. A control plane that is down takes them when it is back. How long a change takes to be live in every
proxy is what `config-converges` judges.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.resource import Resource
from sim.faults.active import Active, Done
from sim.scenario.policy_files import read_policy_file
from sim.scenario.schema_parts import text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Apply(Verb):
    """Apply the resources of a file, as an operator would."""

    word: ClassVar = "apply"
    about: ClassVar = "apply a file of resources"
    keys: ClassVar = {"apply": text("a file")}
    hurts: ClassVar = False
    reconfigures: ClassVar = True
    lasts_key: ClassVar = ""
    reach: ClassVar = Reach.PROCESSES

    file: str
    resources: tuple[Resource, ...]

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        cursor = entry.cursors[cls.word]
        file = cursor.text()
        return cls(file=file, resources=read_policy_file(cursor, entry.folder, mesh=entry.mesh) if file else ())

    def title(self) -> str:
        return f"{self.word} {self.file}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        by_key = {resource.key: resource for resource in (*mesh.resources, *self.resources)}
        mesh.replace_resources(tuple(by_key.values()))
        return Done()
