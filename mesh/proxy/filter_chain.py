"""The order in which policies look at a request before it is routed. Read top to bottom; a reply ends the chain.

What comes after routing has its own fixed order: see `RoutePlan`, `http_exchange` and `tries`.
"""

from mesh.config.snapshot import InboundListener
from mesh.proxy.inbound_policies import check_permission, inject_faults, limit_rate
from mesh.proxy.plan import RequestFilter

OUTBOUND: tuple[RequestFilter, ...] = ()


def inbound_filters(inbound: InboundListener) -> tuple[RequestFilter, ...]:
    """Return the filters of an inbound, in their order; what is not configured is not asked."""
    chain: tuple[tuple[bool, RequestFilter], ...] = (
        (inbound.permissions is not None, check_permission),
        (bool(inbound.rate_limits), limit_rate),
        (bool(inbound.faults), inject_faults),
    )
    return tuple(request_filter for configured, request_filter in chain if configured)
