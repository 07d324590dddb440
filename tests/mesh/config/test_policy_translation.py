"""Settings in Kuma's words become the values that policies run on; what is not set is safe."""

import pytest

from mesh.config import defaults
from mesh.config.translation import (
    circuit_breaking,
    connect_retries_max,
    hash_policies,
    health_checks,
    load_balancing,
    omitted_tags,
    outlier_detection,
    retry_policy,
    timeouts,
    tls_mode,
)
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.back_off import RateLimitedBackOff, ResetHeader, ResetHeaderFormat
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.host_selection import HostSelection
from mesh.policy.load_balancing import Balancer, HashFunction, LoadBalancing, SlowStart
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import (
    RetryOn,
    RetryPolicy,
)
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.routing import HeaderMatch, ValueMatchKind
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


def test_only_a_span_that_nobody_wrote_is_marked_as_derived() -> None:
    assert retry_policy({}, {}, 15.0).per_try_timeout_derived
    assert not retry_policy({"http": {"perTryTimeout": 1.0}}, {}, 15.0).per_try_timeout_derived
    only_connects = retry_policy({"http": {"retryOn": ("ConnectFailure",)}}, {}, 15.0)
    assert only_connects.per_try_timeout_s == 0.0  # A try that timed out would not be tried again.


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
    assert load_balancing({}, {}, {}) == LoadBalancing()
    chosen = {"loadBalancer": {"type": "LeastRequest", "leastRequest": {"choiceCount": 3, "activeRequestBias": 0.5}}}
    outliers = {"outlierDetection": {"healthyPanicThreshold": 0, "disabled": True}}
    assert load_balancing(chosen, outliers, {}) == LoadBalancing(
        balancer=Balancer.LEAST_REQUEST, choice_count=3, active_request_bias=0.5, panic_percent=0
    )
    assert load_balancing({"loadBalancer": {"type": "RoundRobin"}}, {}, {}).balancer is Balancer.ROUND_ROBIN


def test_every_balancer_of_kumas_with_its_parameters() -> None:
    def chosen(kind: str, key: str, **settings: object) -> LoadBalancing:
        return load_balancing({"loadBalancer": {"type": kind, key: settings}}, {}, {})

    ring = chosen("RingHash", "ringHash", hashFunction="MurmurHash2", minRingSize=10, maxRingSize=20)
    assert ring == LoadBalancing(
        balancer=Balancer.RING_HASH, hash_function=HashFunction.MURMUR_HASH_2, ring_size_min=10, ring_size_max=20
    )
    assert chosen("Maglev", "maglev", tableSize=11) == LoadBalancing(balancer=Balancer.MAGLEV, table_size=11)
    assert chosen("PeakEWMA", "peakEWMA", decayTime=3.0) == LoadBalancing(balancer=Balancer.PEAK_EWMA, decay_s=3.0)
    slow = {"window": 30.0, "aggression": 2.0}
    assert chosen("RoundRobin", "roundRobin", slowStart=slow).slow_start == SlowStart(window_s=30.0, aggression=2.0)
    assert chosen("LeastRequest", "leastRequest", slowStart=slow).slow_start == SlowStart(window_s=30.0, aggression=2.0)
    assert load_balancing({}, {}, {"failTrafficOnPanic": True}).fail_traffic_on_panic


def test_zones_that_are_told_apart_carry_by_kumas_threshold() -> None:
    assert load_balancing({"localityAwareness": {"localZone": {}}}, {}, {}).overprovisioning_percent == 200.0
    at_80 = {"localityAwareness": {"crossZone": {"failoverThreshold": {"percentage": 80}}}}
    assert load_balancing(at_80, {}, {}).overprovisioning_percent == 125.0
    assert load_balancing({"localityAwareness": {"disabled": True}}, {}, {}).overprovisioning_percent == 140.0


def test_hash_policies_that_have_an_effect() -> None:
    written = (
        {"type": "Header", "terminal": True, "header": {"name": "X-User"}},
        {"type": "Cookie", "cookie": {"name": "Sid", "ttl": 60.0, "path": "/a"}},
        {"type": "Connection", "connection": {"sourceIP": True}},
        {"type": "Connection", "connection": {"sourceIP": False}},
        {"type": "QueryParameter", "queryParameter": {"name": "Q"}},
        {"type": "FilterState", "filterState": {"key": "k"}},
    )
    assert hash_policies({"hashPolicies": written}) == (
        HashPolicy(source=HashSource.HEADER, name="x-user", terminal=True),
        HashPolicy(source=HashSource.COOKIE, name="Sid", cookie_ttl_s=60.0, cookie_path="/a"),
        HashPolicy(source=HashSource.CONNECTION),
        HashPolicy(source=HashSource.QUERY_PARAMETER, name="Q"),
    )
    assert hash_policies({}) == ()


