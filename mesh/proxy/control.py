"""Control: what a trusted caller's x-envoy-* headers make of its request's retries and timeouts.

Trusted is the application beside an outbound listener, by its loopback address, if it does not hand on somebody else's
request. Source: Envoy's "internal request", source/common/http/conn_manager_utility.cc.
"""

from typing import TYPE_CHECKING

import attrs

from mesh.policy.control_headers import ControlHeaders
from mesh.policy.retry import RetryPolicy, RetryRules
from mesh.policy.timeout import Timeouts
from mesh.runtime.environment import Connection

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange

_REMEMBERED_MAX = 64


@attrs.frozen(kw_only=True, eq=False)
class Steering:
    """The spans and retries of requests, prepared: of a route, or as some header wants them."""

    timeouts: Timeouts
    retry: RetryRules | None  # None: one try
    per_try_s: float
    per_try_idle_s: float


def steering(timeouts: Timeouts, rules: RetryRules) -> Steering:
    """Prepare what rules and timeouts come to."""
    return Steering(
        timeouts=timeouts,
        retry=rules if rules.enabled else None,
        per_try_s=rules.per_try_timeout_s,
        per_try_idle_s=rules.per_try_idle_timeout_s,
    )


class CallerSteering:
    """What the control headers of a route's callers make of it: remembered, since an application repeats itself."""

    __slots__ = ("_policy", "_remembered", "_rules", "_timeouts")

    def __init__(self, policy: RetryPolicy, timeouts: Timeouts, rules: RetryRules) -> None:
        self._policy = policy
        self._timeouts = timeouts
        self._rules = rules
        self._remembered: dict[ControlHeaders, Steering] = {}

    def of(self, headers: ControlHeaders) -> Steering:
        """Return what these headers ask for."""
        found = self._remembered.get(headers)
        if found is None:
            policy, timeouts = headers.apply(self._policy, self._timeouts)
            rules = RetryRules(policy, request_timeout_s=timeouts.request_s, rate_budget=self._rules.rate_budget)
            found = steering(timeouts, rules)
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[headers] = found
        return found


def is_trusted(connection: Connection, *, inbound: bool) -> bool:
    """May the requests of this connection steer us, unless they say that they come from elsewhere?"""
    host = connection.remote.host
    return not inbound and (host.startswith("127.") or host == "::1")


def steer(exchange: "HttpExchange") -> None:
    """Do as a trusted caller's control headers say."""
    head, by_headers = exchange.head, exchange.route.by_headers
    if by_headers is None or head.header(b"x-forwarded-for") is not None:
        return
    headers = ControlHeaders.read(head)
    if headers is None:
        return
    wanted = by_headers.of(headers)
    exchange.timeouts, exchange.rules = wanted.timeouts, wanted.retry
    exchange.per_try_s, exchange.per_try_idle_s = wanted.per_try_s, wanted.per_try_idle_s
    exchange.expected_line = None
