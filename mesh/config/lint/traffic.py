"""Findings about the other traffic policies: health checks, rate limits, load balancing, faults. TM711 to TM719."""

from collections.abc import Iterator

from mesh.config.lint.effective import joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import WEB, backends, policy, towards_all
from mesh.config.lint.scene import Link, Reception, Scene, found
from mesh.config.view import DataplaneState
from mesh.model.durations import format_duration as span
from mesh.resources.resource import Resource

_HASHING = ("RingHash", "Maglev")
# More than this at one endpoint is load of its own. Source: mesh of 1,000 callers with the default interval of 1m makes 17/s.
_CHECKS_PER_S_MAX = 50.0
_INTERVAL_S, _TIMEOUT_S = 60.0, 15.0  # MeshHealthCheck's defaults. Source: Kuma.


def _inbound(kind: str, default: str) -> str:
    target = "targetRef: {kind: Dataplane, labels: {kuma.io/workload: backend}}"
    return policy(kind, "p", f"{{{target}, rules: [{{default: {default}}}]}}")


CHECK_TIMEOUT = Code(
    code="TM711",
    title="A health check that may take longer than its interval",
    severity=Severity.WARNING,
    why="The next check is due before the last one is given up: an endpoint that hangs is noticed later than the "
    "interval promises, by timeout x unhealthyThreshold.",
    fix="Make timeout shorter than interval.",
    example=towards_all("MeshHealthCheck", "{interval: 5s, timeout: 10s, http: {path: /healthz}}"),
    better=towards_all("MeshHealthCheck", "{interval: 10s, timeout: 2s, http: {path: /healthz}}"),
)
MANY_CHECKS = Code(
    code="TM712",
    title="Health checks as a load of their own",
    severity=Severity.WARNING,
    why="Every caller's proxy asks every endpoint: with many callers and a short interval the checks are the "
    "traffic, and a slow endpoint is pushed over by them.",
    fix="Lengthen the interval, add intervalJitterPercent, or rely on serviceProbe and outlier detection.",
    example="".join(WEB.replace("web-1", f"web-{n}").replace("10.0.0.1", f"10.0.2.{n}") for n in range(1, 7))
    + backends()
    + towards_all("MeshHealthCheck", "{interval: 100ms, timeout: 50ms, tcp: {}}"),
    better=WEB + backends() + towards_all("MeshHealthCheck", "{interval: 10s, timeout: 2s, tcp: {}}"),
)
LIMIT_BELOW_CHECKS = Code(
    code="TM713",
    title="A rate limit that health checks alone exceed",
    severity=Severity.ERROR,
    why="Active checks are requests too: they use up the limit, the rest is answered 429, and the endpoint is "
    "found unhealthy for it.",
    fix="Raise requestRate, lengthen the checks' interval, or check by tcp.",
    example=WEB
    + backends()
    + towards_all("MeshHealthCheck", "{interval: 1s, timeout: 500ms, http: {path: /}}")
    + _inbound("MeshRateLimit", "{local: {http: {requestRate: {num: 1, interval: 10s}}}}"),
    better=WEB
    + backends()
    + towards_all("MeshHealthCheck", "{interval: 10s, timeout: 500ms, http: {path: /}}")
    + _inbound("MeshRateLimit", "{local: {http: {requestRate: {num: 100, interval: 1s}}}}"),
)
LIMIT_STATUS = Code(
    code="TM714",
    title="A refusal with a status below 400",
    severity=Severity.WARNING,
    why="A status below 400 would tell the client that all is well; 429 is sent in its place, as Envoy does.",
    fix="Write onRateLimit.status: 429 or 503.",
    example=_inbound(
        "MeshRateLimit", "{local: {http: {requestRate: {num: 10, interval: 1s}, onRateLimit: {status: 200}}}}"
    ),
    better=_inbound(
        "MeshRateLimit", "{local: {http: {requestRate: {num: 10, interval: 1s}, onRateLimit: {status: 429}}}}"
    ),
)
HASHING = Code(
    code="TM715",
    title="Hashing without something to hash, or the reverse",
    severity=Severity.WARNING,
    why="RingHash and Maglev without hashPolicies choose at random; hashPolicies beside another balancer are not "
    "looked at. Either way there is no stickiness.",
    fix="Write both: loadBalancer type RingHash or Maglev, and hashPolicies.",
    example=towards_all("MeshLoadBalancingStrategy", "{loadBalancer: {type: RingHash}}"),
    better=towards_all(
        "MeshLoadBalancingStrategy",
        "{loadBalancer: {type: RingHash}, hashPolicies: [{type: Header, header: {name: x-user}}]}",
    ),
)
FAILOVER_THRESHOLD = Code(
    code="TM716",
    title="A failover threshold that does nothing, or too much",
    severity=Severity.WARNING,
    why="Without failover rules, or with localityAwareness disabled, no zone takes over whatever the threshold. "
    "At 100% traffic leaves the zone at the first unhealthy endpoint.",
    fix="Write crossZone.failover, and a threshold such as 70.",
    example=towards_all(
        "MeshLoadBalancingStrategy", "{localityAwareness: {crossZone: {failoverThreshold: {percentage: 70}}}}"
    ),
    better=towards_all(
        "MeshLoadBalancingStrategy",
        "{localityAwareness: {crossZone: {failover: [{to: {type: Any}}], failoverThreshold: {percentage: 70}}}}",
    ),
)
UNKNOWN_ZONE = Code(
    code="TM717",
    title="Failover to a zone that is not there",
    severity=Severity.WARNING,
    why="No Dataplane and no Zone has this name: on the day of the failover nobody is there.",
    fix="Correct the zone's name.",
    example=WEB
    + backends()
    + towards_all(
        "MeshLoadBalancingStrategy", "{localityAwareness: {crossZone: {failover: [{to: {type: Only, zones: [west]}}]}}}"
    ),
    better=WEB
    + backends()
    + towards_all(
        "MeshLoadBalancingStrategy",
        "{localityAwareness: {crossZone: {failover: [{to: {type: Only, zones: [default]}}]}}}",
    ),
)
FAULTS = Code(
    code="TM718",
    title="Faults are injected",
    severity=Severity.INFO,
    why="Requests fail or wait on purpose. Good for a rehearsal, forgotten it is an outage.",
    fix="Remove the MeshFaultInjection when the rehearsal is over, or label it kuma.io/effect: shadow.",
    example=_inbound("MeshFaultInjection", "{http: [{abort: {httpStatus: 500, percentage: 5}}]}"),
    better=_inbound("MeshTimeout", "{idleTimeout: 3h}"),
)
LONG_DELAY = Code(
    code="TM719",
    title="An injected delay that outlasts every caller",
    severity=Severity.WARNING,
    why="The callers' timeouts end the request first: what is rehearsed is a timeout, not slowness.",
    fix="Make the delay shorter than the callers' per-try and request timeouts, or use abort.",
    example=WEB + backends() + _inbound("MeshFaultInjection", "{http: [{delay: {value: 60s, percentage: 5}}]}"),
    better=WEB + backends() + _inbound("MeshFaultInjection", "{http: [{delay: {value: 200ms, percentage: 5}}]}"),
)
CODES = (
    CHECK_TIMEOUT,
    MANY_CHECKS,
    LIMIT_BELOW_CHECKS,
    LIMIT_STATUS,
    HASHING,
    FAILOVER_THRESHOLD,
    UNKNOWN_ZONE,
    FAULTS,
    LONG_DELAY,
)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at every link and reception."""
    checked = _checks_by_reception(scene)
    zones = _zones(scene)
    for link in scene.links:
        yield from _health(link)
        yield from _balancing(link, zones)
    for reception in scene.receptions:
        yield from _checks(reception, *checked.get(id(reception), (0.0, 0.0, None)))
        yield from _refusal(reception)
        yield from _faults(reception)
    for link in scene.links:
        for reception in scene.receptions_of(link):
            yield from _delays(link, reception)


def _health(link: Link) -> Iterator[Finding]:
    settings = link.of("MeshHealthCheck")
    interval_s = settings.get("interval", default=_INTERVAL_S)
    timeout_s = settings.get("timeout", default=_TIMEOUT_S)
    if settings.contributions and timeout_s >= interval_s:
        message = f"a check may take {span(timeout_s)}, the next one is due after {span(interval_s)}"
        place = settings.place("interval") or settings.place("timeout")
        yield from found(CHECK_TIMEOUT, message, place, settings.place("timeout"), affects=link.affects)


def _checks_by_reception(scene: Scene) -> dict[int, tuple[float, float, Place | None]]:
    """Return, by id of the reception, checks per second at one endpoint (all, and by HTTP), and the policy that asks for most."""
    proxies_by_caller: dict[str, int] = {}
    for state in scene.index.view.dataplanes.values():
        proxies_by_caller[_caller(state)] = proxies_by_caller.get(_caller(state), 0) + 1
    sums: dict[int, tuple[float, float, Place | None]] = {}
    for link in scene.links:
        settings = link.of("MeshHealthCheck")
        if not settings.contributions:
            continue
        proxies = sum(proxies_by_caller.get(caller, 0) for caller in link.callers)
        per_s = proxies / settings.get("interval", default=_INTERVAL_S)
        by_http = per_s if settings.get("http") is not None and not settings.get("http", "disabled") else 0.0
        for reception in scene.receptions_of(link):
            before = sums.get(id(reception), (0.0, 0.0, None))
            place = settings.place("interval") or settings.contributions[-1].place
            sums[id(reception)] = (before[0] + per_s, before[1] + by_http, before[2] or place)
    return sums


def _caller(state: DataplaneState) -> str:
    return state.workload or state.resource.name


def _checks(reception: Reception, per_s: float, by_http: float, place: Place | None) -> Iterator[Finding]:
    if per_s > _CHECKS_PER_S_MAX:
        message = f"every endpoint is checked {per_s:.3g} times a second by its callers together"
        yield from found(MANY_CHECKS, message, place, affects=reception.affects)
    limit = reception.of("MeshRateLimit")
    rate = limit.get("local", "http", "requestRate")
    if rate is not None and by_http and by_http >= rate["num"] / rate["interval"]:
        allowed = rate["num"] / rate["interval"]
        message = f"{allowed:.3g} requests a second are let through, health checks make {by_http:.3g}"
        where = limit.place("local", "http", "requestRate")
        yield from found(LIMIT_BELOW_CHECKS, message, where, place, affects=reception.affects)


def _refusal(reception: Reception) -> Iterator[Finding]:
    limit = reception.of("MeshRateLimit")
    status = limit.get("local", "http", "onRateLimit", "status", default=429)
    if status < 400:
        place = limit.place("local", "http", "onRateLimit", "status")
        yield from found(LIMIT_STATUS, f"status {status} becomes 429", place, affects=reception.affects)


def _balancing(link: Link, zones: set[str]) -> Iterator[Finding]:
    settings = link.of("MeshLoadBalancingStrategy")
    balancer = settings.get("loadBalancer", "type", default="")
    hashed = settings.get("hashPolicies", default=())
    if balancer in _HASHING and not hashed:
        place = settings.place("loadBalancer", "type")
        yield from found(HASHING, f"{balancer} without hashPolicies chooses at random", place, affects=link.affects)
    elif hashed and balancer not in _HASHING:
        message = f"hashPolicies are not looked at by {balancer or 'the default, LeastRequest'}"
        yield from found(
            HASHING, message, settings.place("hashPolicies"), settings.place("loadBalancer"), affects=link.affects
        )
    threshold = settings.get("localityAwareness", "crossZone", "failoverThreshold", "percentage")
    rules = settings.get("localityAwareness", "crossZone", "failover", default=())
    where = settings.place("localityAwareness", "crossZone", "failoverThreshold")
    if threshold is not None:
        disabled = settings.get("localityAwareness", "disabled", default=False)
        if disabled or not rules:
            why = "localityAwareness is disabled" if disabled else "there are no failover rules"
            yield from found(FAILOVER_THRESHOLD, f"{threshold:g}%, but {why}", where, affects=link.affects)
        elif threshold >= 100:
            yield from found(
                FAILOVER_THRESHOLD, "100%: traffic leaves at the first unhealthy endpoint", where, affects=link.affects
            )
    named = [zone for rule in rules for side in ("from", "to") for zone in rule.get(side, {}).get("zones", ())]
    unknown = [zone for zone in dict.fromkeys(named) if zone not in zones]
    if zones and unknown:
        place = settings.place("localityAwareness", "crossZone", "failover")
        yield from found(
            UNKNOWN_ZONE,
            f"no zone is called {joined(unknown)}; there is {joined(sorted(zones))}",
            place,
            affects=link.affects,
        )


def _zones(scene: Scene) -> set[str]:
    zones = {resource.name for resource in scene.of_kind("Zone")}
    return zones | {state.zone for state in scene.index.view.dataplanes.values()}


def _faults(reception: Reception) -> Iterator[Finding]:
    for entry in reception.entries.get("MeshFaultInjection", ()):
        words = [
            f"{name} {fault[name]['percentage']:g}%"
            for fault in entry.default.get("http", ())
            for name in ("abort", "delay", "responseBandwidth")
            if name in fault
        ]
        place = _rule_place(entry.policy, entry.index)
        yield from found(FAULTS, joined(words), place, affects=reception.affects)


def _delays(link: Link, reception: Reception) -> Iterator[Finding]:
    patience_s = link.deadline_s()
    for entry in reception.entries.get("MeshFaultInjection", ()):
        for fault in entry.default.get("http", ()):
            delay_s = fault.get("delay", {}).get("value", 0.0)
            if link.is_http and 0 < patience_s <= delay_s:
                message = f"a delay of {span(delay_s)}, callers wait for {span(patience_s)}"
                yield from found(LONG_DELAY, message, _rule_place(entry.policy, entry.index), affects=link.affects)


def _rule_place(policy: Resource, number: int) -> Place:
    return Place(policy, ("spec", "rules", number))
