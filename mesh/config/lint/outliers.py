"""Findings about outlier detection: detectors that cannot eject, or whose ejections are undone. TM305 to TM313."""

import math
from collections.abc import Iterator

from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import WEB, backends, towards_all
from mesh.config.lint.scene import Link, Scene, found
from mesh.config.matching import MESH
from mesh.model.durations import format_duration as span
from mesh.resources.policy import Policy

_TOTAL = "detectors: {totalFailures: {consecutive: 5}}"


def _outliers(settings: str) -> str:
    return towards_all("MeshCircuitBreaker", f"{{outlierDetection: {{{settings}}}}}")


NEVER_EJECTS = Code(
    code="TM305",
    title="Outlier detection that can never eject anybody",
    severity=Severity.ERROR,
    why="An endpoint is ejected only while that leaves the ejected ones within maxEjectionPercent of the whole "
    "cluster. One of n is 100/n percent: with the default of 10% a cluster of fewer than ten endpoints never "
    "ejects.",
    fix="Raise maxEjectionPercent to at least 100 divided by the number of endpoints: 50 for two, 34 for three.",
    example=WEB + backends(3) + _outliers(_TOTAL),
    better=WEB + backends(3) + _outliers(f"maxEjectionPercent: 50, {_TOTAL}"),
)
TOO_FEW_HOSTS = Code(
    code="TM306",
    title="A statistical detector that needs more endpoints than there are",
    severity=Severity.WARNING,
    why="successRate and failurePercentage compare endpoints with one another, and do nothing while fewer than "
    "minimumHosts of them have enough requests.",
    fix="Lower minimumHosts to the number of endpoints or below, or use a consecutive detector.",
    example=WEB + backends(3) + _outliers("maxEjectionPercent: 50, detectors: {successRate: {minimumHosts: 5}}"),
    better=WEB + backends(3) + _outliers("maxEjectionPercent: 50, detectors: {successRate: {minimumHosts: 3}}"),
)
AFTER_TOTAL = Code(
    code="TM307",
    title="gatewayFailures comes never before totalFailures",
    severity=Severity.WARNING,
    why="Every gateway failure (502, 503, 504) is a failure: with the same number or a larger one the other "
    "detector is always there first.",
    fix="Make gatewayFailures.consecutive smaller than totalFailures.consecutive, or leave it out.",
    example=_outliers("detectors: {totalFailures: {consecutive: 5}, gatewayFailures: {consecutive: 10}}"),
    better=_outliers("detectors: {totalFailures: {consecutive: 10}, gatewayFailures: {consecutive: 5}}"),
)
SWITCHED_OFF = Code(
    code="TM308",
    title="Outlier detection without detectors, or switched off",
    severity=Severity.INFO,
    why="Only the detectors that are written are enforced, and with disabled: true none of them: nothing is ever "
    "ejected.",
    fix="Write a detector, such as totalFailures: {consecutive: 5}, and leave disabled out.",
    example=_outliers(f"disabled: true, {_TOTAL}"),
    better=_outliers(_TOTAL),
)
PANIC = Code(
    code="TM309",
    title="A panic threshold that never or always panics",
    severity=Severity.WARNING,
    why="0 switches panic off: once all endpoints are ejected everything is answered 503 (UH) until one returns. "
    "100 panics at the first one: ejected endpoints go on getting requests.",
    fix="Write a threshold below 100% minus maxEjectionPercent, or leave it at 50.",
    example=_outliers(f"healthyPanicThreshold: 100, maxEjectionPercent: 50, {_TOTAL}"),
    better=_outliers(f"healthyPanicThreshold: 30, maxEjectionPercent: 50, {_TOTAL}"),
)
LOCAL_UNSEEN = Code(
    code="TM310",
    title="Local failures are split off and counted by nobody",
    severity=Severity.WARNING,
    why="With splitExternalAndLocalErrors connects that fail and tries that time out no longer count as 503 and "
    "504. Without a localOriginFailures detector an instance that is gone is not ejected.",
    fix="Add detectors.localOriginFailures: {consecutive: 3}, or leave the split out.",
    example=_outliers(f"splitExternalAndLocalErrors: true, {_TOTAL}"),
    better=_outliers(
        "splitExternalAndLocalErrors: true, "
        "detectors: {totalFailures: {consecutive: 5}, localOriginFailures: {consecutive: 3}}"
    ),
)
EJECTS_INTO_PANIC = Code(
    code="TM311",
    title="More may be ejected than the balancer bears",
    severity=Severity.INFO,
    why="Below healthyPanicThreshold percent of healthy endpoints the balancer ignores health: beyond that point "
    "every further ejection brings all ejected endpoints back.",
    fix="Keep maxEjectionPercent + healthyPanicThreshold at or below 100.",
    example=_outliers(f"maxEjectionPercent: 80, healthyPanicThreshold: 50, {_TOTAL}"),
    better=_outliers(f"maxEjectionPercent: 50, healthyPanicThreshold: 50, {_TOTAL}"),
)
SHORT_EJECTION = Code(
    code="TM312",
    title="Ejections shorter than the interval",
    severity=Severity.INFO,
    why="Endpoints return only at a tick, every interval: a shorter baseEjectionTime lasts until the next one and "
    "is not what happens.",
    fix="Make baseEjectionTime a multiple of interval.",
    example=_outliers(f"interval: 30s, baseEjectionTime: 5s, {_TOTAL}"),
    better=_outliers(f"interval: 5s, baseEjectionTime: 30s, {_TOTAL}"),
)
LONG_RUN = Code(
    code="TM313",
    title="A run of failures longer than the limits let through",
    severity=Severity.WARNING,
    why="While an endpoint fails slowly (timeouts), at most maxRequests of its failures are under way at once; a "
    "detector that waits for more in a row acts one timeout later, or never where successes come between.",
    fix="Lower consecutive, to 3 or 5, or raise maxRequests.",
    example=towards_all(
        "MeshCircuitBreaker",
        "{connectionLimits: {maxRequests: 20}, outlierDetection: {detectors: {totalFailures: {consecutive: 100}}}}",
    ),
    better=towards_all(
        "MeshCircuitBreaker",
        "{connectionLimits: {maxRequests: 20}, outlierDetection: {detectors: {totalFailures: {consecutive: 5}}}}",
    ),
)
CODES = (
    NEVER_EJECTS,
    TOO_FEW_HOSTS,
    AFTER_TOTAL,
    SWITCHED_OFF,
    PANIC,
    LOCAL_UNSEEN,
    EJECTS_INTO_PANIC,
    SHORT_EJECTION,
    LONG_RUN,
)

