"""`ejected-idle`: an endpoint that is ejected gets no request, unless its cluster panics (S7).

Each try is judged by the moment at which its endpoint was chosen. Whether a choice was made in panic is what the
cluster counts: where that count stood still between two looks, no choice was.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from mesh.model.traffic import ResponseFlag
from sim.checks.ejections import Ejections, Place
from sim.checks.inspection import Seen
from sim.checks.tries import tries_of
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_REBUILD_S = 0.2  # Large clusters take changes of health in together, up to this much later.
_LONGEST_S = 120.0  # Longer requests are not judged.


class EjectedIdle(Watcher):
    """See the module's text."""

    name: ClassVar = "ejected-idle"
    about: ClassVar = "an ejected endpoint gets nothing outside panic"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._ejections = Ejections(mesh)
        self._panics: dict[Place, tuple[int, int, float]] = {}  # life, picks in panic, when they last grew

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        by_place = self._ejections.by_place
        self._note_panics(now_s)
        if not by_place:
            return
        for one in seen:
            record = one.record
            place = one.member, record.cluster
            if place in by_place and record.upstream and not record.inbound:
                self._judge(one, place)
        self._ejections.forget_before(self.mesh.origin_s + now_s - _LONGEST_S)

    def _judge(self, one: Seen, place: Place) -> None:
        if ResponseFlag.DELAY_INJECTED in one.record.flags or one.record.bytes_received:
            return
        self.judged += 1
        cluster = self._ejections.cluster(place)
        slack_s = _REBUILD_S if cluster is not None and len(cluster.endpoints) > 100 else 0.0
        for began, upstream in tries_of(one.record):
            for each in self._ejections.by_place[place]:
                was_out = each.address == upstream and each.ejected_s + slack_s < began < each.returned_s
                if was_out and not self._panicked(place, began - self.mesh.origin_s):
                    since_s = each.ejected_s - self.mesh.origin_s
                    self.note_request(f"went to {each.endpoint}, ejected at {since_s:.3f} s", one)
                    return

    def _note_panics(self, now_s: float) -> None:
        for view in self.proxies:
            for cluster in view.clusters:
                if cluster.panic_picks:
                    place = view.member, cluster.name
                    known = self._panics.get(place)
                    if known is None or known[:2] != (view.life, cluster.panic_picks):
                        self._panics[place] = (view.life, cluster.panic_picks, now_s)

    def _panicked(self, place: Place, began_s: float) -> bool:
        """May the choice of a moment have been made in panic?"""
        known = self._panics.get(place)
        return known is not None and began_s <= known[2]
