"""What an inbound does with its callers' requests: lets them in or not, limits their rate, injects faults.

Filters of `filter_chain`; each policy is prepared once per change of the configuration and decided by `mesh.policy`.
Source: data recorded from Envoy 1.40 (status, body, flags and details of each answer).
"""

from typing import TYPE_CHECKING

import attrs

from mesh.model.traffic import ResponseFlag
from mesh.policy.authorization import Verdict
from mesh.policy.fault_injection import DrawnFaults, Fault, FaultInjector
from mesh.policy.header_changes import PreparedChanges
from mesh.policy.rate_limit import CallerRateLimit, RateLimit, RateLimiter
from mesh.proxy.local_reply import ACCESS_DENIED, LocalReply
from mesh.proxy.plan import Pause

if TYPE_CHECKING:
    from mesh.proxy.http_exchange import HttpExchange

_BODILESS = (204, 205, 304)  # Bytes behind such a head would be taken for the next response.
_REFUSAL_STATUS_MIN = 400  # Source: Envoy local_ratelimit: what is below becomes 429.


class InboundRateLimiter:
    """The rate limits of one inbound, with the answers above them."""

    __slots__ = ("_reply_by_limit", "limiter")

    def __init__(self, limits: tuple[CallerRateLimit, ...], previous: "InboundRateLimiter | None" = None) -> None:
        """`previous`: the one that this replaces; its counts go on, and its buckets where their rate has not changed."""
        self.limiter: RateLimiter = RateLimiter(limits, None if previous is None else previous.limiter)
        # By identity: whoever is refused often must not pay for comparing values. `limits` are kept alive by the limiter.
        self._reply_by_limit = {id(entry.limit): _refusal(entry.limit) for entry in limits if entry.limit is not None}

    def refusal(self, spiffe_id: str, sni: str, now: float) -> LocalReply | None:
        """Take a token for a caller's request. None: it may go on."""
        limit = self.limiter.admit(spiffe_id, sni, now)
        return None if limit is None else self._reply_by_limit[id(limit)]


class InboundFaults:
    """The faults of one inbound, with the answers of those that abort."""

    __slots__ = ("_reply_by_status", "injector")

    def __init__(self, faults: tuple[Fault, ...], previous: "InboundFaults | None" = None) -> None:
        """`previous`: the one that this replaces; its counts go on."""
        self.injector: FaultInjector = FaultInjector(faults, None if previous is None else previous.injector)
        statuses = [fault.abort.status for fault in faults if fault.abort is not None]
        self._reply_by_status = {status: _abort(status) for status in statuses}

    def reply(self, drawn: DrawnFaults) -> LocalReply | None:
        """Return the answer of an abort that was drawn."""
        return self._reply_by_status[drawn.abort_status] if drawn.abort_status else None


def check_permission(exchange: "HttpExchange") -> LocalReply | None:
    """Refuse a peer that no permission lets in: by today's permissions, however old its connection is."""
    authorizer, decision = exchange.http.authorization()
    if authorizer is None:
        return None
    if decision.verdict is Verdict.ALLOWED:  # The usual case, without a call more than it takes.
        authorizer.counts.allowed += 1
        return None
    authorizer.counts.add(decision.verdict)
    if decision.verdict is Verdict.DENIED:
        return attrs.evolve(ACCESS_DENIED, detail=decision.denied_detail)
    if decision.verdict is Verdict.ALLOWED_SHADOW_DENIED:
        exchange.record.shadow_denied = decision.denied_detail
    return None


def limit_rate(exchange: "HttpExchange") -> LocalReply | None:
    """Refuse a request above its caller's rate."""
    http = exchange.http
    limiter = http.plan.rate_limiter
    if limiter is None:
        return None
    return limiter.refusal(http.peer, http.connection.sni, http.reactor.now())


def inject_faults(exchange: "HttpExchange") -> "LocalReply | Pause | None":
    """Delay a request, answer it with an error, slow its response down, as it is drawn for it.

    It happens before anything is tried, so that a proxy never retries an abort of its own.
    """
    http = exchange.http
    faults = http.plan.faults
    if faults is None:
        return None
    drawn = faults.injector.draw(http.peer, http.connection.sni, http.context.random)
    if drawn is None:
        return None
    exchange.begin_fault(faults.injector.counts)
    exchange.response_bytes_per_s = drawn.bytes_per_s
    reply = faults.reply(drawn)
    if not drawn.delay_s:
        return reply
    exchange.record.flags += (ResponseFlag.DELAY_INJECTED,)
    return Pause(delay_s=drawn.delay_s, then=reply)


def _refusal(limit: RateLimit) -> LocalReply:
    return LocalReply(
        status=limit.status if limit.status >= _REFUSAL_STATUS_MIN else 429,
        body=b"local_rate_limited",
        flags=(ResponseFlag.RATE_LIMITED,),
        detail="local_rate_limited",
        headers=PreparedChanges((limit.headers,)).lines,
    )


def _abort(status: int) -> LocalReply:
    return LocalReply(
        status=status,
        body=b"" if status in _BODILESS else b"fault filter abort",
        flags=(ResponseFlag.FAULT_INJECTED,),
        detail="fault_filter_abort",
    )
