"""From merged settings, in Kuma's words, to the values that policies run on; what was not set comes from the defaults."""

from mesh.config import defaults
from mesh.model.traffic import TlsMode
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.passthrough import DestinationKind, Passthrough, PassthroughMatch, PassthroughMode, PassthroughProtocol
from mesh.policy.retry import RetryBudget, RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.resources.mesh_retry import CONDITION_BY_NAME, METHOD_BY_NAME
from mesh.resources.policy import Conf

# Types that are kept without effect yet get the default, as the warning at their reading says.
_BALANCER_BY_TYPE = {balancer.value: balancer for balancer in Balancer}


def timeouts(conf: Conf, default: Timeouts) -> Timeouts:
    """Translate MeshTimeout's settings."""
    http = conf.get("http", {})
    return Timeouts(
        connect_s=conf.get("connectionTimeout", default.connect_s),
        request_s=http.get("requestTimeout", default.request_s),
        idle_s=conf.get("idleTimeout", default.idle_s),
        stream_idle_s=http.get("streamIdleTimeout", default.stream_idle_s),
        request_headers_s=http.get("requestHeadersTimeout", default.request_headers_s),
        stream_s_max=http.get("maxStreamDuration", default.stream_s_max),
        connection_s_max=http.get("maxConnectionDuration", default.connection_s_max),
    )


def retry_policy(retry: Conf, breaker: Conf, request_s: float) -> RetryPolicy:
    """Translate MeshRetry's `http` settings; `breaker` are MeshCircuitBreaker's, `request_s` is the request's timeout."""
    http = retry.get("http", {})
    retries_max = http.get("numRetries", defaults.RETRIES_MAX)
    if retries_max == 0:
        return RetryPolicy()
    back_off = http.get("backOff", {})
    base_s = back_off.get("baseInterval", defaults.RETRY_BACKOFF_BASE_S)
    conditions, codes, methods = _retry_on(http.get("retryOn", ()))
    # Who chose conditions chose them for all methods, as in Kuma; who chose none gets the safe ones.
    chosen = bool(conditions or codes)
    return RetryPolicy(
        retries_max=retries_max,
        conditions=conditions if chosen else defaults.RETRY_CONDITIONS,
        status_codes=codes,
        methods=methods if chosen or methods else defaults.RETRY_METHODS,
        unsent_any_method=not chosen and not methods,
        per_try_timeout_s=http.get("perTryTimeout", request_s * defaults.RETRY_PER_TRY_SHARE),
        backoff_base_s=base_s,
        backoff_s_max=back_off.get("maxInterval", base_s * defaults.RETRY_BACKOFF_GROWTH),
        budget=_retry_budget(http, breaker),
    )


def connect_retries_max(retry: Conf) -> int:
    """Translate MeshRetry's `tcp` settings: how often another connect follows the first."""
    attempts: int = retry.get("tcp", {}).get("maxConnectAttempt", defaults.CONNECT_RETRIES_MAX + 1)
    return attempts - 1


def circuit_breaking(conf: Conf) -> CircuitBreakingLimits:
    """Translate MeshCircuitBreaker's `connectionLimits`."""
    limits, default = conf.get("connectionLimits", {}), defaults.CIRCUIT_BREAKING
    return CircuitBreakingLimits(
        connections_max=limits.get("maxConnections", default.connections_max),
        pending_requests_max=limits.get("maxPendingRequests", default.pending_requests_max),
        requests_max=limits.get("maxRequests", default.requests_max),
        retries_max=limits.get("maxRetries", default.retries_max),
    )


