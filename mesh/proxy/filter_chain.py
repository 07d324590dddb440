"""The order in which policies look at a request before it is routed. Read top to bottom; a reply ends the chain.

What comes after routing has its own fixed order: see `RoutePlan` and `http_exchange`.
"""

from mesh.proxy.http_exchange import HttpExchange
from mesh.proxy.local_reply import ACCESS_DENIED, LocalReply
from mesh.proxy.plan import RequestFilter


def check_permission(exchange: HttpExchange) -> LocalReply | None:
    """Refuse a peer that no permission lets in: by today's permissions, however old its connection is."""
    return ACCESS_DENIED if exchange.http.denied() else None


INBOUND: tuple[RequestFilter, ...] = (check_permission,)
OUTBOUND: tuple[RequestFilter, ...] = ()
