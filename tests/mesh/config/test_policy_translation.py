"""Settings in Kuma's words become the values that policies run on; what is not set is safe."""

import pytest

from mesh.config import defaults
from mesh.config.translation import (
    circuit_breaking,
    connect_retries_max,
    load_balancing,
    outlier_detection,
    retry_policy,
    timeouts,
    tls_mode,
)
from mesh.model.traffic import TlsMode
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryBudget, RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.resources.mesh_retry import CONDITION_BY_NAME


def test_default_retries_are_safe() -> None:
    policy = retry_policy({}, {}, 15.0)
    assert "POST" not in policy.methods and "PATCH" not in policy.methods and "GET" in policy.methods
    assert policy.unsent_any_method
    assert 1 <= policy.retries_max <= 2
    assert 0.0 < policy.per_try_timeout_s < 15.0
    assert policy.budget == RetryBudget(percent=20.0, concurrency_min=3)
    assert RetryOn.SERVER_ERROR not in policy.conditions  # A 500 was the application's own decision.


@pytest.mark.parametrize(("request_s", "per_try_s"), [(15.0, 7.5), (1.0, 0.5), (0.0, 0.0)])
def test_a_try_gets_half_of_the_requests_time_unless_set(request_s: float, per_try_s: float) -> None:
    assert retry_policy({}, {}, request_s).per_try_timeout_s == per_try_s
    assert retry_policy({"http": {"perTryTimeout": 0.4}}, {}, request_s).per_try_timeout_s == 0.4


def test_chosen_conditions_hold_for_all_methods() -> None:
    policy = retry_policy({"http": {"retryOn": ("5xx", "Reset", "503", "429")}}, {}, 15.0)
    assert policy.conditions == (RetryOn.SERVER_ERROR, RetryOn.RESET)
    assert policy.status_codes == (503, 429)
    assert policy.methods == () and not policy.unsent_any_method


def test_methods_among_the_conditions_restrict() -> None:
    policy = retry_policy({"http": {"retryOn": ("5xx", "HttpMethodGet", "HttpMethodHead")}}, {}, 15.0)
    assert (policy.conditions, policy.methods) == ((RetryOn.SERVER_ERROR,), ("GET", "HEAD"))
    only_methods = retry_policy({"http": {"retryOn": ("HttpMethodPost",)}}, {}, 15.0)
    assert (only_methods.conditions, only_methods.methods) == (defaults.RETRY_CONDITIONS, ("POST",))
    assert not only_methods.unsent_any_method


def test_every_condition_of_the_format_is_known_to_the_policy() -> None:
    for name, condition in CONDITION_BY_NAME.items():
        assert retry_policy({"http": {"retryOn": (name,)}}, {}, 1.0).conditions == (RetryOn(condition),)


def test_no_retries_is_an_empty_policy() -> None:
    assert retry_policy({"http": {"numRetries": 0, "retryOn": ("5xx",)}}, {}, 15.0) == RetryPolicy()


def test_back_off_grows_to_ten_times_its_base_unless_set() -> None:
    policy = retry_policy({"http": {"backOff": {"baseInterval": 0.1}}}, {}, 15.0)
    assert (policy.backoff_base_s, policy.backoff_s_max) == (0.1, 1.0)
    policy = retry_policy({"http": {"backOff": {"baseInterval": 0.1, "maxInterval": 0.2}}}, {}, 15.0)
    assert (policy.backoff_base_s, policy.backoff_s_max) == (0.1, 0.2)


def test_a_retry_budget_that_is_written_counts() -> None:
    policy = retry_policy({"http": {"retryBudget": {"percent": 5}}}, {"connectionLimits": {"maxRetries": 9}}, 15.0)
    assert policy.budget == RetryBudget(percent=5, concurrency_min=3)


def test_max_retries_alone_is_not_overruled_by_a_budget_that_nobody_wrote() -> None:
    assert retry_policy({}, {"connectionLimits": {"maxRetries": 9}}, 15.0).budget is None
    assert retry_policy({}, {"connectionLimits": {"maxRequests": 9}}, 15.0).budget == defaults.RETRY_BUDGET


def test_connects_are_retried() -> None:
    assert connect_retries_max({"tcp": {"maxConnectAttempt": 5}}) == 4
    assert connect_retries_max({"tcp": {"maxConnectAttempt": 1}}) == 0
    assert connect_retries_max({}) == defaults.CONNECT_RETRIES_MAX


