"""Clusters of the bootstrap: endpoints, balancer, breakers, outlier detection, health checks."""

from collections.abc import Sequence
from typing import Any

from mesh.config.snapshot import Cluster, Endpoint
from mesh.model.traffic import Protocol
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry_budget import RetryBudget
from tests.envoy.fields import seconds, socket_address, typed

_LB_POLICY = {
    Balancer.ROUND_ROBIN: "ROUND_ROBIN",
    Balancer.LEAST_REQUEST: "LEAST_REQUEST",
    Balancer.RANDOM: "RANDOM",
    Balancer.RING_HASH: "RING_HASH",
    Balancer.MAGLEV: "MAGLEV",
}
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(part: Cluster, endpoints: Sequence[Endpoint], *, name: str, budget: RetryBudget | None) -> dict[str, Any]:
    """Return a cluster. `budget`: that of the route that retries on it; ours belong to routes, Envoy's to clusters."""
    made: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(part.timeouts.connect_s),
        "load_assignment": _assignment(part.load_balancing, endpoints, name),
        "circuit_breakers": {"thresholds": [_thresholds(part.circuit_breaking, budget)]},
        "typed_extension_protocol_options": _http_options(part),
        **_balancing(part.load_balancing, endpoints),
    }
    if part.outlier_detection is not None:
        made["outlier_detection"] = _outlier_detection(part.outlier_detection)
    if part.health_checks:
        made["health_checks"] = [_health_check(check) for check in part.health_checks]
    return made


def _http_options(part: Cluster) -> dict[str, Any]:
    if part.protocol is not Protocol.HTTP:
        return {}
    version = "http2_protocol_options" if _asks_by_grpc(part) else "http_protocol_options"
    common: dict[str, Any] = {"idle_timeout": seconds(part.timeouts.idle_s)}
    options = typed(
        _HTTP_OPTIONS.removeprefix("envoy."),
        common_http_protocol_options=common,
        explicit_http_config={version: {}},
    )
    return {_HTTP_OPTIONS: options}


def _asks_by_grpc(part: Cluster) -> bool:
    return any(check.kind is HealthCheckKind.GRPC for check in part.health_checks)


def _assignment(balancing: LoadBalancing, endpoints: Sequence[Endpoint], name: str) -> dict[str, Any]:
    groups: dict[tuple[int, str, int], list[dict[str, Any]]] = {}
    for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.priority):
        key = (endpoint.priority, endpoint.locality, endpoint.locality_weight)
        groups.setdefault(key, []).append(
            {
                "endpoint": {"address": socket_address(endpoint.address)},
                "load_balancing_weight": endpoint.weight,
                "health_status": "HEALTHY" if endpoint.healthy else "UNHEALTHY",
                "metadata": {"filter_metadata": {"envoy.lb": dict(endpoint.tags)}},
            }
        )
    made = []
    for (priority, locality, weight), members in groups.items():
        group: dict[str, Any] = {"priority": priority, "locality": {"zone": locality}, "lb_endpoints": members}
        if weight:
            group["load_balancing_weight"] = weight
        made.append(group)
    policy = {"overprovisioning_factor": round(balancing.overprovisioning_percent)}
    return {"cluster_name": name, "endpoints": made, "policy": policy}


