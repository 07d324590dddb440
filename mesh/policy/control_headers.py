"""Control headers: what a trusted caller may ask of the retries and timeouts of its own request.

Who is trusted is the proxy's decision; everybody's control headers end here (`CONTROL_NAMES`). What cannot be read is
passed over, never answered with an error. Source: Envoy docs "HTTP header manipulation", router_filter.rst;
source/common/router/{retry_state_impl.cc, router.cc FilterUtility::finalTimeout, finalHedgingParams}.

Not done: `grpc-timeout`, which Envoy honours only with `grpc_timeout_header_max`, which Kuma never sets;
`x-envoy-upstream-rq-timeout-alt-response`, `x-envoy-upstream-stream-duration-ms` and `x-envoy-upstream-alt-stat-name`.
"""

from collections.abc import Iterable
from typing import TypeVar

import attrs

from mesh.policy.header_match import Headers
from mesh.policy.header_value import unsigned
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from mesh.policy.timeout import Timeouts

T = TypeVar("T")

_RETRY_ON = b"x-envoy-retry-on"
_RETRY_GRPC_ON = b"x-envoy-retry-grpc-on"
_MAX_RETRIES = b"x-envoy-max-retries"
_STATUS_CODES = b"x-envoy-retriable-status-codes"
_HEADER_NAMES = b"x-envoy-retriable-header-names"
_TIMEOUT_MS = b"x-envoy-upstream-rq-timeout-ms"
_PER_TRY_TIMEOUT_MS = b"x-envoy-upstream-rq-per-try-timeout-ms"
_HEDGE = b"x-envoy-hedge-on-per-try-timeout"
_READ = (
    _RETRY_ON,
    _RETRY_GRPC_ON,
    _MAX_RETRIES,
    _STATUS_CODES,
    _HEADER_NAMES,
    _TIMEOUT_MS,
    _PER_TRY_TIMEOUT_MS,
    _HEDGE,
)
# Not sent on, whoever wrote them: they were meant for us, or claim to be.
CONTROL_NAMES = frozenset(
    (
        *_READ,
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-upstream-rq-timeout-alt-response",
        b"x-envoy-upstream-stream-duration-ms",
        b"x-envoy-upstream-alt-stat-name",
    )
)

_GRPC_CONDITIONS = {
    condition.value.encode(): condition
    for condition in (
        RetryOn.CANCELLED,
        RetryOn.DEADLINE_EXCEEDED,
        RetryOn.INTERNAL,
        RetryOn.RESOURCE_EXHAUSTED,
        RetryOn.UNAVAILABLE,
    )
}
_CONDITIONS = {
    condition.value.encode(): condition for condition in RetryOn if condition.value.encode() not in _GRPC_CONDITIONS
}
# What one header may make us compare with each response.
_LIST_ITEMS_MAX = 32
_RETRIES_MAX = 2**32 - 1
_TIMEOUT_MS_MAX = 2**32 - 1
# Envoy's num_retries where a request asks for retries and its route has no policy.
_RETRIES_WITHOUT_POLICY = 1


@attrs.frozen(kw_only=True)
class ControlHeaders:
    """What one request asks for; None or empty: nothing. As a value it serves for a memo of what was made of it."""

    conditions: tuple[RetryOn, ...] = ()
    retries_max: int | None = None
    status_codes: tuple[int, ...] = ()
    response_headers: tuple[HeaderMatch, ...] = ()
    request_s: float | None = None
    per_try_timeout_s: float | None = None
    hedges: bool | None = None

    @classmethod
    def read(cls, request: Headers) -> "ControlHeaders | None":
        """Read a request's control headers; None: there are none.

        Eight lookups: ask only requests of which a cheaper look says that they may have some.
        """
        values = [request.header(name) for name in _READ]
        retry_on, grpc_on, retries, codes, names, timeout_ms, per_try_ms, hedge = values
        if all(value is None for value in values):
            return None
        conditions = [_CONDITIONS.get(item) for item in _items(retry_on)]
        conditions += [_GRPC_CONDITIONS.get(item) for item in _items(grpc_on)]
        return cls(
            conditions=_distinct(conditions),
            retries_max=_at_most(retries, _RETRIES_MAX),
            status_codes=_distinct(unsigned(item, most=999) for item in _items(codes)),
            response_headers=tuple(
                HeaderMatch(name=name.decode("latin-1"), kind=ValueMatchKind.PRESENT)
                for name in _distinct(item.lower() for item in _items(names))
            ),
            request_s=_seconds(timeout_ms),
            per_try_timeout_s=_seconds(per_try_ms),
            hedges={b"true": True, b"false": False}.get(hedge or b""),
        )

    def apply(self, policy: RetryPolicy, timeouts: Timeouts) -> tuple[RetryPolicy, Timeouts]:
        """Return a route's policy and timeouts as this request wants them.

        Conditions, status codes and headers join those of the policy; numbers and spans take their place. What the policy
        says of methods, request headers, budget and back-off stays.
        """
        if self.request_s is not None:
            timeouts = attrs.evolve(timeouts, request_s=self.request_s)
        if self.per_try_timeout_s is not None:
            policy = attrs.evolve(policy, per_try_timeout_s=self.per_try_timeout_s)
        if self.hedges is not None:
            policy = attrs.evolve(policy, hedge_on_per_try_timeout=self.hedges)
        own = bool(policy.conditions or policy.status_codes)
        if not own and not self.conditions:
            return policy, timeouts  # Neither the route nor the request wants retries.
        conditions = tuple(dict.fromkeys(policy.conditions + self.conditions))
        # The policy's own codes count without the condition that Envoy wants for them, a request's do not.
        codes_count = bool(policy.status_codes) or RetryOn.RETRIABLE_STATUS_CODES in conditions
        retries_max = policy.retries_max if own else _RETRIES_WITHOUT_POLICY
        policy = attrs.evolve(
            policy,
            conditions=conditions,
            status_codes=policy.status_codes + (self.status_codes if codes_count else ()),
            response_headers=policy.response_headers + self.response_headers,
            retries_max=retries_max if self.retries_max is None else self.retries_max,
        )
        return policy, timeouts


def _items(value: bytes | None) -> list[bytes]:
    if value is None:
        return []
    items = [item.strip(b" \t") for item in value.split(b",", _LIST_ITEMS_MAX)[:_LIST_ITEMS_MAX]]
    return [item for item in items if item]


def _distinct(items: Iterable[T | None]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for item in items if item is not None))


def _at_most(value: bytes | None, most: int) -> int | None:
    number = unsigned(value)
    return None if number is None else min(number, most)


def _seconds(value: bytes | None) -> float | None:
    number = _at_most(value, _TIMEOUT_MS_MAX)
    return None if number is None else number / 1000.0
