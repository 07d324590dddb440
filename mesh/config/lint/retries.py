"""Findings about MeshRetry: tries that cannot happen, that add up, or that repeat what must happen once. TM101 to TM110."""

from collections.abc import Iterator

from mesh.config.lint.effective import joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import towards_all
from mesh.config.lint.scene import Link, Scene, found
from mesh.model.durations import format_duration as span
from mesh.policy.retry import RetryOn
from mesh.resources.mesh_retry import METHOD_BY_NAME

_TIMEOUT_1S = towards_all("MeshTimeout", "{http: {requestTimeout: 1s}}")

PER_TRY_TOO_LONG = Code(
    code="TM101",
    title="The per-try timeout is not below the request timeout",
    severity=Severity.ERROR,
    why="The request ends before a try is given up, so a slow try is never followed by another. Kuma's defaults "
    "(16s and 15s) are of this kind.",
    fix="Make MeshRetry http.perTryTimeout a half or a third of MeshTimeout http.requestTimeout.",
    example=_TIMEOUT_1S + towards_all("MeshRetry", "{http: {numRetries: 2, perTryTimeout: 2s}}"),
    better=_TIMEOUT_1S + towards_all("MeshRetry", "{http: {numRetries: 2, perTryTimeout: 300ms}}"),
)
TRIES_DO_NOT_FIT = Code(
    code="TM102",
    title="The tries do not fit into the request timeout",
    severity=Severity.WARNING,
    why="The request timeout covers all tries and the pauses between them: when tries time out, the last ones are "
    "cut short or never made, though they are counted on.",
    fix="Lower numRetries or perTryTimeout, or raise the request timeout.",
    example=_TIMEOUT_1S + towards_all("MeshRetry", "{http: {numRetries: 3, perTryTimeout: 400ms}}"),
    better=_TIMEOUT_1S + towards_all("MeshRetry", "{http: {numRetries: 1, perTryTimeout: 400ms}}"),
)
WITHOUT_BUDGET = Code(
    code="TM104",
    title="Retries without a budget",
    severity=Severity.WARNING,
    why="When a service is overloaded every request fails and is repeated: the load multiplies at the worst "
    "moment and can stay there after the cause is gone. A budget bounds retries to a share of the traffic. A "
    "written maxRetries switches the budget off that is there by default, and bounds each sidecar alone, "
    "however little it sends.",
    fix="Write MeshRetry http.retryBudget: {percent: 20, minConcurrency: 3}, and leave "
    "connectionLimits.maxRetries out.",
    example=towards_all("MeshRetry", "{http: {numRetries: 2}}")
    + towards_all("MeshCircuitBreaker", "{connectionLimits: {maxRetries: 100}}"),
    better=towards_all("MeshRetry", "{http: {numRetries: 2, retryBudget: {percent: 20, minConcurrency: 3}}}"),
)
ALL_METHODS = Code(
    code="TM105",
    title="POST and PATCH are retried",
    severity=Severity.WARNING,
    why="After a reset, a timeout or a 5xx nobody knows whether the request was executed: repeated, an order or a "
    "payment happens twice. Conditions without methods apply to all methods, as in Kuma.",
    fix="Add HttpMethodGet, HttpMethodHead, HttpMethodPut and HttpMethodDelete to retryOn, or leave only "
    "conditions under which nothing was sent: ConnectFailure, RefusedStream.",
    example=towards_all("MeshRetry", "{http: {numRetries: 2, retryOn: [5xx, Reset]}}"),
    better=towards_all("MeshRetry", "{http: {numRetries: 2, retryOn: [5xx, Reset, HttpMethodGet]}}"),
)
NOT_IDEMPOTENT = Code(
    code="TM106",
    title="An operation that must happen once is retried",
    severity=Severity.ERROR,
    why="The scenario says that the operation is not idempotent, and the settings towards its service repeat it "
    "after failures in which it may have been executed.",
    fix="Restrict retryOn to the methods that may be repeated, or set numRetries: 0 towards this service.",
    example="""
type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services:
  shop: {instances: {here: 2}, endpoints: {POST /buy: {idempotent: false, steps: [{call: bank POST /charge}]}}}
  bank: {instances: {here: 2}, endpoints: {POST /charge: {idempotent: false}}}
workload: {buyers: {rate: 1/s, journeys: {buy: [POST shop/buy]}, timeout: 2s}}
---
type: MeshRetry
name: all
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 2, retryOn: [5xx]}}}]}
""",
    better="""
type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services:
  shop: {instances: {here: 2}, endpoints: {POST /buy: {idempotent: false, steps: [{call: bank POST /charge}]}}}
  bank: {instances: {here: 2}, endpoints: {POST /charge: {idempotent: false}}}
workload: {buyers: {rate: 1/s, journeys: {buy: [POST shop/buy]}, timeout: 2s}}
---
type: MeshRetry
name: all
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 2, retryOn: [5xx, HttpMethodGet]}}}]}
""",
)
METHODS_ONLY = Code(
    code="TM107",
    title="retryOn names methods and no condition",
    severity=Severity.WARNING,
    why="Methods only restrict. Without a condition Kuma retries nothing; here the default conditions (gateway "
    "errors, resets, failed connects, refused streams) apply to these methods.",
    fix="Add the conditions that are meant, such as 5xx, Reset, ConnectFailure.",
    example=towards_all("MeshRetry", "{http: {numRetries: 2, retryOn: [HttpMethodGet]}}"),
    better=towards_all("MeshRetry", "{http: {numRetries: 2, retryOn: [GatewayError, HttpMethodGet]}}"),
)
NO_RETRIES = Code(
    code="TM108",
    title="Retry settings beside numRetries: 0",
    severity=Severity.INFO,
    why="With numRetries: 0 nothing is retried: the other settings do nothing and mislead whoever reads them.",
    fix="Leave them out, or set numRetries.",
    example=towards_all("MeshRetry", "{http: {numRetries: 0, perTryTimeout: 300ms, retryOn: [ConnectFailure]}}"),
    better=towards_all("MeshRetry", "{http: {numRetries: 0}}"),
)
NO_PER_TRY = Code(
    code="TM109",
    title="Retries without a per-try timeout",
    severity=Severity.WARNING,
    why="A try without an end of its own uses up the whole request: an instance that hangs is never left for "
    "another one.",
    fix="Set perTryTimeout below the request timeout, or leave it out: then it is half of it.",
    example=towards_all("MeshRetry", "{http: {numRetries: 2, perTryTimeout: 0s}}"),
    better=towards_all("MeshRetry", "{http: {numRetries: 2, perTryTimeout: 2s}}"),
)
RATE_LIMITED = Code(
    code="TM110",
    title="Rate-limited answers are retried at once",
    severity=Severity.WARNING,
    why="Who is told to slow down and asks again within milliseconds spends the next interval's share too.",
    fix="Leave EnvoyRatelimited and 429 out of retryOn, or write rateLimitedBackOff with the header that says "
    "when to come back.",
    example=towards_all("MeshRetry", '{http: {numRetries: 2, retryOn: ["429", HttpMethodGet]}}'),
    better=towards_all("MeshRetry", '{http: {numRetries: 2, retryOn: ["503", HttpMethodGet]}}'),
)
CODES = (
    PER_TRY_TOO_LONG,
    TRIES_DO_NOT_FIT,
    WITHOUT_BUDGET,
    ALL_METHODS,
    NOT_IDEMPOTENT,
    METHODS_ONLY,
    NO_RETRIES,
    NO_PER_TRY,
    RATE_LIMITED,
)

