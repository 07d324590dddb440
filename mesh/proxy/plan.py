"""Plans: what a listener does with a connection or a request, compiled from the snapshot once per change.

The order of an HTTP request's policies is the order of the fields of `HttpPlan` and `RoutePlan`, top to bottom.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from mesh.model.names import Address
from mesh.model.traffic import TlsMode
from mesh.policy.authorization import Authorizer
from mesh.policy.retry import RetryRules
from mesh.policy.timeout import Timeouts
from mesh.proxy.cluster import ClusterState

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange
    from mesh.proxy.local_reply import LocalReply

RequestFilter = Callable[["HttpExchange"], "LocalReply | None"]


@attrs.frozen(kw_only=True, eq=False)
class RoutePlan:
    """One route, prepared."""

    name: str
    path_prefix: bytes
    # The router's own order: deadlines of the request, then per try: balancer, breaker, pool, per-try span, outlier.
    timeouts: Timeouts
    retry: RetryRules | None  # None: one try
    per_try_s: float  # 0: none
    cluster: ClusterState
    request_headers: bytes  # lines added to every forwarded request


@attrs.frozen(kw_only=True, eq=False)
class HttpPlan:
    """What an HTTP listener does."""

    inbound: bool
    idle_s: float
    headers_s: float
    filters: tuple[RequestFilter, ...]  # before routing: permission, later rate limit and faults
    routes: tuple[RoutePlan, ...]

    def route(self, path: bytes) -> RoutePlan | None:
        """Return the first route whose prefix matches."""
        for route in self.routes:
            if path.startswith(route.path_prefix):
                return route
        return None


@attrs.frozen(kw_only=True, eq=False)
class TcpPlan:
    """What an opaque TCP listener does with a connection."""

    inbound: bool
    idle_s: float
    cluster: ClusterState
    connects_max: int = 1


@attrs.frozen(kw_only=True, eq=False)
class ListenerPlan:
    """What happens to a connection before its bytes mean anything: TLS, then permission, then the protocol."""

    name: str
    address: Address
    handle: HttpPlan | TcpPlan
    tls_mode: TlsMode = TlsMode.OFF
    authorizer: Authorizer | None = None  # None: permissions are not enforced
    own_id: str = ""  # the SPIFFE ID that inbound requests are told they came to
