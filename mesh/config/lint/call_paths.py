"""Findings about paths of calls: retries that multiply, timeouts that outlive their callers. TM103, TM202 to TM204, TM211."""

from collections.abc import Iterator

import attrs

from mesh.config.lint.effective import places
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.retries import retry_place
from mesh.config.lint.samples import policy, towards_all
from mesh.config.lint.scene import Link, Scene, found
from mesh.config.lint.topology import Call
from mesh.model.durations import format_duration as span

# Below this a path with two retrying calls is not worth a word: 2 x 2 is what two safe retries give.
AMPLIFICATION_MIN = 4.0


def _proxy(name: str, port: int, *, calls: str = "") -> str:
    """Write the Dataplane of a service on `port`, which calls another one on the next port."""
    ref = f"{{kind: MeshService, name: {calls}, port: {port + 1}}}"
    outbound = f", outbound: [{{port: 10001, backendRef: {ref}}}]" if calls else ""
    return f"""
type: Dataplane
name: {name}-1
labels: {{kuma.io/workload: {name}}}
networking: {{address: 10.0.0.{port - 8079}, inbound: [{{port: {port}, servicePort: 9090, protocol: http}}]{outbound}}}
---
"""


_CHAIN = _proxy("shop", 8080, calls="stock") + _proxy("stock", 8081, calls="depot") + _proxy("depot", 8082)
_NO_BUDGET = towards_all("MeshCircuitBreaker", "{connectionLimits: {maxRetries: 50}}")


def _towards(kind: str, service: str, default: str) -> str:
    target = f"{{kind: MeshService, labels: {{kuma.io/display-name: {service}}}}}"
    return policy(kind, f"to-{service}", f"\n  to: [{{targetRef: {target}, default: {default}}}]")


AMPLIFIED = Code(
    code="TM103",
    title="Retries multiply along a path of calls",
    severity=Severity.WARNING,
    why="Each service repeats what failed, and the one before it repeats the whole: over n calls with r retries "
    "one request becomes (r+1)^n at the end. That is how a short outage at the bottom becomes a long one "
    "everywhere.",
    fix="Retry at one level (nearest to the failure), set numRetries: 0 elsewhere, and give the rest a retryBudget.",
    example=_CHAIN + _NO_BUDGET + towards_all("MeshRetry", "{http: {numRetries: 3, retryOn: [5xx, HttpMethodGet]}}"),
    better=_CHAIN
    + towards_all("MeshRetry", "{http: {numRetries: 3, retryBudget: {percent: 20}, retryOn: [5xx, HttpMethodGet]}}"),
)
OUTLIVED = Code(
    code="TM202",
    title="A caller gives up before its callee does",
    severity=Severity.WARNING,
    why="The callee goes on working, and retrying, for somebody who has left; the caller's own callers see a "
    "timeout without a cause. Timeouts have to become shorter on the way down.",
    fix="Give the inner call a shorter http.requestTimeout than the outer one, with room for the inner one's retries.",
    example=_CHAIN
    + _towards("MeshTimeout", "stock", "{http: {requestTimeout: 2s}, connectionTimeout: 1s}")
    + _towards("MeshTimeout", "depot", "{http: {requestTimeout: 8s}}"),
    better=_CHAIN
    + _towards("MeshTimeout", "stock", "{http: {requestTimeout: 8s}}")
    + _towards("MeshTimeout", "depot", "{http: {requestTimeout: 2s}, connectionTimeout: 1s}"),
)
EQUAL = Code(
    code="TM203",
    title="A caller and its callee give up at the same moment",
    severity=Severity.INFO,
    why="When the innermost call hangs, all of them time out at once: no service can answer with less instead, "
    "and every one looks broken.",
    fix="Make the timeout of the inner call shorter than that of the outer one.",
    example=_CHAIN + towards_all("MeshTimeout", "{http: {requestTimeout: 6s}}"),
    better=_CHAIN
    + towards_all("MeshTimeout", "{http: {requestTimeout: 6s}}")
    + _towards("MeshTimeout", "depot", "{http: {requestTimeout: 2s}, connectionTimeout: 1s}"),
)


def _in_a_row(timeout: str) -> str:
    return f"""
type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services:
  shop: {{instances: {{here: 2}}, endpoints: {{GET /: {{steps: [{{call: stock GET /}}, {{call: price GET /}}]}}}}}}
  stock: {{instances: {{here: 2}}, endpoints: {{GET /: {{}}}}}}
  price: {{instances: {{here: 2}}, endpoints: {{GET /: {{}}}}}}
workload: {{buyers: {{rate: 1/s, journeys: {{look: [GET shop/]}}, timeout: 20s}}}}
---
{_towards("MeshTimeout", "shop", "{http: {requestTimeout: 10s}}")}
{towards_all("MeshTimeout", f"{{http: {{requestTimeout: {timeout}}}}}")}
"""


