"""Findings about MeshCircuitBreaker's limits: those that never trip, and those that others make void. TM301 to TM304."""

from collections.abc import Iterator

from mesh.config.lint.finding import Code, Finding, Severity
from mesh.config.lint.samples import towards_all
from mesh.config.lint.scene import Link, Scene, found


def _shop(limits: str, *, concurrency: int = 10) -> str:
    return f"""
type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services:
  shop: {{instances: {{here: 2}}, concurrency: 50, endpoints: {{GET /: {{steps: [{{call: stock GET /}}]}}}}}}
  stock: {{instances: {{here: 2}}, concurrency: {concurrency}, queue: 10, endpoints: {{GET /: {{}}}}}}
workload: {{buyers: {{rate: 1/s, journeys: {{look: [GET shop/]}}, timeout: 20s}}}}
---
type: MeshCircuitBreaker
name: to-stock
spec:
  to:
    - targetRef: {{kind: MeshService, labels: {{kuma.io/display-name: stock}}}}
      default: {{connectionLimits: {limits}}}
"""


NEVER_TRIPS = Code(
    code="TM301",
    title="A limit that can never trip",
    severity=Severity.WARNING,
    why="The callers' own instances serve fewer requests at once than the limit lets through: it protects nobody, "
    "and gives the impression that it does.",
    fix="Lower the limit below what one instance of the caller can have in flight, or leave it out.",
    example=_shop("{maxRequests: 500}", concurrency=1000),
    better=_shop("{maxRequests: 20}", concurrency=1000),
)
ABOVE_CAPACITY = Code(
    code="TM302",
    title="A limit above what the callee can hold",
    severity=Severity.WARNING,
    why="A single caller may send more than all instances of the callee serve and queue together: they refuse, or "
    "fall over, before the breaker acts.",
    fix="Set the limit to the callee's capacity divided by the number of its callers' instances.",
    example=_shop("{maxRequests: 45}", concurrency=5),
    better=_shop("{maxRequests: 15}", concurrency=5),
)
BEHIND_CONNECTIONS = Code(
    code="TM303",
    title="maxRequests above maxConnections on HTTP/1.1",
    severity=Severity.WARNING,
    why="An HTTP/1.1 connection carries one request at a time: connections run out first, requests wait in the "
    "queue instead of being refused, and maxRequests never acts.",
    fix="Make maxConnections at least maxRequests, or leave it to maxConnections and a small maxPendingRequests.",
    example=towards_all("MeshCircuitBreaker", "{connectionLimits: {maxConnections: 50, maxRequests: 200}}"),
    better=towards_all("MeshCircuitBreaker", "{connectionLimits: {maxConnections: 250, maxRequests: 200}}"),
)
BUDGET_INSTEAD = Code(
    code="TM304",
    title="maxRetries has no effect beside a retry budget",
    severity=Severity.WARNING,
    why="Where a budget is written it decides how many retries there may be at once; connectionLimits.maxRetries "
    "is not looked at, as in Envoy.",
    fix="Leave maxRetries out.",
    example=towards_all("MeshCircuitBreaker", "{connectionLimits: {maxRetries: 3}}")
    + towards_all("MeshRetry", "{http: {numRetries: 2, retryBudget: {percent: 20}}}"),
    better=towards_all("MeshCircuitBreaker", "{connectionLimits: {maxRequests: 100}}")
    + towards_all("MeshRetry", "{http: {numRetries: 2, retryBudget: {percent: 20}}}"),
)
CODES = (NEVER_TRIPS, ABOVE_CAPACITY, BEHIND_CONNECTIONS, BUDGET_INSTEAD)

# Which limits act on opaque TCP: there is no queue of requests and there are no retries.
_OF_TCP = ("maxConnections",)
_OF_HTTP = ("maxConnections", "maxPendingRequests", "maxRequests")


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the limits of every link."""
    for link in scene.links:
        yield from _never(link, scene)
        if link.is_http:
            yield from _capacity(link, scene)
            yield from _connections(link)
            yield from _retries(link)


def _never(link: Link, scene: Scene) -> Iterator[Finding]:
    """Compare with the most that one instance of each caller can have in flight, where a scenario tells."""
    breaker = link.of("MeshCircuitBreaker")
    for name in _OF_HTTP if link.is_http else _OF_TCP:
        place = breaker.place("connectionLimits", name)
        if place is None:
            continue
        limit = breaker.get("connectionLimits", name)
        for caller in link.callers:
            capacity = scene.topology.capacity.get(caller)
            if capacity is None:
                continue
            most = capacity.concurrency * scene.topology.width.get((caller, link.name), 1)
            if limit >= most:
                affects = (f"{caller} -> {link.target} (at most {most})",)
                yield from found(
                    NEVER_TRIPS,
                    f"{name} {limit} is never reached by one instance of its caller",
                    place,
                    affects=affects,
                )


def _capacity(link: Link, scene: Scene) -> Iterator[Finding]:
    breaker, capacity = link.of("MeshCircuitBreaker"), scene.topology.capacity.get(link.name)
    limit = breaker.get("connectionLimits", "maxRequests", default=0)
    if capacity is None or not limit:
        return
    holds = capacity.instances * (capacity.concurrency + capacity.queue)
    if limit > holds:
        message = (
            f"one caller may send {limit} requests at once; {capacity.instances} instances serve {capacity.concurrency} "
            f"and queue {capacity.queue} each, {holds} in all"
        )
        yield from found(
            ABOVE_CAPACITY, message, breaker.place("connectionLimits", "maxRequests"), affects=link.affects
        )


def _connections(link: Link) -> Iterator[Finding]:
    breaker, limits = link.of("MeshCircuitBreaker"), link.limits
    # An endpoint may always have one connection, whatever the limit.
    bound = limits.connections_max + (link.hosts or 0)
    place = breaker.place("connectionLimits", "maxRequests")
    if link.is_http1 and place is not None and limits.requests_max > bound:
        message = (
            f"maxRequests {limits.requests_max}, and maxConnections {limits.connections_max} with one request each"
        )
        connections = breaker.place("connectionLimits", "maxConnections")
        yield from found(BEHIND_CONNECTIONS, message, place, connections, affects=link.affects)


def _retries(link: Link) -> Iterator[Finding]:
    retry, breaker = link.of("MeshRetry"), link.of("MeshCircuitBreaker")
    budget = retry.place("http", "retryBudget")
    if budget is not None:
        limit = breaker.get("connectionLimits", "maxRetries")
        place = breaker.place("connectionLimits", "maxRetries")
        yield from found(
            BUDGET_INSTEAD, f"maxRetries {limit} is void: the retry budget counts", place, budget, affects=link.affects
        )