# Under these nothing of the request was sent, or the server says that it did nothing.
_UNSENT = frozenset({RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM, RetryOn.RESET_BEFORE_REQUEST})
_UNSAFE_METHODS = ("POST", "PATCH", "CONNECT")


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the retries of every link."""
    for link in scene.links:
        if not link.is_http:
            continue
        yield from _disabled(link)
        if link.retry.retries_max:
            yield from _times(link)
            yield from _budget(link)
            yield from _methods(link, scene)
            yield from _rate_limited(link)


def retry_place(link: Link) -> Place | None:
    """Return where a link's retries come from: None where nobody wrote any."""
    retry = link.of("MeshRetry")
    return retry.place("http", "numRetries") or retry.place("http")


def _times(link: Link) -> Iterator[Finding]:
    policy, request_s = link.retry, link.timeouts.request_s
    written = link.of("MeshRetry").place("http", "perTryTimeout")
    timeout = link.of("MeshTimeout").place("http", "requestTimeout")
    per_try_s = policy.per_try_timeout_s
    if per_try_s == 0:
        message = f"{policy.retries_max} retries, and a try that hangs is never given up"
        yield from found(NO_PER_TRY, message, written, affects=link.affects)
    elif request_s and per_try_s >= request_s:
        message = (
            f"a try may take {span(per_try_s)}, the whole request {span(request_s)}: no slow try is followed by another"
        )
        yield from found(PER_TRY_TOO_LONG, message, written, timeout, affects=link.affects)
    elif request_s and written:
        pauses_s = _pauses_s(policy.backoff_base_s, policy.backoff_s_max, policy.retries_max)
        tries = policy.retries_max + 1
        whole_s = tries * per_try_s + pauses_s
        if whole_s > request_s:
            message = (
                f"{tries} tries of {span(per_try_s)} with up to {span(pauses_s)} of pauses take {span(whole_s)}, "
                f"the request has {span(request_s)}: {max(1, int(request_s / per_try_s))} full tries fit"
            )
            yield from found(TRIES_DO_NOT_FIT, message, written, timeout, affects=link.affects)


