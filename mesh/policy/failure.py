"""How one try at an upstream failed, without a usable response: the word that retries and outlier detection share.

The proxy classifies a failure once, here, and hands it to both. Source: Envoy `Http::StreamResetReason`,
source/common/http/utility.cc resetReasonToString, source/common/router/router.cc streamResetReasonToResponseFlag.
"""

import enum

from mesh.model.traffic import ResponseFlag


class FailureKind(enum.Enum):
    """The value is Envoy's word for the reason, as bodies (`reset reason: ...`) and response details carry it."""

    CONNECT_FAILURE = "remote connection failure"  # refused, unreachable, or TLS failed
    CONNECT_TIMEOUT = "connection timeout"
    CONNECTION_TERMINATION = "connection termination"  # the connection ended before a complete response
    REMOTE_RESET = "remote reset"
    REFUSED_STREAM = "remote refused stream reset"  # HTTP/2: the peer promises that it did nothing
    PROTOCOL_ERROR = "protocol error"
    PER_TRY_TIMEOUT = "upstream_per_try_timeout"
    PER_TRY_IDLE_TIMEOUT = "upstream_per_try_idle_timeout"
    REQUEST_TIMEOUT = "response_timeout"  # the route's timeout: all tries together
    OVERFLOW = "overflow"  # our own circuit breaker refused; the upstream is not to blame

    @property
    def flag(self) -> ResponseFlag:
        """The response flag of a request that ends with this failure."""
        return _FLAG_BY_KIND[self]


_FLAG_BY_KIND = {
    FailureKind.CONNECT_FAILURE: ResponseFlag.UPSTREAM_CONNECTION_FAILURE,
    FailureKind.CONNECT_TIMEOUT: ResponseFlag.UPSTREAM_CONNECTION_FAILURE,
    FailureKind.CONNECTION_TERMINATION: ResponseFlag.UPSTREAM_CONNECTION_TERMINATION,
    FailureKind.REMOTE_RESET: ResponseFlag.UPSTREAM_REMOTE_RESET,
    FailureKind.REFUSED_STREAM: ResponseFlag.UPSTREAM_REMOTE_RESET,
    FailureKind.PROTOCOL_ERROR: ResponseFlag.UPSTREAM_PROTOCOL_ERROR,
    FailureKind.PER_TRY_TIMEOUT: ResponseFlag.UPSTREAM_TIMEOUT,
    FailureKind.PER_TRY_IDLE_TIMEOUT: ResponseFlag.UPSTREAM_TIMEOUT,
    FailureKind.REQUEST_TIMEOUT: ResponseFlag.UPSTREAM_TIMEOUT,
    FailureKind.OVERFLOW: ResponseFlag.UPSTREAM_OVERFLOW,
}