IN_A_ROW = Code(
    code="TM204",
    title="Calls one after the other take longer than the caller waits",
    severity=Severity.WARNING,
    why="Each call alone is within the caller's timeout, all of them together are not: on a slow day the last "
    "ones are made for somebody who has left.",
    fix="Shorten the timeouts of the single calls, make them at once, or give the outer call the sum of them.",
    example=_in_a_row("6s"),
    better=_in_a_row("4s"),
)
CYCLE = Code(
    code="TM211",
    title="Services call one another in a circle",
    severity=Severity.INFO,
    why="In a circle no order of timeouts is right, retries feed themselves, and neither service can start or be "
    "drained without the other.",
    fix="Break the circle, or make one of its calls asynchronous. If different requests never meet, ignore this code.",
    example=_proxy("a", 8080, calls="b") + _proxy("b", 8081, calls="a").replace("8082", "8080"),
    better=_proxy("a", 8080, calls="b") + _proxy("b", 8081),
)
CODES = (AMPLIFIED, OUTLIVED, EQUAL, IN_A_ROW, CYCLE)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the call graph."""
    yield from _amplification(scene)
    yield from _timeouts(scene)
    for cycle in scene.graph.cycles:
        place = _dataplane_of(scene, cycle[0].service)
        yield from found(CYCLE, " -> ".join(str(node) for node in cycle), place)


@attrs.frozen
class _Tries:
    """How often one call is tried at most, and by which settings; `bounded`: a budget keeps it from adding up."""

    factor: float
    link: Link | None
    bounded: bool


def _amplification(scene: Scene) -> Iterator[Finding]:
    known: dict[tuple[str, str, int, str], _Tries] = {}

    def tries_of(call: Call) -> _Tries:
        key = (call.caller.service, call.callee.service, call.port, call.method)
        if key not in known:
            known[key] = _tries(scene, call)
        return known[key]

    walks = scene.graph.longest(lambda call: tries_of(call).factor)
    worst = max(walks.values(), key=lambda walk: (walk.factor, -len(walk.calls)), default=None)
    if worst is None or worst.factor < AMPLIFICATION_MIN:
        return
    tries = [tries_of(call) for call in worst.calls]
    unbounded = [each for each in tries if each.link is not None and not each.bounded and each.factor > 1]
    if len(unbounded) < 2:
        return
    product = " x ".join(f"{each.factor:g}" for each in tries if each.factor > 1)
    message = f"one request can become {worst.factor:g} ({product}) at {worst.calls[-1].callee}: {worst}"
    blamed = places(*(_blamed(each.link) for each in unbounded if each.link is not None))
    if blamed:
        yield from found(AMPLIFIED, message, blamed[0], *blamed[1:])


def _tries(scene: Scene, call: Call) -> _Tries:
    most = _Tries(1.0, None, True)
    for link in scene.links_of(call):
        policy = link.retry
        covered = not policy.methods or not call.method or call.method in policy.methods
        if not link.is_http or not policy.retries_max or not covered:
            continue
        budget = policy.budget
        factor = (
            float(1 + policy.retries_max) if budget is None else min(1 + budget.percent / 100, 1 + policy.retries_max)
        )
        if factor > most.factor:
            most = _Tries(factor, link, budget is not None)
    return most


def _blamed(link: Link) -> Place | None:
    return retry_place(link) or link.of("MeshCircuitBreaker").place("connectionLimits", "maxRetries")


def _timeouts(scene: Scene) -> Iterator[Finding]:
    patience = _Patience(scene)
    for node in reversed(scene.graph.order):
        for outer in scene.graph.calls_of[node]:
            deadline_s, outer_link = patience.of(outer)
            inner_calls = scene.graph.calls_of[outer.callee]
            if not deadline_s or outer_link is None or not inner_calls:
                continue
            # The slowest of its calls is enough: what is true of the others is true of it.
            inner = max(inner_calls, key=lambda call: patience.of(call)[0])
            latest_s, inner_link = patience.of(inner)
            path = (f"{outer.caller.service} -> {outer.callee.service} -> {inner.callee.service}",)
            where = (_timeout_place(outer_link), _timeout_place(inner_link))
            if latest_s > deadline_s:
                message = (
                    f"the caller gives up after {span(deadline_s)}, its callee's own call goes on for {span(latest_s)}"
                )
                yield from _at(OUTLIVED, message, where, path)
            elif latest_s == deadline_s:
                yield from _at(EQUAL, f"both give up after {span(deadline_s)}", where, path)
            else:
                yield from _in_sequence(scene, patience, outer, where)


def _in_sequence(
    scene: Scene, patience: "_Patience", outer: Call, where: tuple[Place | None, Place | None]
) -> Iterator[Finding]:
    deadline_s = patience.of(outer)[0]
    stages = scene.topology.stages.get(outer.callee, ())
    spans_s = [max((patience.of(call)[0] for call in stage), default=0.0) for stage in stages]
    if sum(spans_s) > deadline_s:
        parts = " + ".join(span(each) for each in spans_s if each)
        message = f"{outer.callee} may take {parts} = {span(sum(spans_s))}, its caller waits for {span(deadline_s)}"
        yield from _at(IN_A_ROW, message, where, (f"{outer.caller} -> {outer.callee}",))


def _at(code: Code, message: str, where: tuple[Place | None, Place | None], path: tuple[str, ...]) -> Iterator[Finding]:
    written = places(*where)
    if written:
        yield from found(code, message, written[0], *written[1:], affects=path)


class _Patience:
    """How long calls go on at most, each looked up once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._known: dict[tuple[str, str, int, float], tuple[float, Link | None]] = {}

    def of(self, call: Call) -> tuple[float, Link | None]:
        """Return when the most patient of the caller's proxies gives up, and what says so; 0: never, or nobody knows.

        Calls without an end have a code of their own.
        """
        key = (call.caller.service, call.callee.service, call.port, call.timeout_s)
        if key not in self._known:
            links = [link for link in self._scene.links_of(call) if link.is_http and link.deadline_s(call)]
            longest = max(links, key=lambda link: link.deadline_s(call), default=None)
            self._known[key] = (longest.deadline_s(call) if longest else 0.0, longest)
        return self._known[key]


def _timeout_place(link: Link | None) -> Place | None:
    return link.of("MeshTimeout").place("http", "requestTimeout") if link else None


def _dataplane_of(scene: Scene, service: str) -> Place | None:
    for state in scene.index.view.dataplanes.values():
        if service in (state.workload, state.resource.name):
            return Place(state.resource, ("networking", "outbound"))
    return None
