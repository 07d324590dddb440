"""`ca-down`: no certificates are signed while it lasts: the device or service that holds the authority's key is away.

Certificates that are there go on until they expire, and sidecars ask again: 70 % of what remains later, every ten seconds at
last. Who has none yet (a new instance) cannot join. Source: SPIRE's and istiod's agents keep their certificate through such an
outage.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, Whole
from sim.scenario.draw import Draw
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry
from sim.signing import Outage, Signing

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class SigningOutage(Whole):
    """An outage of the signer while it lasts."""

    signing: Signing
    outage: Outage

    @classmethod
    def begin(cls, signing: Signing, outage: Outage) -> Self:
        signing.begin(outage)
        return cls(signing, outage)

    def end(self) -> None:
        self.signing.end(self.outage)

    def bit(self) -> bool:
        return self.outage.refused > 0


@attrs.frozen(kw_only=True)
class CaDown(Verb):
    """Sign nothing."""

    word: ClassVar = "ca-down"
    about: ClassVar = "sign no certificates"
    keys: ClassVar = {"ca-down": {"const": True}}

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        if not entry.cursors[cls.word].flag():
            entry.cursors[cls.word].refuse("must be true")
        return cls()

    def title(self) -> str:
        return self.word

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        outage = Outage(reason="the signer does not answer (ca-down)")
        return SigningOutage.begin(mesh.control_planes.signing, outage)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: True}