def _pauses_s(base_s: float, most_s: float, retries: int) -> float:
    """Return the longest that all pauses together can take."""
    total_s, interval_s = 0.0, base_s
    for _ in range(retries):
        total_s += interval_s
        interval_s = min(2 * interval_s, max(most_s, base_s))
    return total_s


def _budget(link: Link) -> Iterator[Finding]:
    if link.retry.budget is not None:
        return
    limit = link.of("MeshCircuitBreaker").place("connectionLimits", "maxRetries")
    most = link.limits.retries_max
    retries = link.retry.retries_max
    message = f"{retries} retries a request and no budget: each sidecar may have {most} at once, whatever it sends"
    place = retry_place(link)
    yield from found(WITHOUT_BUDGET, message, place or limit, limit if place else None, affects=link.affects)


def _methods(link: Link, scene: Scene) -> Iterator[Finding]:
    policy, retry = link.retry, link.of("MeshRetry")
    place = retry.place("http", "retryOn")
    names = retry.get("http", "retryOn", default=())
    if names and all(name in METHOD_BY_NAME for name in names):
        message = f"{joined(names)} and no condition: the default conditions apply"
        yield from found(METHODS_ONLY, message, place, affects=link.affects)
    unsafe = [condition.value for condition in policy.conditions if condition not in _UNSENT]
    unsafe += [str(code) for code in policy.status_codes]
    methods = [method for method in _UNSAFE_METHODS if not policy.methods or method in policy.methods]
    if not unsafe or not methods:
        return
    calls = scene.calls_through(link) if scene.detailed else ()
    for call in calls:
        if call.idempotent is False and call.method in (policy.methods or (call.method,)):
            message = f"{call.callee} must happen once, and is tried {policy.retries_max + 1} times on {joined(unsafe)}"
            yield from found(
                NOT_IDEMPOTENT, message, place or retry_place(link), affects=(f"{call.caller} -> {call.callee}",)
            )
    if not calls:
        message = f"{' and '.join(methods[:2])} requests are repeated on {joined(unsafe)}"
        yield from found(ALL_METHODS, message, place, affects=link.affects)


def _disabled(link: Link) -> Iterator[Finding]:
    retry = link.of("MeshRetry")
    place = retry.place("http", "numRetries")
    if link.retry.retries_max or place is None:
        return
    beside = [
        key
        for key in ("perTryTimeout", "backOff", "retryOn", "retryBudget")
        if (other := retry.place("http", key))
        and other.resource is place.resource
        and other.path[:-1] == place.path[:-1]
    ]
    if beside:
        message = f"numRetries: 0 leaves {joined(beside)} without effect"
        yield from found(NO_RETRIES, message, place, affects=link.affects)


def _rate_limited(link: Link) -> Iterator[Finding]:
    retry = link.of("MeshRetry")
    names = [name for name in retry.get("http", "retryOn", default=()) if name in ("EnvoyRatelimited", "429")]
    if names and retry.get("http", "rateLimitedBackOff") is None:
        base = span(link.retry.backoff_base_s)
        message = f"{joined(names)} is retried after at most {base}, whenever the limit lets requests through again"
        yield from found(RATE_LIMITED, message, retry.place("http", "retryOn"), affects=link.affects)
