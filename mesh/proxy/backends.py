"""Backends: among which clusters the requests of a route, or its connections, are shared. One draw each.

Source: Envoy `WeightedCluster`, source/common/router/weighted_cluster_specifier.cc: the draw holds for all tries.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from mesh.model.randomness import Random
from mesh.proxy.cluster import ClusterState


class Backends:
    """Clusters and their weights. None as a cluster: that share leads nowhere, since what it named is not there."""

    __slots__ = ("_bounds", "_clusters", "_total")

    def __init__(self, shares: Sequence[tuple[ClusterState | None, int]]) -> None:
        weighted = [(cluster, weight) for cluster, weight in shares if weight > 0]
        self._clusters = [cluster for cluster, _ in weighted]
        self._bounds = list(accumulate(weight for _, weight in weighted))
        self._total = self._bounds[-1] if self._bounds else 0

    @property
    def only(self) -> ClusterState | None:
        """The cluster that gets everything, so that nothing has to be drawn; None when there is no such one."""
        return self._clusters[0] if len(self._clusters) == 1 else None

    def draw(self, random: Random) -> ClusterState | None:
        """Return the cluster of one request; None: answer it as unresolved."""
        if not self._total:
            return None
        return self._clusters[bisect_right(self._bounds, int(random.random() * self._total))]


NOWHERE = Backends(())
