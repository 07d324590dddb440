"""From MeshRetry's merged settings to what is tried again, how often, how soon and where."""

from mesh.config import defaults
from mesh.model.traffic import Protocol
from mesh.policy.back_off import RateLimitedBackOff, ResetHeader, ResetHeaderFormat
from mesh.policy.host_selection import HostSelection
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from mesh.resources.mesh_retry import CONDITION_BY_NAME, GRPC_CONDITION_BY_NAME, METHOD_BY_NAME
from mesh.resources.policy import Conf

# What a try that timed out is tried again by: Envoy takes it for a reset without response.
_AFTER_TIMEOUTS = frozenset((RetryOn.SERVER_ERROR, RetryOn.GATEWAY_ERROR, RetryOn.RESET))


def retry_policy(retry: Conf, breaker: Conf, request_s: float, *, protocol: Protocol = Protocol.HTTP) -> RetryPolicy:
    """Translate MeshRetry's `http` or `grpc` settings.

    `breaker` are MeshCircuitBreaker's, `request_s` is the request's timeout.
    """
    is_grpc = protocol is Protocol.GRPC
    conf = retry.get("grpc" if is_grpc else "http", {})
    retries_max = conf.get("numRetries", defaults.RETRIES_MAX)
    if retries_max == 0:
        return RetryPolicy()
    back_off = conf.get("backOff", {})
    base_s = back_off.get("baseInterval", defaults.RETRY_BACKOFF_BASE_S)
    conditions, codes, methods = _retry_on(conf.get("retryOn", ()))
    response_headers = _header_matches(conf.get("retriableResponseHeaders", ()))
    if response_headers:
        conditions += (RetryOn.RETRIABLE_HEADERS,)
    # Who chose conditions chose them for all methods, as in Kuma; who chose none gets the safe ones.
    chosen = bool(conditions or codes)
    if not chosen and is_grpc:
        conditions = defaults.GRPC_RETRY_CONDITIONS
    elif not chosen:
        conditions = defaults.RETRY_CONDITIONS
    safe_methods = not chosen and not methods and not is_grpc
    return RetryPolicy(
        retries_max=retries_max,
        conditions=conditions,
        status_codes=codes,
        methods=defaults.RETRY_METHODS if safe_methods else methods,
        unsent_any_method=safe_methods,
        per_try_timeout_s=conf.get("perTryTimeout", _derived_per_try_timeout_s(conditions, request_s)),
        per_try_timeout_derived="perTryTimeout" not in conf,
        backoff_base_s=base_s,
        backoff_s_max=back_off.get("maxInterval", base_s * defaults.RETRY_BACKOFF_GROWTH),
        budget=_retry_budget(conf, breaker),
        request_headers=_header_matches(conf.get("retriableRequestHeaders", ())),
        response_headers=response_headers,
        rate_limited_back_off=_rate_limited_back_off(conf),
        per_try_idle_timeout_s=conf.get("perTryIdleTimeout", 0.0),
        host_selection=_host_selection(conf),
        hedge_on_per_try_timeout=conf.get("hedgeOnPerTryTimeout", False),
    )


def _derived_per_try_timeout_s(conditions: tuple[RetryOn, ...], request_s: float) -> float:
    """Return a share of the request's time where a try that timed out is tried again; else it would only end sooner (0: off)."""
    return request_s * defaults.RETRY_PER_TRY_SHARE if _AFTER_TIMEOUTS.intersection(conditions) else 0.0


def connect_retries_max(retry: Conf) -> int:
    """Translate MeshRetry's `tcp` settings: how often another connect follows the first."""
    attempts: int = retry.get("tcp", {}).get("maxConnectAttempt", defaults.CONNECT_RETRIES_MAX + 1)
    return attempts - 1


def omitted_tags(policy: RetryPolicy) -> frozenset[str]:
    """Return the keys of the tags that endpoints have to show for a policy's host selection."""
    selection = policy.host_selection
    return frozenset() if selection is None else frozenset(key for group in selection.omitted_tags for key, _ in group)


def _retry_on(names: tuple[str, ...]) -> tuple[tuple[RetryOn, ...], tuple[int, ...], tuple[str, ...]]:
    """Split `retryOn` into conditions, status codes and methods."""
    envoys = {**CONDITION_BY_NAME, **GRPC_CONDITION_BY_NAME}
    conditions = tuple(RetryOn(envoys[name]) for name in names if name in envoys)
    methods = tuple(METHOD_BY_NAME[name] for name in names if name in METHOD_BY_NAME)
    codes = tuple(int(name) for name in names if name.isdigit())
    return conditions, codes, methods


def _header_matches(matches: tuple[Conf, ...]) -> tuple[HeaderMatch, ...]:
    return tuple(
        HeaderMatch(
            name=match["name"].lower(),
            kind=ValueMatchKind(match.get("type", ValueMatchKind.EXACT.value)),
            value=match.get("value", ""),
        )
        for match in matches
    )


def _retry_budget(conf: Conf, breaker: Conf) -> RetryBudget | None:
    if "retryBudget" in conf:
        budget = conf["retryBudget"]
        return RetryBudget(
            percent=budget.get("percent", defaults.RETRY_BUDGET.percent),
            concurrency_min=budget.get("minConcurrency", defaults.RETRY_BUDGET.concurrency_min),
            rate_per_s_min=budget.get("ratePerSecond"),
        )
    # A budget makes a breaker's maxRetries void: where only that was written, it is what was meant.
    return None if "maxRetries" in breaker.get("connectionLimits", {}) else defaults.RETRY_BUDGET


def _rate_limited_back_off(conf: Conf) -> RateLimitedBackOff | None:
    if "rateLimitedBackOff" not in conf:
        return None
    back_off = conf["rateLimitedBackOff"]
    headers = tuple(
        ResetHeader(name=header["name"].lower(), format=ResetHeaderFormat(header["format"]))
        for header in back_off["resetHeaders"]
    )
    return RateLimitedBackOff(reset_headers=headers, interval_s_max=back_off.get("maxInterval", 300.0))


def _host_selection(conf: Conf) -> HostSelection:
    """Join the predicates, of which each may stand once or more; the last `updateFrequency` counts."""
    entries = conf.get("hostSelection", ())
    if not entries:
        return defaults.HOST_SELECTION
    every = [entry.get("updateFrequency", 2) for entry in entries if entry["predicate"] == "OmitPreviousPriorities"]
    return HostSelection(
        omit_previous_hosts=any(entry["predicate"] == "OmitPreviousHosts" for entry in entries),
        omitted_tags=tuple(tuple(sorted(entry["tags"].items())) for entry in entries if entry.get("tags")),
        omit_priorities_every=every[-1] if every else 0,
        picks_max=conf.get("hostSelectionMaxAttempts", 1),
    )
