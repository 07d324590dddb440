"""`no-plaintext`: where mutual TLS is Strict, nothing reaches an application without a proven identity (S10).

Judged from MeshIdentity and MeshTLS as written. A proxy that one MeshTLS makes Permissive is not judged, whatever another says:
which of the two counts is a matter of order, and of other tests.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.rulings import Rulings
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class NoPlaintext(Watcher):
    """See the module's text."""

    name: ClassVar = "no-plaintext"
    about: ClassVar = "under Strict, nothing reaches an application without a proven identity"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._rulings = Rulings(mesh)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        self._rulings.look(now_s)
        judged = 0
        for one in seen:
            record = one.record
            if record.inbound and record.upstream:
                judged += 1
                if not record.peer and self._is_forbidden(one):
                    self.note_request("came in plaintext", one)
        self.judged += judged

    def _is_forbidden(self, one: Seen) -> bool:
        callee = self._rulings.callee(one.member)
        began_s = one.record.started_at - self.mesh.origin_s
        return callee is not None and all(
            ruling.is_strict(callee) for ruling in self._rulings.possible(one.member, began_s)
        )