def test_timeouts_keep_what_is_not_set() -> None:
    conf = {"connectionTimeout": 1.0, "http": {"requestTimeout": 0.0, "maxStreamDuration": 9.0}}
    assert timeouts(conf, Timeouts(idle_s=7.0)) == Timeouts(connect_s=1.0, request_s=0.0, idle_s=7.0, stream_s_max=9.0)
    assert timeouts({}, defaults.OUTBOUND_TIMEOUTS) == defaults.OUTBOUND_TIMEOUTS
    everything = {
        "idleTimeout": 1.0,
        "http": {"streamIdleTimeout": 2.0, "maxConnectionDuration": 3.0, "requestHeadersTimeout": 4.0},
    }
    assert timeouts(everything, Timeouts()) == Timeouts(
        idle_s=1.0, stream_idle_s=2.0, connection_s_max=3.0, request_headers_s=4.0
    )


def test_limits_keep_what_is_not_set() -> None:
    assert circuit_breaking({}) == CircuitBreakingLimits(
        connections_max=1024, pending_requests_max=1024, requests_max=1024, retries_max=3
    )
    conf = {"connectionLimits": {"maxConnections": 1, "maxPendingRequests": 2, "maxRequests": 3, "maxRetries": 4}}
    assert circuit_breaking(conf) == CircuitBreakingLimits(
        connections_max=1, pending_requests_max=2, requests_max=3, retries_max=4
    )


def test_outliers_are_detected_only_by_chosen_detectors() -> None:
    assert outlier_detection({}) is None
    assert outlier_detection({"outlierDetection": {"detectors": {}, "disabled": True}}) is None
    detectors = {"totalFailures": {"consecutive": 5}}
    assert outlier_detection({"outlierDetection": {"detectors": detectors, "disabled": True}}) is None
    found = outlier_detection(
        {"outlierDetection": {"interval": 5.0, "baseEjectionTime": 600.0, "detectors": detectors}}
    )
    assert found == OutlierDetection(interval_s=5.0, base_ejection_s=600.0, ejection_s_max=600.0, consecutive_5xx=5)


def test_statistical_detectors_have_kumas_defaults() -> None:
    detectors = {"successRate": {}, "failurePercentage": {"minimumHosts": 2, "requestVolume": 3, "threshold": 4}}
    found = outlier_detection({"outlierDetection": {"maxEjectionPercent": 50, "detectors": detectors}})
    assert found == OutlierDetection(
        ejection_percent_max=50,
        success_rate_minimum_hosts=5,
        success_rate_request_volume=100,
        success_rate_standard_deviation_factor=1.9,
        failure_percentage_minimum_hosts=2,
        failure_percentage_request_volume=3,
        failure_percentage_threshold=4,
    )
    others = {
        "gatewayFailures": {"consecutive": 2},
        "localOriginFailures": {"consecutive": 3},
        "successRate": {"minimumHosts": 1, "requestVolume": 2, "standardDeviationFactor": 2.5},
    }
    found = outlier_detection({"outlierDetection": {"splitExternalAndLocalErrors": True, "detectors": others}})
    assert found == OutlierDetection(
        split_local_origin_errors=True,
        consecutive_gateway_failures=2,
        consecutive_local_origin_failures=3,
        success_rate_minimum_hosts=1,
        success_rate_request_volume=2,
        success_rate_standard_deviation_factor=2.5,
    )


def test_balancers_and_the_panic_threshold() -> None:
    assert load_balancing({}, {}) == LoadBalancing()
    chosen = {"loadBalancer": {"type": "LeastRequest", "leastRequest": {"choiceCount": 3, "activeRequestBias": 0.5}}}
    outliers = {"outlierDetection": {"healthyPanicThreshold": 0, "disabled": True}}
    assert load_balancing(chosen, outliers) == LoadBalancing(
        balancer=Balancer.LEAST_REQUEST, choice_count=3, active_request_bias=0.5, panic_percent=0
    )
    assert load_balancing({"loadBalancer": {"type": "RoundRobin"}}, {}).balancer is Balancer.ROUND_ROBIN


def test_tls_is_strict_unless_set() -> None:
    assert tls_mode({}) is TlsMode.STRICT
    assert tls_mode({"mode": "Permissive"}) is TlsMode.PERMISSIVE