_STATISTICAL = ("successRate", "failurePercentage")
_CONSECUTIVE = ("totalFailures", "gatewayFailures", "localOriginFailures")
_MINIMUM_HOSTS = 5  # Envoy's and Kuma's default.


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the outlier detection of every link."""
    for link in scene.links:
        breaker = link.of("MeshCircuitBreaker")
        place = breaker.place("outlierDetection")
        if place is None:
            continue
        if link.outliers is None:
            why = "disabled: true" if breaker.get("outlierDetection", "disabled") else "no detector"
            yield from found(SWITCHED_OFF, f"{why}: nothing is ever ejected", place, affects=link.affects)
            continue
        yield from _sizes(link, scene, place)
        yield from _detectors(link)
        yield from _panic(link)
        yield from _spans(link, place)


def _sizes(link: Link, scene: Scene, place: Place) -> Iterator[Finding]:
    breaker, config = link.of("MeshCircuitBreaker"), link.outliers
    hosts = scene.hosts_of(link)
    # From a single endpoint there is nowhere to go: who writes settings for all services does not mean it.
    if config is None or hosts is None or hosts == 0 or (hosts == 1 and _is_for_all(breaker.place("outlierDetection"))):
        return
    affects = tuple(f"{text} ({hosts} endpoint{'s' if hosts > 1 else ''})" for text in link.affects)
    percent = config.ejection_percent_max
    if percent * hosts < 100 and not config.always_eject_one:
        needed = math.ceil(100 / hosts)
        message = f"with maxEjectionPercent {percent} nobody is ejected from {hosts}: one of them is {100 / hosts:.3g}%"
        where = breaker.place("outlierDetection", "maxEjectionPercent") or place
        yield from found(
            NEVER_EJECTS, message, where, affects=affects, fix=f"Write maxEjectionPercent: {needed} or more."
        )
    for name in _STATISTICAL:
        settings = breaker.get("outlierDetection", "detectors", name)
        minimum = settings.get("minimumHosts", _MINIMUM_HOSTS) if settings is not None else 0
        if minimum > hosts:
            message = f"{name} needs {minimum} endpoints, there are {hosts}"
            detector = breaker.place("outlierDetection", "detectors", name)
            yield from found(TOO_FEW_HOSTS, message, detector, affects=affects)


def _is_for_all(place: Place | None) -> bool:
    """Does it stand in an item about the whole mesh?"""
    if place is None:
        return False
    number = place.path[2]
    return isinstance(number, int) and place.resource.spec_as(Policy).to[number].target.kind == MESH


def _detectors(link: Link) -> Iterator[Finding]:
    breaker, config = link.of("MeshCircuitBreaker"), link.outliers
    assert config is not None
    if 0 < config.consecutive_5xx <= config.consecutive_gateway_failures:
        gateway, total = config.consecutive_gateway_failures, config.consecutive_5xx
        message = f"gatewayFailures after {gateway}, totalFailures after {total} already"
        where = breaker.place("outlierDetection", "detectors", "gatewayFailures")
        yield from found(
            AFTER_TOTAL,
            message,
            where,
            breaker.place("outlierDetection", "detectors", "totalFailures"),
            affects=link.affects,
        )
    if config.split_local_origin_errors and not config.consecutive_local_origin_failures:
        message = "failed connects and timeouts are split off, and no localOriginFailures detector counts them"
        where = breaker.place("outlierDetection", "splitExternalAndLocalErrors")
        yield from found(LOCAL_UNSEEN, message, where, affects=link.affects)
    limit = breaker.get("connectionLimits", "maxRequests", default=0)
    for name in _CONSECUTIVE:
        run = breaker.get("outlierDetection", "detectors", name, "consecutive", default=0)
        if 0 < limit < run:
            message = f"{name} waits for {run} failures in a row, maxRequests lets {limit} be under way"
            where = breaker.place("outlierDetection", "detectors", name, "consecutive")
            yield from found(
                LONG_RUN, message, where, breaker.place("connectionLimits", "maxRequests"), affects=link.affects
            )


def _panic(link: Link) -> Iterator[Finding]:
    breaker, config = link.of("MeshCircuitBreaker"), link.outliers
    assert config is not None
    place = breaker.place("outlierDetection", "healthyPanicThreshold")
    threshold = breaker.get("outlierDetection", "healthyPanicThreshold", default=50.0)
    if threshold in (0, 100):
        does = (
            "never panics: with all endpoints ejected every request fails"
            if threshold == 0
            else "panics at the first ejection"
        )
        yield from found(PANIC, f"healthyPanicThreshold {threshold:g} {does}", place, affects=link.affects)
    elif config.ejection_percent_max + threshold > 100:
        most = config.ejection_percent_max
        message = f"maxEjectionPercent {most}, and below {threshold:g}% healthy ejected endpoints get requests again"
        where = breaker.place("outlierDetection", "maxEjectionPercent") or place
        yield from found(EJECTS_INTO_PANIC, message, where, place if where is not place else None, affects=link.affects)


def _spans(link: Link, place: Place) -> Iterator[Finding]:
    breaker, config = link.of("MeshCircuitBreaker"), link.outliers
    assert config is not None
    if config.base_ejection_s < config.interval_s:
        written = [name for name in ("baseEjectionTime", "interval") if breaker.place("outlierDetection", name)]
        message = f"ejected for {span(config.base_ejection_s)}, looked at every {span(config.interval_s)}"
        where = breaker.place("outlierDetection", written[0]) if written else place
        yield from found(SHORT_EJECTION, message, where, affects=link.affects)
