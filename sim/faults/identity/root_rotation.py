"""`root-rotation`: another root follows those of the mesh's authorities, at once.

With overlap (the default) the new root is trusted by all now and signs after `propagation`; the old one stays trusted as long
as what it signed lives, so that nobody notices. `overlap: false` is the emergency: the old root and all that it signed are
worth nothing from now on. Sidecars then fetch a new certificate before they take the new trust, but whoever is told first
refuses those who are told later.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.control.store.values import Conflict
from mesh.model.errors import ConfigError, IdentityError, StoreError
from mesh.resources.documents import Value
from sim.faults.active import Active, Whole
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

TRY_AGAIN_S = 1.0
TRIES_MAX = 60


@attrs.define(eq=False)
class _Rotation(Whole):
    """A rotation under way; it is not taken back."""

    mesh: "SimulatedMesh"
    overlap: bool
    propagation_s: float | None
    done: bool = False

    async def run(self) -> None:
        """Ask a control plane for it until one does it: an operator tries again, but not where a root is on its way already."""
        for _ in range(TRIES_MAX):
            plane = self.mesh.control_planes.ready
            if plane is not None:
                try:
                    await plane.replace_roots(
                        self.mesh.scenario.mesh, overlap=self.overlap, propagation_s=self.propagation_s
                    )
                except (StoreError, Conflict, IdentityError):
                    pass
                except ConfigError:
                    return
                else:
                    self.done = True
                    return
            await trio.sleep(TRY_AGAIN_S)

    def end(self) -> None:
        """Stay as it is."""

    def bit(self) -> bool:
        return self.done


@attrs.frozen(kw_only=True)
class RootRotation(Verb):
    """Let new roots follow."""

    word: ClassVar = "root-rotation"
    about: ClassVar = "another root follows those of the mesh's authorities"
    keys: ClassVar = {
        "root-rotation": {"const": True},
        "overlap": FLAG
        | {"description": "the old root stays trusted as long as its certificates live; true unless said"},
        "propagation": ref("span") | {"description": "with overlap: until the new root signs"},
    }

    overlap: bool = True
    propagation_s: float | None = None

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        if not entry.cursors[cls.word].flag():
            entry.cursors[cls.word].refuse("must be true")
        overlap = entry.flag("overlap") if "overlap" in entry else True
        if not overlap and "propagation" in entry:
            entry.cursors["propagation"].refuse("is about a rotation with overlap", "leave one of the two out")
        return cls(
            overlap=overlap,
            propagation_s=entry.cursors["propagation"].span() if "propagation" in entry else None,
        )

    def title(self) -> str:
        return self.word if self.overlap else f"{self.word} without overlap"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        rotation = _Rotation(mesh, self.overlap, self.propagation_s)
        mesh.world.start_task(rotation.run, name=name)
        return rotation

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        keys: dict[str, Value] = {cls.word: True, "overlap": draw.strength < 5}
        return keys | {"propagation": draw.span(60.0, 1.0)} if draw.strength < 5 else keys
