"""What one entry of a timeline does: the base of all verbs. Each verb is one file in a folder of `sim.faults`.

A verb is a value with everything about itself in one place: its word, what it models, its keys in scenario files, how it is
read, how it begins in a simulated mesh, where else it can be carried out, and how the fuzzer draws one.
"""

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from mesh.resources.documents import Value
from sim.scenario.schema_parts import Schema, ref, section, text

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.faults.active import Active
    from sim.scenario.draw import Draw
    from sim.scenario.verb_entry import VerbEntry


class Reach(enum.Enum):
    """Where a verb can be carried out besides the simulation: what a run on real processes needs for it."""

    SIMULATION = "simulation only"
    PROCESSES = "real processes"  # by signals, files and the command line
    LINKS = "real processes, on the links between sidecars"


class Verb:
    """One thing that a timeline can do. Subclasses are frozen attrs values."""

    word: ClassVar[str]  # its key in an entry
    about: ClassVar[str]  # one line: what it models
    keys: ClassVar[Mapping[str, Schema]]  # besides at, name and `lasts_key`; the word's own too
    required: ClassVar[tuple[str, ...]] = ()  # besides at and the word
    hurts: ClassVar[bool] = True  # a fault, whose time checks can leave out; else a change
    reconfigures: ClassVar[bool] = False  # proxies are to have another configuration after it
    lasts_key: ClassVar[str] = "for"  # the key that says how long it lasts; empty: it is over at once
    lasts_s: ClassVar[float | None] = None  # how long a fault lasts where that is not said; None: to the end
    reach: ClassVar[Reach] = Reach.SIMULATION
    alarms: ClassVar[tuple[str, ...]] = ()  # what the mesh rightly logs as errors because of it: an operator has to act

    @classmethod
    def read(cls, entry: "VerbEntry") -> Self:
        """Read one from its entry; what is wrong is noted there, and something harmless returned."""
        raise NotImplementedError

    def title(self) -> str:
        """Name it for people: `slow accounts-db`, `partition eu-1|eu-2`."""
        raise NotImplementedError

    def begin(self, mesh: "SimulatedMesh", name: str) -> "Active":
        """Do it. `name` is of this entry alone (its title and moment): what streams of chance are called by."""
        raise NotImplementedError

    def backup_s(self, at_s: float) -> float | None:
        """Return when the control planes' disks are to be copied for it, where it begins at `at_s`; None: it needs no copy."""
        return None

    @classmethod
    def drawn(cls, draw: "Draw") -> dict[str, Value] | None:
        """Return the keys of one entry as the fuzzer wants it (without at, for and name); None where there is no place for it.

        The draw has two whole numbers, `place` and `strength` (0 the mildest), and nothing else to choose by.
        """
        return None

    @classmethod
    def allowed_keys(cls) -> tuple[str, ...]:
        return ("at", "name", *((cls.lasts_key,) if cls.lasts_key else ()), *cls.keys)

    @classmethod
    def required_keys(cls) -> tuple[str, ...]:
        return ("at", cls.word, *cls.required)

    @classmethod
    def schema(cls) -> Schema:
        """Return the JSON Schema of an entry with this verb."""
        properties = {"at": ref("span"), "name": text("what `during` in checks calls it"), **cls.keys}
        if cls.lasts_key:
            properties[cls.lasts_key] = ref("span")
        return section(cls.about, properties, cls.required_keys())