def _balancing(balancing: LoadBalancing, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    common: dict[str, Any] = {
        "healthy_panic_threshold": {"value": balancing.panic_percent},
        # Ours tells balancers of ejections at once; Envoy by default lets changes within a second wait for one another.
        "update_merge_window": "0s",
    }
    if any(endpoint.locality_weight for endpoint in endpoints):
        common["locality_weighted_lb_config"] = {}
    if balancing.fail_traffic_on_panic:
        common["zone_aware_lb_config"] = {"fail_traffic_on_panic": True}
    made: dict[str, Any] = {"lb_policy": _LB_POLICY[balancing.balancer], "common_lb_config": common}
    if balancing.balancer is Balancer.LEAST_REQUEST:
        bias = {"default_value": balancing.active_request_bias, "runtime_key": "bias"}
        made["least_request_lb_config"] = {"choice_count": balancing.choice_count, "active_request_bias": bias}
    elif balancing.balancer is Balancer.RING_HASH:
        sizes = {"minimum_ring_size": balancing.ring_size_min, "maximum_ring_size": balancing.ring_size_max}
        function = "XX_HASH" if balancing.hash_function.value == "XXHash" else "MURMUR_HASH_2"
        made["ring_hash_lb_config"] = {**sizes, "hash_function": function}
    elif balancing.balancer is Balancer.MAGLEV:
        made["maglev_lb_config"] = {"table_size": balancing.table_size}
    return made


def _thresholds(limits: CircuitBreakingLimits, budget: RetryBudget | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "max_connections": limits.connections_max,
        "max_pending_requests": limits.pending_requests_max,
        "max_requests": limits.requests_max,
        "max_retries": limits.retries_max,
    }
    if budget is not None:
        made["retry_budget"] = {
            "budget_percent": {"value": budget.percent},
            "min_retry_concurrency": budget.concurrency_min,
        }
    return made


def _outlier_detection(part: OutlierDetection) -> dict[str, Any]:
    """A detector that has no threshold is not enforced; Envoy has it on by default."""

    def enforced(configured: int) -> int:
        return 100 if configured else 0

    return {
        "interval": seconds(part.interval_s),
        "base_ejection_time": seconds(part.base_ejection_s),
        "max_ejection_time": seconds(max(part.ejection_s_max, part.base_ejection_s)),
        "max_ejection_percent": part.ejection_percent_max,
        "always_eject_one_host": part.always_eject_one,
        "split_external_local_origin_errors": part.split_local_origin_errors,
        "consecutive_5xx": part.consecutive_5xx or 1000,
        "enforcing_consecutive_5xx": enforced(part.consecutive_5xx),
        "consecutive_gateway_failure": part.consecutive_gateway_failures or 1000,
        "enforcing_consecutive_gateway_failure": enforced(part.consecutive_gateway_failures),
        "consecutive_local_origin_failure": part.consecutive_local_origin_failures or 1000,
        "enforcing_consecutive_local_origin_failure": enforced(part.consecutive_local_origin_failures),
        "success_rate_minimum_hosts": part.success_rate_minimum_hosts or 1000,
        "enforcing_success_rate": enforced(part.success_rate_minimum_hosts),
        "success_rate_request_volume": part.success_rate_request_volume,
        "success_rate_stdev_factor": round(part.success_rate_standard_deviation_factor * 1000),
        "failure_percentage_minimum_hosts": part.failure_percentage_minimum_hosts or 1000,
        "enforcing_failure_percentage": enforced(part.failure_percentage_minimum_hosts),
        "failure_percentage_request_volume": part.failure_percentage_request_volume,
        "failure_percentage_threshold": part.failure_percentage_threshold,
    }


def _health_check(check: HealthCheck) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeout": seconds(check.timeout_s),
        "interval": seconds(check.interval_s),
        "unhealthy_threshold": check.unhealthy_threshold,
        "healthy_threshold": check.healthy_threshold,
        "no_traffic_interval": seconds(check.no_traffic_interval_s),
        "reuse_connection": check.reuse_connection,
    }
    if check.kind is HealthCheckKind.HTTP:
        statuses = [{"start": status, "end": status + 1} for status in check.expected_statuses]
        made["http_health_check"] = {"path": check.path, "expected_statuses": statuses}
    elif check.kind is HealthCheckKind.TCP:
        made["tcp_health_check"] = (
            {"send": {"text": check.send.hex()}, "receive": [{"text": part.hex()} for part in check.receive]}
            if check.send or check.receive
            else {}
        )
    else:
        made["grpc_health_check"] = {"service_name": check.service_name, "authority": check.authority}
    return made
