"""`cert-expiry`: renewal does not get through, until certificates expire: an issuer forgotten, a rotation that fails in
silence.

The signer turns down the requests of the workload (or of all), and with `left` every wall clock of the world is moved so far
on that the first of its certificates has so long to live, as if the run had begun long ago. Connections that are open stay;
new handshakes fail from the moment of expiry, by the clock of whoever checks. With `renewal: true` nothing is blocked: the
horizon of a run up to `left` before the end. Source: Epic Games, 6 April 2021; linkerd2#9612.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.model.names import SpiffeId
from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.identity.ca_down import SigningOutage
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref, text
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry
from sim.signing import Outage

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

ALL = "all"


@attrs.define(eq=False, kw_only=True)
class _Expiry(SigningOutage):
    """No renewal, and what has expired by the wall clock of the world."""

    mesh: "SimulatedMesh"
    workload: str
    moved: bool
    _expired: bool = attrs.field(default=False, init=False)

    def bit(self) -> bool:
        self._expired = self._expired or any(left_s <= 0 for left_s in lifetimes_left_s(self.mesh, self.workload))
        return self.moved or self._expired or super().bit()

    def end(self) -> None:
        self.bit()
        super().end()


@attrs.frozen(kw_only=True)
class CertExpiry(Verb):
    """Block the renewal of a workload's certificates, or of all. `left_s` None: the wall clocks stay as they are."""

    word: ClassVar = "cert-expiry"
    about: ClassVar = "certificates are not renewed until they expire"
    keys: ClassVar = {
        "cert-expiry": text("a service, or all"),
        "left": ref("span")
        | {"description": "wall clocks are moved on until the first certificate has so long to live"},
        "renewal": FLAG | {"description": "is not blocked: only the wall clocks are moved"},
    }

    workload: str  # empty: all
    left_s: float | None = None
    renewal: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        cursor = entry.cursors[cls.word]
        workload = cursor.choice((ALL, *entry.names.kind_by_service))
        renewal = entry.flag("renewal")
        if renewal and "left" not in entry:
            entry.cursors["renewal"].refuse("needs left: else nothing happens", "for example left: 1h")
        left_s = entry.cursors["left"].span() if "left" in entry else None
        return cls(workload="" if workload == ALL else workload, left_s=left_s, renewal=renewal)

    def title(self) -> str:
        return f"{self.word} {self.workload}".rstrip()

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        moved = self._move_clocks(mesh)
        outage = Outage(
            reason="renewal is blocked (cert-expiry)",
            concerns=lambda spiffe_id: not self.renewal and self._holds(mesh, spiffe_id),
        )
        signing = mesh.control_planes.signing
        signing.begin(outage)
        return _Expiry(signing=signing, outage=outage, mesh=mesh, workload=self.workload, moved=moved)

    def _holds(self, mesh: "SimulatedMesh", spiffe_id: SpiffeId) -> bool:
        """Is it an identity of the workload: by the sidecars that hold it, or, while none does, by the usual path?"""
        if not self.workload:
            return True
        sidecars = [
            m.sidecar for m in mesh.members.values() if m.what.workload == self.workload and m.sidecar is not None
        ]
        held = {
            sidecar.client.identity.svid.spiffe_id for sidecar in sidecars if sidecar.client.identity.svid is not None
        }
        return spiffe_id in held or spiffe_id.path.endswith(f"/workload/{self.workload}")

    def _move_clocks(self, mesh: "SimulatedMesh") -> bool:
        lefts_s = lifetimes_left_s(mesh, self.workload)
        if self.left_s is None or not lefts_s:
            return False
        leap_s = min(lefts_s) - self.left_s
        if leap_s <= 0:  # Time does not go back.
            return False
        mesh.world.leap(leap_s)
        for member in mesh.members.values():
            # They would have renewed all along; what is blocked is refused now.
            if member.sidecar is not None:
                member.sidecar.client.identity.look_again()
        return True

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        target = draw.one_of(draw.services()) if draw.strength < 5 else ALL
        return {cls.word: target, "left": draw.span(60.0, 1.0)}


def lifetimes_left_s(mesh: "SimulatedMesh", workload: str) -> list[float]:
    """Return for how long the certificates of a workload's running sidecars (empty: of all) are valid, by the world's time."""
    now = mesh.world.epoch + mesh.world.now()
    return [
        expires - now
        for member in mesh.members.values()
        if workload in ("", member.what.workload) and member.host.alive and member.sidecar is not None
        if (expires := member.sidecar.client.status().certificate_expires) is not None
    ]
