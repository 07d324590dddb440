"""Who is ejected where, learned from the event log: one account of our own beside the detectors'.

Forgotten with the life of the proxy's host, with the cluster, and when outlier detection is switched off there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from sim.event_log import Event

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState
    from sim.assembly import SimulatedMesh

Place = tuple[str, str]  # proxy, cluster


@attrs.define(eq=False)
class Ejected:
    """One ejection. `returned_s` inf: it lasts. Times are seconds of virtual time."""

    endpoint: str
    address: str  # `ip:port`
    ejected_s: float
    returned_s: float = float("inf")


@attrs.define(eq=False)
class Ejections:
    """All ejections of a run, as far as they still matter."""

    mesh: "SimulatedMesh"
    on_ejected: Callable[[Place, Event], None] = lambda place, event: None
    by_place: dict[Place, list[Ejected]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        log = self.mesh.world.log
        log.on("endpoint.ejected", self._on_ejected)
        log.on("endpoint.returned", self._on_returned)
        log.on("configuration.applied", self._on_applied)
        log.on("host.started", self._on_started)

    def cluster(self, place: Place) -> "ClusterState | None":
        member = self.mesh.members.get(place[0])
        return None if member is None or member.sidecar is None else member.sidecar.clusters.get(place[1])

    def lasting(self, place: Place) -> list[Ejected]:
        """Return the endpoints that are ejected now, and are still those that were."""
        cluster = self.cluster(place)
        if cluster is None:
            return []
        there = {endpoint.name: endpoint.label for endpoint in cluster.endpoints.values()}
        return [
            each
            for each in self.by_place.get(place, ())
            if each.returned_s == float("inf") and there.get(each.endpoint) == each.address
        ]

    def forget_before(self, moment_s: float) -> None:
        """Forget ejections that were over at a moment."""
        for place in [place for place, ejected in self.by_place.items() if ejected[0].returned_s < moment_s]:
            kept = [each for each in self.by_place[place] if each.returned_s >= moment_s]
            if kept:
                self.by_place[place] = kept
            else:
                del self.by_place[place]

    def _on_ejected(self, event: Event) -> None:
        place = event.host, event.fields["cluster"]
        cluster = self.cluster(place)
        endpoint = None if cluster is None else cluster.endpoints.get(event.fields["endpoint"])
        if endpoint is not None:
            ejected = Ejected(endpoint.name, endpoint.label, event.at_s)
            self.by_place.setdefault(place, []).append(ejected)
            self.on_ejected(place, event)

    def _on_returned(self, event: Event) -> None:
        for each in self.by_place.get((event.host, event.fields["cluster"]), ()):
            if each.endpoint == event.fields["endpoint"]:
                each.returned_s = min(each.returned_s, event.at_s)

    def _on_applied(self, event: Event) -> None:
        """Of clusters and endpoints that have gone, or are watched no more, nothing is remembered."""
        for place in [place for place in self.by_place if place[0] == event.host]:
            cluster = self.cluster(place)
            if cluster is None or cluster.config.outlier_detection is None:
                self._end(place, event.at_s)
                continue
            stays = {id(each) for each in self.lasting(place)}
            for each in self.by_place[place]:
                if id(each) not in stays:
                    each.returned_s = min(each.returned_s, event.at_s)

    def _on_started(self, event: Event) -> None:
        for place in [place for place in self.by_place if place[0] == event.host]:
            self._end(place, event.at_s)

    def _end(self, place: Place, at_s: float) -> None:
        for each in self.by_place[place]:
            each.returned_s = min(each.returned_s, at_s)
