"""Request hash: which properties of a request say that it belongs with another, for balancers that hash.

Source: Kuma MeshLoadBalancingStrategy `hashPolicies`; Envoy `RouteAction.HashPolicy`, source/common/http/hash_policy.cc.
"""

import enum

import attrs


class HashSource(enum.Enum):
    """What is hashed. Kuma's words."""

    HEADER = "Header"
    COOKIE = "Cookie"
    CONNECTION = "Connection"  # the client's IP address
    QUERY_PARAMETER = "QueryParameter"


@attrs.frozen(kw_only=True)
class HashPolicy:
    """One property. With `terminal` later ones count only where this one and all before it gave nothing.

    `name`: of the header (lower case), cookie or parameter. A cookie with a `cookie_ttl_s` that the request does not have
    is made up and set on the response (0: for the session); None: it is only read.
    """

    source: HashSource
    name: str = ""
    terminal: bool = False
    cookie_ttl_s: float | None = None
    cookie_path: str = ""
