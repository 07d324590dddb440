"""`ejected-share`: of a cluster, no more endpoints are ejected than its policy allows (S8). Judged at each ejection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.ejections import Ejections, Place
from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class EjectedShare(Watcher):
    """See the module's text."""

    name: ClassVar = "ejected-share"
    about: ClassVar = "no more endpoints are ejected than the policy allows"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._ejections = Ejections(mesh, self._on_ejected)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        if self._ejections.by_place:
            self._ejections.forget_before(self.mesh.origin_s + now_s)

    def _on_ejected(self, place: Place, event: Event) -> None:
        cluster = self._ejections.cluster(place)
        policy = None if cluster is None else cluster.config.outlier_detection
        if cluster is None or policy is None:
            return
        self.judged += 1
        ejected = {each.endpoint for each in self._ejections.lasting(place)}
        if policy.always_eject_one and len(ejected) == 1:
            return
        if len(ejected) * 100 > policy.ejection_percent_max * len(cluster.endpoints):
            share = f"{len(ejected)} of {len(cluster.endpoints)} endpoints of {place[1]}"
            what = f"{place[0]} ejected {share}, and {policy.ejection_percent_max} % are allowed"
            self.note(what, event.at_s - self.mesh.origin_s)
