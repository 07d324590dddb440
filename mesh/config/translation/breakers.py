"""From MeshCircuitBreaker's merged settings to limits and outlier detection."""

from mesh.config import defaults
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.outlier_detection import OutlierDetection
from mesh.resources.policy import Conf


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


def _consecutive(detectors: Conf, name: str) -> int:
    count: int = detectors.get(name, {}).get("consecutive", 0)
    return count


def _minimum_hosts(detectors: Conf, name: str) -> int:
    """Return what switches a detector on: its least number of hosts, 0 where it is absent. Kuma's default is 5."""
    hosts: int = detectors[name].get("minimumHosts", 5) if name in detectors else 0
    return hosts
