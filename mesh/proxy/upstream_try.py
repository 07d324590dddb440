"""One try of a request at one endpoint: what it holds of the breaker, the pool and the endpoint, and gives back once."""

from mesh.protocol.http1 import ResponseHead
from mesh.proxy.cluster import ClusterState
from mesh.proxy.upstream_pool import PoolOverflow, UpstreamConnection, UpstreamEndpoint


class UpstreamTry:
    """A try, from the choice of its endpoint to the end of its response. `end` it; only the first call counts."""

    __slots__ = ("_admitted", "_ended", "cluster", "endpoint", "head", "rest", "upstream")

    def __init__(self, cluster: ClusterState, endpoint: UpstreamEndpoint) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.upstream: UpstreamConnection
        self.head: ResponseHead  # once its response has begun
        self.rest = b""  # what came behind the head
        self._admitted = False
        self._ended = False
        endpoint.active += 1

    def take_idle(self) -> UpstreamConnection | None:
        """Use the connection that became idle last; None when there is none. Raises: PoolOverflow."""
        endpoint = self.endpoint
        if not endpoint.idle:
            return None
        if not self.cluster.breaker.admit_request():
            raise PoolOverflow
        self._admitted = True
        self.upstream = upstream = endpoint.idle.pop()
        upstream.idle = False
        return upstream

    async def connect(self, deadline: float) -> UpstreamConnection:
        """Get a connection and a place among the cluster's requests. Raises: PoolOverflow, ConnectFailed, DeadlineExceeded."""
        pool = self.cluster.pool
        upstream = await pool.open(self.endpoint, deadline=deadline)
        if not self.cluster.breaker.admit_request():
            pool.release(upstream)
            raise PoolOverflow
        self.upstream = upstream
        self._admitted = True
        return upstream

    def end(self, *, reusable: bool) -> None:
        """Give everything back; `reusable`: the response was read whole and the connection can carry the next request."""
        if self._ended:
            return
        self._ended = True
        self.endpoint.active -= 1
        if self._admitted:
            self.cluster.breaker.release_request()
            if reusable:
                self.cluster.pool.release(self.upstream)
            else:
                self.cluster.pool.discard(self.upstream)