def outlier_detection(conf: Conf) -> OutlierDetection | None:
    """Translate MeshCircuitBreaker's `outlierDetection`; None where nothing would be detected."""
    outliers = conf.get("outlierDetection", {})
    detectors = outliers.get("detectors", {})
    if outliers.get("disabled", False) or not detectors:
        return None
    success, failure = detectors.get("successRate", {}), detectors.get("failurePercentage", {})
    default = OutlierDetection()
    base_s = outliers.get("baseEjectionTime", default.base_ejection_s)
    return OutlierDetection(
        interval_s=outliers.get("interval", default.interval_s),
        base_ejection_s=base_s,
        # Source: Envoy OutlierDetection.max_ejection_time: 300 s or base_ejection_time, whichever is longer.
        ejection_s_max=max(default.ejection_s_max, base_s),
        ejection_percent_max=outliers.get("maxEjectionPercent", default.ejection_percent_max),
        split_local_origin_errors=outliers.get("splitExternalAndLocalErrors", False),
        consecutive_5xx=_consecutive(detectors, "totalFailures"),
        consecutive_gateway_failures=_consecutive(detectors, "gatewayFailures"),
        consecutive_local_origin_failures=_consecutive(detectors, "localOriginFailures"),
        success_rate_minimum_hosts=_minimum_hosts(detectors, "successRate"),
        success_rate_request_volume=success.get("requestVolume", default.success_rate_request_volume),
        success_rate_standard_deviation_factor=success.get(
            "standardDeviationFactor", default.success_rate_standard_deviation_factor
        ),
        failure_percentage_minimum_hosts=_minimum_hosts(detectors, "failurePercentage"),
        failure_percentage_request_volume=failure.get("requestVolume", default.failure_percentage_request_volume),
        failure_percentage_threshold=failure.get("threshold", default.failure_percentage_threshold),
    )


def load_balancing(strategy: Conf, breaker: Conf) -> LoadBalancing:
    """Translate MeshLoadBalancingStrategy's settings; the panic threshold stands with the outliers, as in Kuma."""
    chosen, default = strategy.get("loadBalancer", {}), defaults.LOAD_BALANCING
    least_request = chosen.get("leastRequest", {})
    return LoadBalancing(
        balancer=_BALANCER_BY_TYPE.get(chosen.get("type", ""), default.balancer),
        choice_count=least_request.get("choiceCount", default.choice_count),
        active_request_bias=least_request.get("activeRequestBias", default.active_request_bias),
        panic_percent=breaker.get("outlierDetection", {}).get("healthyPanicThreshold", default.panic_percent),
    )


def tls_mode(conf: Conf) -> TlsMode:
    """Translate MeshTLS's settings."""
    return TlsMode(conf.get("mode", defaults.TLS_MODE.value))


def passthrough(conf: Conf) -> Passthrough:
    """Translate MeshPassthrough's settings, where there is such a policy: without one everything passes."""
    matches = [
        PassthroughMatch(
            kind=DestinationKind(match["type"]),
            value=match["value"],
            port=match.get("port", 0),
            protocol=PassthroughProtocol(match.get("protocol", "tcp")),
        )
        for match in conf.get("appendMatch", ())
    ]
    mode = PassthroughMode(conf.get("passthroughMode", PassthroughMode.MATCHED.value))
    return Passthrough(mode=mode, matches=tuple(dict.fromkeys(matches)))


def _retry_on(names: tuple[str, ...]) -> tuple[tuple[RetryOn, ...], tuple[int, ...], tuple[str, ...]]:
    """Split `retryOn` into conditions, status codes and methods."""
    conditions = tuple(RetryOn(CONDITION_BY_NAME[name]) for name in names if name in CONDITION_BY_NAME)
    methods = tuple(METHOD_BY_NAME[name] for name in names if name in METHOD_BY_NAME)
    codes = tuple(int(name) for name in names if name.isdigit())
    return conditions, codes, methods


def _retry_budget(http: Conf, breaker: Conf) -> RetryBudget | None:
    if "retryBudget" in http:
        budget = http["retryBudget"]
        return RetryBudget(
            percent=budget.get("percent", defaults.RETRY_BUDGET.percent),
            concurrency_min=budget.get("minConcurrency", defaults.RETRY_BUDGET.concurrency_min),
        )
    # A budget makes a breaker's maxRetries void: where only that was written, it is what was meant.
    return None if "maxRetries" in breaker.get("connectionLimits", {}) else defaults.RETRY_BUDGET


def _consecutive(detectors: Conf, name: str) -> int:
    count: int = detectors.get(name, {}).get("consecutive", 0)
    return count


def _minimum_hosts(detectors: Conf, name: str) -> int:
    """Return what switches a detector on: its least number of hosts, 0 where it is absent. Kuma's default is 5."""
    hosts: int = detectors[name].get("minimumHosts", 5) if name in detectors else 0
    return hosts
