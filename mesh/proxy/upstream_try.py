"""One try of a request at one endpoint: what it holds of the breaker, the pool and the endpoint, and gives back once."""

import errno

from mesh.model.errors import BrokenConnection, ConnectFailed, RemoteProtocolError
from mesh.policy.failure import FailureKind
from mesh.policy.grpc_status import GrpcStatus, read_status
from mesh.protocol.http1 import ResponseHead
from mesh.proxy.cluster import ClusterState
from mesh.proxy.upstream_pool import PoolOverflow, UpstreamConnection, UpstreamEndpoint, connect_failure_kind

# How a try ends without a response and without anybody having ended it. ConnectFailed is a BrokenConnection.
TRY_ERRORS = (PoolOverflow, BrokenConnection, RemoteProtocolError)
# Answers that say that the endpoint is in trouble. Source: linkerd2-proxy `linkerd/load-biaser`.
_FAILURE_STATUSES = frozenset(
    {
        GrpcStatus.UNKNOWN,
        GrpcStatus.DEADLINE_EXCEEDED,
        GrpcStatus.RESOURCE_EXHAUSTED,
        GrpcStatus.INTERNAL,
        GrpcStatus.UNAVAILABLE,
        GrpcStatus.DATA_LOSS,
    }
)
_REASON_BY_ERRNO = {
    errno.ECONNREFUSED: "Connection refused",
    errno.ECONNRESET: "Connection reset by peer",
    errno.EHOSTUNREACH: "No route to host",
    errno.ENETUNREACH: "Network is unreachable",
    errno.ETIMEDOUT: "Connection timed out",
    errno.EADDRNOTAVAIL: "Cannot assign requested address",
}


class UpstreamTry:
    """A try, from the choice of its endpoint to the end of its response. `end` it; only the first call counts."""

    __slots__ = (
        "_admitted",
        "_ended",
        "cluster",
        "endpoint",
        "failure",
        "head",
        "reason",
        "rest",
        "sent",
        "started_at",
        "upstream",
    )

    def __init__(self, cluster: ClusterState, endpoint: UpstreamEndpoint) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.upstream: UpstreamConnection
        self.head: ResponseHead  # once its response has begun
        self.rest = b""  # what came behind the head
        self.failure: FailureKind | None = None  # why there is no response
        self.reason = ""  # what its connection broke with
        self.sent = False  # it has written to its upstream
        self.started_at = 0.0  # only where the balancer wants to know
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
        self.cluster.stats.requests_total += 1
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
        self.cluster.stats.requests_total += 1
        return upstream

    def fail(self, error: Exception, now: float) -> None:
        """It ended without a response, by one of TRY_ERRORS: give everything back, tell the cluster."""
        failure, reason = _failure_of(error)
        if failure is FailureKind.REMOTE_RESET:
            self.cluster.stats.rx_reset += 1
        self._close_failed(failure, reason, now)

    def expire(self, failure: FailureKind, now: float) -> None:
        """It took too long: end it, and tell the cluster."""
        self._count_as_ours()
        self._close_failed(failure, "", now)

    def _close_failed(self, failure: FailureKind, reason: str, now: float) -> None:
        self.failure, self.reason = failure, reason
        self.end(reusable=False)
        self._report_latency(now, failed=True)
        self.cluster.on_local_failure(self.endpoint, failure, reason)

    def abandon(self, now: float) -> None:
        """End it, if it has not ended, although its upstream might have gone on."""
        if self._ended:
            return
        self._count_as_ours()
        self._report_latency(now, failed=False)
        self.end(reusable=False)

    def _count_as_ours(self) -> None:
        """Count that it was we who ended it."""
        stats = self.cluster.stats
        if self._admitted:
            stats.tx_reset += 1
        else:
            stats.cancelled += 1

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

    def answered(self, now: float) -> None:
        """Tell the balancer how long the first byte of the response's body took. Only the first call counts."""
        if not self.started_at:
            return
        head = self.head
        grpc_status = read_status(head.header(b"grpc-status"))
        failed = head.status == 429 or head.status >= 500 or grpc_status in _FAILURE_STATUSES
        self._report_latency(now, failed=failed, retry_after_s=_retry_after_s(head) if failed else None)

    def _report_latency(self, now: float, *, failed: bool, retry_after_s: float | None = None) -> None:
        if self.started_at:  # Else it is not kept, or was told already.
            self.cluster.on_latency(self.endpoint, now - self.started_at, failed, retry_after_s)
            self.started_at = 0.0


def _failure_of(error: Exception) -> tuple[FailureKind, str]:
    """Return what one of TRY_ERRORS counts as, and what the connection broke with."""
    match error:
        case PoolOverflow():
            return FailureKind.OVERFLOW, ""
        case ConnectFailed():
            return connect_failure_kind(error), _connect_reason(error)
        case BrokenConnection():
            reset = error.reason == FailureKind.REMOTE_RESET.value
            return FailureKind.REMOTE_RESET if reset else FailureKind.CONNECTION_TERMINATION, error.reason
        case _:
            return FailureKind.PROTOCOL_ERROR, ""


def _retry_after_s(head: ResponseHead) -> float | None:
    """Return how long an upstream wants to be left alone. Source: RFC 9110 section 10.2.3, gRPC A6 (pushback)."""
    seconds, pushback_ms = head.header(b"retry-after"), head.header(b"grpc-retry-pushback-ms")
    if seconds is not None and seconds.isdigit():
        return float(seconds[:9])
    if pushback_ms is not None and pushback_ms.isdigit():
        return float(pushback_ms[:12]) / 1000.0
    return None


def _connect_reason(error: ConnectFailed) -> str:
    """Return why no connection could be made, in Envoy's words where the operating system said it."""
    cause = error.__cause__
    said = _REASON_BY_ERRNO.get(cause.errno or 0) if isinstance(cause, OSError) else None
    return f"delayed connect error: {said}" if said else error.reason
