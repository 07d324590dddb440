"""`permitted`: no request reaches an application whose caller no MeshTrafficPermission lets in (S10).

Judged anew from the resources as written and the identity that the peer proved. Peers without one are `no-plaintext`'s.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.rulings import Rulings
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class Permitted(Watcher):
    """See the module's text."""

    name: ClassVar = "permitted"
    about: ClassVar = "nothing reaches an application without a permission"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._rulings = Rulings(mesh)
        self._known_versions = 1
        # Pairs of callee and peer that every version of the resources permits.
        self._always: dict[tuple[str, str], bool] = {}

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        self._rulings.look(now_s)
        if len(self._rulings.versions) != self._known_versions:
            self._known_versions = len(self._rulings.versions)
            self._always.clear()
        always = self._always
        judged = 0
        for one in seen:
            member, _, record = one
            if record.inbound and record.peer and record.upstream:
                judged += 1
                pair = member, record.peer
                if pair not in always:
                    always[pair] = self._is_always_permitted(*pair)
                if not always[pair] and self._is_forbidden(one):
                    self.note_request("no permission lets it in", one)
        self.judged += judged

    def _is_always_permitted(self, member: str, peer: str) -> bool:
        callee = self._rulings.callee(member)
        return callee is None or all(ruling.permits(callee, peer) for ruling in self._rulings.versions)

    def _is_forbidden(self, one: Seen) -> bool:
        callee = self._rulings.callee(one.member)
        began_s = one.record.started_at - self.mesh.origin_s
        return callee is not None and not any(
            ruling.permits(callee, one.record.peer) for ruling in self._rulings.possible(one.member, began_s)
        )
