"""Findings about settings that meet others, or meet nothing: replaced, decided by a name, for no calls. TM409 to TM414."""

from collections.abc import Iterator

from mesh.config.lint.callers import unresolved_outbounds
from mesh.config.lint.effective import Keys, joined, leaves, places
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import WEB, backends, policy, towards_all
from mesh.config.lint.scene import Link, Reception, Scene, Usage, found
from mesh.config.matching import MESH
from mesh.resources.mesh_http_route import MESH_HTTP_ROUTE
from mesh.resources.policy import Policy

_ROUTE = MESH_HTTP_ROUTE.name

_TO_BACKEND = "targetRef: {kind: MeshService, labels: {kuma.io/display-name: backend}}"


def _to_backend(kind: str, name: str, default: str) -> str:
    return policy(kind, name, f"\n  to: [{{{_TO_BACKEND}, default: {default}}}]")


_DATABASE = """
type: Dataplane
name: db-1
labels: {kuma.io/workload: db}
networking: {address: 10.0.0.9, inbound: [{port: 5432, servicePort: 5433}]}
---
"""

SHADOWED = Code(
    code="TM409",
    title="Settings that are replaced wherever they would count",
    severity=Severity.WARNING,
    why="For every proxy and destination that they are about, a stronger policy sets all of the same: they do "
    "nothing, and whoever edits them wonders why.",
    fix="Remove them, or change the stronger policy.",
    example=_to_backend("MeshTimeout", "b", "{http: {requestTimeout: 5s}}")
    + policy(
        "MeshTimeout",
        "c",
        "\n  targetRef: {kind: Dataplane}"
        "\n  to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 5s}, idleTimeout: 1h}}]",
    ),
    better=_to_backend("MeshTimeout", "b", "{http: {requestTimeout: 5s}}"),
)
NOWHERE = Code(
    code="TM410",
    title="Settings that count nowhere at present",
    severity=Severity.INFO,
    why="Everybody whom they are about has stronger settings of the same kind. They would count for services or "
    "proxies that are still to come.",
    fix="Remove them if nothing else is to come.",
    example=WEB
    + backends()
    + towards_all("MeshTimeout", "{idleTimeout: 30m}")
    + _to_backend("MeshTimeout", "backend", "{idleTimeout: 1h}"),
    better=WEB
    + backends()
    + towards_all("MeshTimeout", "{idleTimeout: 30m}")
    + _to_backend("MeshTimeout", "backend", "{connectionTimeout: 1s}"),
)
BY_NAME = Code(
    code="TM411",
    title="Two policies of one rank want different things",
    severity=Severity.WARNING,
    why="They select alike and are about the same; which of them counts is decided by their names alone (the "
    "first in the alphabet wins). Renaming one changes the traffic.",
    fix="Join them into one policy, or make one of them more specific.",
    example=towards_all("MeshTimeout", "{http: {requestTimeout: 5s}}", name="a")
    + towards_all("MeshTimeout", "{http: {requestTimeout: 9s}, idleTimeout: 2h}", name="b"),
    better=towards_all("MeshTimeout", "{http: {requestTimeout: 5s}}", name="a")
    + towards_all("MeshTimeout", "{idleTimeout: 2h}", name="b"),
)
NOBODY_CALLS = Code(
    code="TM412",
    title="Settings for calls that nobody makes",
    severity=Severity.INFO,
    why="The service is there and the proxies are selected, but none of them has an outbound to it.",
    fix="Nothing, if the calls are still to come; else correct the target.",
    example=WEB
    + backends()
    + _DATABASE
    + policy(
        "MeshTimeout",
        "to-db",
        "\n  to: [{targetRef: {kind: MeshService, labels: {kuma.io/display-name: db}}, default: {connectionTimeout: 1s}}]",
    ),
    better=WEB + backends() + _to_backend("MeshTimeout", "to-backend", "{connectionTimeout: 1s}"),
)
UNRESOLVED = Code(
    code="TM413",
    title="An outbound that leads nowhere",
    severity=Severity.ERROR,
    why="There is no such service, or it has no such port: the sidecar opens no listener, and the application's "
    "connects are refused.",
    fix="Correct the backendRef, or add the Dataplanes or the MeshService that it means.",
    example=WEB,
    better=WEB + backends(),
)
NOT_HTTP = Code(
    code="TM414",
    title="HTTP settings on a port of opaque TCP",
    severity=Severity.WARNING,
    why="A port without a protocol is tcp: requests are not seen, so request timeouts, retries, request limits "
    "and routes do not act on it. That is the most frequent reason why a policy 'does not work'.",
    fix="Declare protocol: http (http2, grpc) on the inbounds, or appProtocol on the MeshService's port; for tcp "
    "leave the HTTP settings out.",
    example=WEB + backends(protocol="tcp") + _to_backend("MeshRetry", "r", "{http: {numRetries: 1}}"),
    better=WEB + backends(protocol="http") + _to_backend("MeshRetry", "r", "{http: {numRetries: 1}}"),
)
CODES = (SHADOWED, NOWHERE, BY_NAME, NOBODY_CALLS, UNRESOLVED, NOT_HTTP)