def test_health_is_checked_in_the_ports_own_way_or_by_connecting() -> None:
    conf = {
        "interval": 5.0,
        "unhealthyThreshold": 2,
        "http": {"path": "/ready", "requestHeadersToAdd": {"set": ({"name": "a", "value": "b"},)}},
        "tcp": {"send": "Zm9v", "receive": ("YmFy",)},
        "grpc": {"serviceName": "s"},
    }
    common = {"interval_s": 5.0, "unhealthy_threshold": 2}
    http = HealthCheck(kind=HealthCheckKind.HTTP, path="/ready", headers_set=(("a", "b"),), **common)
    tcp = HealthCheck(kind=HealthCheckKind.TCP, send=b"foo", receive=(b"bar",), **common)
    assert health_checks(conf, Protocol.HTTP) == (http,)
    assert health_checks(conf, Protocol.TCP) == (tcp,)
    grpc = HealthCheck(kind=HealthCheckKind.GRPC, service_name="s", **common)
    assert health_checks(conf, Protocol.GRPC) == (grpc,)
    assert health_checks(conf | {"http": {"disabled": True}}, Protocol.HTTP) == (tcp,)
    assert health_checks({"interval": 5.0, "http": {}}, Protocol.TCP) == ()
    assert health_checks({}, Protocol.HTTP) == ()


def test_all_that_a_retry_can_say() -> None:
    http = {
        "numRetries": 4,
        "retryOn": ("5xx", "503"),
        "perTryIdleTimeout": 0.3,
        "hedgeOnPerTryTimeout": True,
        "retriableRequestHeaders": ({"name": "X-Retry", "value": "1"},),
        "retriableResponseHeaders": ({"type": "Present", "name": "x-again"},),
        "rateLimitedBackOff": {"resetHeaders": ({"name": "Retry-After", "format": "Seconds"},), "maxInterval": 9.0},
        "hostSelection": (
            {"predicate": "OmitPreviousHosts"},
            {"predicate": "OmitHostsWithTags", "tags": {"canary": "yes"}},
            {"predicate": "OmitPreviousPriorities", "updateFrequency": 3},
        ),
        "hostSelectionMaxAttempts": 5,
        "retryBudget": {"percent": 10, "ratePerSecond": 2.5},
    }
    policy = retry_policy({"http": http}, {}, 15.0)
    assert policy.conditions == (RetryOn.SERVER_ERROR, RetryOn.RETRIABLE_HEADERS)
    assert (policy.per_try_idle_timeout_s, policy.hedge_on_per_try_timeout) == (0.3, True)
    assert policy.request_headers == (HeaderMatch(name="x-retry", value="1"),)
    assert policy.response_headers == (HeaderMatch(name="x-again", kind=ValueMatchKind.PRESENT),)
    assert policy.rate_limited_back_off == RateLimitedBackOff(
        reset_headers=(ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS),), interval_s_max=9.0
    )
    assert policy.host_selection == HostSelection(
        omit_previous_hosts=True, omitted_tags=((("canary", "yes"),),), omit_priorities_every=3, picks_max=5
    )
    assert omitted_tags(policy) == {"canary"}
    assert policy.budget == RetryBudget(percent=10, concurrency_min=3, rate_per_s_min=2.5)


def test_grpc_has_settings_of_its_own() -> None:
    policy = retry_policy({"grpc": {"retryOn": ("Unavailable",)}}, {}, 15.0, protocol=Protocol.GRPC)
    assert (policy.conditions, policy.methods) == ((RetryOn.UNAVAILABLE,), ())
    safe = retry_policy({}, {}, 15.0, protocol=Protocol.GRPC)
    assert safe.conditions == defaults.GRPC_RETRY_CONDITIONS and not safe.methods


def test_tls_is_strict_unless_set() -> None:
    assert tls_mode({}) is TlsMode.STRICT
    assert tls_mode({"mode": "Permissive"}) is TlsMode.PERMISSIVE
