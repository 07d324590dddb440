"""What applies where no policy says otherwise: safe settings, not Kuma's.

Kuma's own defaults repeat POSTs, five times a hop, with tries that may take longer than the request, and no budget:
over n hops up to 6^n tries. Here a request that may have reached an application is repeated only where HTTP says that
this is harmless, a budget bounds the load that retries add, and a try is given up before its request is.
"""

from mesh.model.traffic import TlsMode
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.host_selection import HostSelection
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.retry import RetryOn
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.timeout import Timeouts

# A request's head that takes longer is an attack, not a slow client. Kuma's: no limit.
REQUEST_HEADERS_S = 10.0
# Towards services. Kuma's: 15 s for a request, 30 min for a silent stream, 1 h for an idle connection.
OUTBOUND_TIMEOUTS = Timeouts(
    connect_s=5.0, request_s=15.0, idle_s=3600.0, stream_idle_s=1800.0, request_headers_s=REQUEST_HEADERS_S
)
# At inbounds the caller's timeouts rule; these only end what nobody uses. Kuma's: twice the caller's, requests unbounded.
INBOUND_TIMEOUTS = Timeouts(
    connect_s=10.0, request_s=0.0, idle_s=7200.0, stream_idle_s=3600.0, request_headers_s=REQUEST_HEADERS_S
)

RETRIES_MAX = 2
# Source: RFC 9110 section 9.2.2: these methods are idempotent.
RETRY_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
RETRY_CONDITIONS = (RetryOn.GATEWAY_ERROR, RetryOn.RESET, RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM)
# A gRPC call may have acted unless the connection or the peer says that it never arrived.
GRPC_RETRY_CONDITIONS = (RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM, RetryOn.RESET_BEFORE_REQUEST)
# A try may take this share of the request's timeout, so that there is time for a second one.
RETRY_PER_TRY_SHARE = 0.5
RETRY_BACKOFF_BASE_S = 0.025
RETRY_BACKOFF_GROWTH = 10.0  # The longest back-off, in multiples of the first. Kuma's and Envoy's.
# Whoever has just failed is not asked again at once where there is somebody else. Envoy's and Kuma's: anybody is.
HOST_SELECTION = HostSelection(omit_previous_hosts=True, picks_max=3)
RETRY_BUDGET = RetryBudget(percent=20.0, concurrency_min=3)
# A connection that was not made has carried nothing: trying again is always safe.
CONNECT_RETRIES_MAX = 2

LOAD_BALANCING = LoadBalancing()
# Where zones are told apart, traffic leaves one below this share of healthy endpoints. Kuma's.
FAILOVER_THRESHOLD_PERCENT = 50.0
CIRCUIT_BREAKING = CircuitBreakingLimits(
    connections_max=1024, pending_requests_max=1024, requests_max=1024, retries_max=3
)
# Outlier detection is off: it is worth its risk only with detectors that somebody chose for the service.

TLS_MODE = TlsMode.STRICT  # of a proxy with an identity