# Kinds whose settings are rules, told apart by their matches.
_ROUTES = ("MeshHTTPRoute", "MeshTCPRoute")
# Where settings that only HTTP knows stand.
_HTTP_ONLY: dict[str, tuple[Keys, ...]] = {
    "MeshTimeout": (("http",),),
    "MeshRetry": (("http",), ("grpc",)),
    "MeshRateLimit": (("local", "http"),),
    "MeshFaultInjection": (("http",),),
    "MeshCircuitBreaker": (("connectionLimits", "maxRequests"), ("connectionLimits", "maxRetries")),
}


def check(scene: Scene) -> Iterator[Finding]:
    """Look at what became of every item, and at every link and reception."""
    for usage in scene.usages:
        yield from _fate(usage)
    for link in scene.links:
        yield from _ties(link)
        yield from _opaque(link)
    for reception in scene.receptions:
        yield from _ties(reception)
        yield from _opaque(reception)
    if scene.has_proxies:
        yield from _uncalled(scene)
    for place, message in unresolved_outbounds(scene.index):
        yield from found(UNRESOLVED, message, place)


def _fate(usage: Usage) -> Iterator[Finding]:
    if usage.survives or not usage.contribution.conf:
        return
    if usage.is_used and usage.could_survive:
        code, where = NOWHERE, "at present"
    elif not usage.could_survive:
        code, where = SHADOWED, "wherever it would count"
    else:
        return
    place = usage.contribution.place
    own = [keys for keys, _ in leaves(usage.contribution.conf)]
    stronger = places(*(usage.settings.place(*keys) for keys in own))
    others = [other for other in stronger if other.resource is not place.resource]
    names = joined(dict.fromkeys(other.title for other in stronger))
    what = "every rule" if place.resource.kind in _ROUTES else f"all of {joined('.'.join(keys) for keys in own)}"
    yield Finding(
        code=code,
        message=f"{what} is replaced {where}, by {names}",
        place=place,
        others=tuple(others[:3]),
    )


def _ties(met: Link | Reception) -> Iterator[Finding]:
    for kind, settings in met.effective.items():
        for keys, winner, loser in settings.decided_by_name():
            name = winner.place.resource.display_name
            if kind in _ROUTES:
                message = f"both have a rule with the same matches; that of '{name}' counts, for its name comes first"
                yield from found(BY_NAME, message, loser.place, winner.place, affects=met.affects)
            else:
                message = f"both set {'.'.join(keys)}; '{name}' counts, for its name comes first"
                yield from found(BY_NAME, message, loser.place_of(keys), winner.place_of(keys), affects=met.affects)


def _opaque(met: Link | Reception) -> Iterator[Finding]:
    if met.is_http or met.supposed:
        return
    for kind, prefixes in _HTTP_ONLY.items():
        settings = met.of(kind)
        for prefix in prefixes:
            place = settings.place(*prefix)
            # Who writes settings for all does not mean the ports to which they do not apply.
            if place is not None and _is_particular(place, met):
                message = f"{'.'.join(prefix)} of {kind} does not act on opaque TCP"
                yield from found(NOT_HTTP, message, place, affects=met.affects)


def _is_particular(place: Place, met: Link | Reception) -> bool:
    policy = place.resource.spec_as(Policy)
    if isinstance(met, Reception):
        return bool(policy.target.labels or policy.target.section)
    number = place.path[2]
    return isinstance(number, int) and policy.to[number].target.kind != MESH


def _uncalled(scene: Scene) -> Iterator[Finding]:
    """Find items about services that exist, in policies that select somebody, which met nowhere."""
    used = {
        (id(usage.contribution.place.resource), usage.contribution.place.path)
        for usage in scene.usages
        if usage.is_used
    }
    for resource in scene.policies:
        for number, item in enumerate(resource.spec_as(Policy).to):
            place = Place(resource, ("spec", "to", number))
            if item.target.kind in (MESH, _ROUTE):  # Usages are by service: they know nothing of single routes.
                continue
            if (id(resource), place.path) not in used and scene.meant(item.target):
                labels = ", ".join(f"{key}={value}" for key, value in sorted(item.target.labels.items()))
                message = f"no selected proxy calls a {item.target.kind} with {labels}"
                yield from found(NOBODY_CALLS, message, Place(resource, (*place.path, "targetRef")))
