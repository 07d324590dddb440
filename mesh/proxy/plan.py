"""Plans: what a listener does with a connection or a request, compiled from the snapshot once per change.

The order of an HTTP request's policies is the order of the fields of `HttpPlan` and `RoutePlan`, top to bottom.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from mesh.model.names import Address
from mesh.model.security import TlsParameters
from mesh.model.traffic import TlsMode
from mesh.policy.authorization import Authorizer
from mesh.policy.callers import CallerTable
from mesh.policy.rate_limit import ConnectionLimiter
from mesh.policy.request_hash import RequestHasher
from mesh.policy.retry import RetryRules
from mesh.policy.route_table import RouteTable
from mesh.policy.routing import PathRewrite, Redirect
from mesh.policy.timeout import Timeouts
from mesh.proxy.backends import NOWHERE, Backends
from mesh.proxy.cluster import ClusterState
from mesh.proxy.control import CallerSteering

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange
    from mesh.proxy.inbound_policies import InboundFaults, InboundRateLimiter
    from mesh.proxy.local_reply import LocalReply

RequestFilter = Callable[["HttpExchange"], "LocalReply | Pause | None"]


@attrs.frozen(kw_only=True, eq=False)
class Pause:
    """A filter's wish: let the request wait, then answer it, or go on with the next filter."""

    delay_s: float
    then: "LocalReply | None" = None


@attrs.frozen(kw_only=True, eq=False)
class MirrorPlan:
    """A cluster that gets a copy of so many requests in a hundred."""

    cluster: ClusterState
    percent: float


@attrs.frozen(kw_only=True, eq=False)
class RoutePlan:
    """One route, prepared. What is None, empty or 0 is not configured and costs its requests one comparison."""

    name: str
    prefix: bytes = b""  # what of the path it matched, where it matched by that
    redirect: Redirect | None = None  # answered at once
    cluster: ClusterState | None = None  # None: drawn from `backends`, or the route leads nowhere
    backends: Backends = NOWHERE
    # The router's own order: deadlines of the request, then per try: balancer, breaker, pool, per-try span, outlier.
    timeouts: Timeouts
    retry: RetryRules | None = None  # None: one try
    per_try_s: float = 0.0
    per_try_idle_s: float = 0.0
    by_headers: CallerSteering | None = None
    timed_methods: frozenset[bytes] | None = None  # those that `per_try_s` is for; None: all
    extras: bool = False  # there is a hasher, or a budget that requests pay into
    hasher: RequestHasher | None = None
    mirrors: tuple[MirrorPlan, ...] = ()
    # How heads are sent on. Lines are complete; of `removes` there are few different ones, since heads remember them.
    host: bytes = b""  # takes the place of the client's
    rewrite: PathRewrite | None = None
    request_lines: bytes = b""
    expected_line: bytes = b""  # how long an upstream may take; as `timeouts` and `per_try_s` say
    request_removes: frozenset[bytes] = frozenset()
    response_lines: bytes = b""
    response_removes: frozenset[bytes] = frozenset()


@attrs.frozen(kw_only=True, eq=False)
class CallerSpans:
    """The spans of some callers' requests, and what an upstream is told of them."""

    timeouts: Timeouts
    expected_line: bytes


UNROUTED = RoutePlan(name="", timeouts=Timeouts())  # of a request that is not routed yet


@attrs.frozen(kw_only=True, eq=False)
class HttpPlan:
    """What an HTTP listener does."""

    inbound: bool
    idle_s: float
    headers_s: float
    connection_s_max: float = 0.0
    filters: tuple[RequestFilter, ...]  # before routing: permission, rate limit, faults
    rate_limiter: "InboundRateLimiter | None" = None
    faults: "InboundFaults | None" = None
    routes: RouteTable[RoutePlan]
    caller_spans: CallerTable[CallerSpans] | None = None  # in the place of a route's


NO_HTTP = HttpPlan(inbound=False, idle_s=0.0, headers_s=0.0, filters=(), routes=RouteTable(()))


@attrs.frozen(kw_only=True, eq=False)
class TcpPlan:
    """What an opaque TCP listener does with a connection."""

    inbound: bool
    idle_s: float
    backends: Backends
    hasher: RequestHasher | None = None  # of what is known of a connection: where it comes from
    connects_max: int = 1


@attrs.frozen(kw_only=True, eq=False)
class ListenerPlan:
    """What happens to a connection before its bytes mean anything: its rate, TLS, permission, then the protocol."""

    name: str
    address: Address
    handle: HttpPlan | TcpPlan
    connection_limiter: ConnectionLimiter | None = None
    tls_mode: TlsMode = TlsMode.OFF
    tls_parameters: TlsParameters = TlsParameters()
    authorizer: Authorizer | None = None  # None: permissions are not enforced
    own_id: str = ""  # the SPIFFE ID that inbound requests are told they came to
