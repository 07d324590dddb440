"""`token-revoked`: the tokens with which some sidecars join are taken back: a stolen credential, a decommissioning, a mistake.

Their ids are added to the mesh's list of revoked tokens, as `mesh generate` and the API do it. The control plane ends their
streams and refuses them from then on; the data plane goes on with the last configuration and certificate, and is stale from
that moment. Sidecars of a restarted host have the same token still. When it is over the ids are taken off the list, as if new
tokens had been handed out.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.control.initial_resources import secret
from mesh.identity.token_authority import TokenKind, revocations_secret
from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import Member, SimulatedMesh


@attrs.define(eq=False)
class _Revocation:
    """Tokens that are revoked; `refused` of their sidecars have heard of it."""

    mesh: "SimulatedMesh"
    members: list["Member"]
    _refused: bool = attrs.field(default=False, init=False)

    def end(self) -> None:
        self.bit()
        self._unrevoke(self.members)

    def _unrevoke(self, members: list["Member"]) -> None:
        for member in members:
            member.revoked = False
        self.members = [member for member in self.members if member.revoked]
        list_revoked(self.mesh)

    def bit(self) -> bool:
        self._refused = self._refused or any(
            member.sidecar is not None and "revoked" in member.sidecar.client.status().last_error
            for member in self.members
        )
        return self._refused

    def spare(self, core: frozenset[str]) -> bool:
        self.bit()
        self._unrevoke([member for member in self.members if member.name in core])
        return True


@attrs.frozen(kw_only=True)
class TokenRevoked(Verb):
    """Revoke the tokens of an instance, of a service's instances, or of all in a zone."""

    word: ClassVar = "token-revoked"
    about: ClassVar = "the tokens with which sidecars join are taken back"
    keys: ClassVar = {"token-revoked": text("a service, an instance or a zone")}
    reach: ClassVar = Reach.PROCESSES
    alarms: ClassVar = ("control_plane.refused_us",)

    target: str

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(target=entry.names.refuse_unknown_target(entry.cursors[cls.word], zones=True))

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        members = [m for m in mesh.members.values() if self.target in (m.name, m.what.workload, m.what.zone)]
        for member in members:
            member.revoked = True
        list_revoked(mesh)
        return _Revocation(mesh, members)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of(draw.names.instances if draw.strength < 6 else draw.services())}


def list_revoked(mesh: "SimulatedMesh") -> None:
    """Write the mesh's list of revoked tokens; one that nobody stands on is no longer kept."""
    key = revocations_secret(TokenKind.DATAPLANE, mesh=mesh.scenario.mesh)
    ids = [member.token_id for member in mesh.members.values() if member.revoked]
    others = tuple(resource for resource in mesh.resources if resource.key != key)
    mesh.replace_resources((*others, secret(key, ",".join(ids).encode())) if ids else others)
