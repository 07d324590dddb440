"""From MeshLoadBalancingStrategy's merged settings to a balancer, and to what requests are hashed by."""

from mesh.config import defaults
from mesh.config.locality import overprovisioning_factor
from mesh.policy.load_balancing import Balancer, HashFunction, LoadBalancing, SlowStart
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.resources.policy import Conf

# Where the key of a hash policy's own settings stands, and what in it names the property.
_KEY_BY_SOURCE = {
    HashSource.HEADER: "header",
    HashSource.COOKIE: "cookie",
    HashSource.CONNECTION: "connection",
    HashSource.QUERY_PARAMETER: "queryParameter",
}
_SOURCE_BY_TYPE = {source.value: source for source in HashSource}


def load_balancing(strategy: Conf, breaker: Conf, health: Conf) -> LoadBalancing:
    """Translate MeshLoadBalancingStrategy's settings.

    The panic threshold stands with the outliers of MeshCircuitBreaker, what follows from panic in MeshHealthCheck, as in Kuma.
    """
    chosen, default = strategy.get("loadBalancer", {}), defaults.LOAD_BALANCING
    balancer = Balancer(chosen.get("type", default.balancer.value))
    least, ring = chosen.get("leastRequest", {}), chosen.get("ringHash", {})
    turns = least if balancer is Balancer.LEAST_REQUEST else chosen.get("roundRobin", {})
    return LoadBalancing(
        balancer=balancer,
        choice_count=least.get("choiceCount", default.choice_count),
        active_request_bias=least.get("activeRequestBias", default.active_request_bias),
        slow_start=_slow_start(turns["slowStart"]) if "slowStart" in turns else None,
        hash_function=HashFunction(ring.get("hashFunction", default.hash_function.value)),
        ring_size_min=ring.get("minRingSize", default.ring_size_min),
        ring_size_max=ring.get("maxRingSize", default.ring_size_max),
        table_size=chosen.get("maglev", {}).get("tableSize", default.table_size),
        decay_s=chosen.get("peakEWMA", {}).get("decayTime", default.decay_s),
        panic_percent=breaker.get("outlierDetection", {}).get("healthyPanicThreshold", default.panic_percent),
        fail_traffic_on_panic=health.get("failTrafficOnPanic", default.fail_traffic_on_panic),
        overprovisioning_percent=_overprovisioning_percent(strategy),
    )


def hash_policies(strategy: Conf) -> tuple[HashPolicy, ...]:
    """Translate `hashPolicies`; those without effect (FilterState, a connection without its address) are left out."""
    return tuple(_hash_policy(policy) for policy in strategy.get("hashPolicies", ()) if _acts(policy))


def _acts(policy: Conf) -> bool:
    if policy["type"] == HashSource.CONNECTION.value:
        return bool(policy["connection"]["sourceIP"])
    return policy["type"] in _SOURCE_BY_TYPE


def _hash_policy(policy: Conf) -> HashPolicy:
    source = _SOURCE_BY_TYPE[policy["type"]]
    settings = policy[_KEY_BY_SOURCE[source]]
    name = settings.get("name", "")
    return HashPolicy(
        source=source,
        name=name.lower() if source is HashSource.HEADER else name,
        terminal=policy.get("terminal", False),
        cookie_ttl_s=settings.get("ttl"),
        cookie_path=settings.get("path", ""),
    )


def _slow_start(conf: Conf) -> SlowStart:
    default = SlowStart(window_s=conf["window"])
    return SlowStart(
        window_s=conf["window"],
        aggression=conf.get("aggression", default.aggression),
        weight_percent_min=conf.get("minWeightPercent", default.weight_percent_min),
    )


def _overprovisioning_percent(strategy: Conf) -> float:
    """Return how much healthy endpoints are thought able to carry: by Kuma's threshold where zones are told apart."""
    awareness = strategy.get("localityAwareness", {})
    if not awareness or awareness.get("disabled", False):
        return defaults.LOAD_BALANCING.overprovisioning_percent
    threshold = awareness.get("crossZone", {}).get("failoverThreshold", {})
    return overprovisioning_factor(threshold.get("percentage", defaults.FAILOVER_THRESHOLD_PERCENT))
