"""Findings about MeshHTTPRoute and MeshTCPRoute: backends that are not there, rules that nothing reaches. TM701 to TM705."""

from collections.abc import Iterator, Mapping
from typing import Any

from mesh.config.backends import port_of
from mesh.config.destinations import oldest
from mesh.config.lint.effective import Contribution, joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import WEB, backends, policy
from mesh.config.lint.scene import Link, Scene, found
from mesh.config.matching import Item
from mesh.config.outbound_routes import reads_requests
from mesh.config.route_translation import is_everything
from mesh.config.routes import RouteChoice, in_evaluation_order, merged_rules
from mesh.resources.documents import Path
from mesh.resources.policy import Conf, Policy
from mesh.resources.resource import Resource

_KINDS = ("MeshHTTPRoute", "MeshTCPRoute")


def _route(*rules: str) -> str:
    listed = "".join(f"\n        - {rule}" for rule in rules)
    target = "targetRef: {kind: MeshService, labels: {kuma.io/display-name: backend}}"
    return policy("MeshHTTPRoute", "r", f"\n  to:\n    - {target}\n      rules:{listed}")


def _to(service: str, *, path: str = "/", more: str = "", port: int = 8080) -> str:
    ref = f"{{kind: MeshService, labels: {{kuma.io/display-name: {service}}}, port: {port}{more}}}"
    return f"{{matches: [{{path: {{type: PathPrefix, value: {path}}}}}], default: {{backendRefs: [{ref}]}}}}"


_MESH = WEB + backends()

NO_BACKEND = Code(
    code="TM701",
    title="A route to a backend that is not there",
    severity=Severity.ERROR,
    why="No service carries the labels, it lacks the port, or no port is named: the share of requests that goes there is "
    "answered 500.",
    fix="Correct the labels or the port of the backendRef.",
    example=_MESH + _route(_to("bakcend")),
    better=_MESH + _route(_to("backend")),
)
NO_WEIGHT = Code(
    code="TM702",
    title="A route of which all backends have weight 0",
    severity=Severity.ERROR,
    why="Weights are shares of their sum: where that is 0 no backend can be chosen, and every request is answered 500.",
    fix="Give one backend a weight.",
    example=_MESH + _route(_to("backend", more=", weight: 0")),
    better=_MESH + _route(_to("backend", more=", weight: 1")),
)
SEVERAL_BACKENDS = Code(
    code="TM703",
    title="A reference that could mean several services",
    severity=Severity.WARNING,
    why="A backendRef means one service. Of several with these labels the oldest is taken: delete it, and the "
    "traffic moves.",
    fix="Name one: labels: {kuma.io/display-name: NAME}.",
    example=_MESH
    + _route(_to("backend").replace("kuma.io/display-name: backend", "team: a"))
    + "".join(
        f"{{type: MeshService, name: {name}, labels: {{team: a}}, spec: {{selector: {{dataplaneLabels: {{matchLabels: "
        "{kuma.io/workload: backend}}}, ports: [{port: 8080}]}}\n---\n"
        for name in ("one", "two")
    ),
    better=_MESH + _route(_to("backend")),
)
UNREACHED = Code(
    code="TM704",
    title="A rule that no request reaches",
    severity=Severity.WARNING,
    why="Rules are tried in the Gateway API's order, not in the file's: exact paths, longer prefixes, regular "
    "expressions, then rules without a path. Prefix / matches everything and stands before the last two.",
    fix="Give the rule a path prefix of its own beside its headers: {path: {type: PathPrefix, value: /}, headers: "
    "[...]}.",
    example=_MESH
    + _route("{matches: [{headers: [{type: Exact, name: x-canary, value: yes-please}]}], default: {}}", _to("backend")),
    better=_MESH
    + _route(
        "{matches: [{path: {type: PathPrefix, value: /}, "
        "headers: [{type: Exact, name: x-canary, value: yes-please}]}], default: {}}",
        _to("backend", path="/v1"),
    ),
)
NOT_HTTP = Code(
    code="TM705",
    title="A MeshHTTPRoute towards a port that is not HTTP",
    severity=Severity.WARNING,
    why="Requests are told apart only on ports with protocol http: on this one connections pass unread, and the route has "
    "no effect.",
    fix="Declare the port's protocol, http, or write a MeshTCPRoute.",
    example=WEB + backends(protocol="tcp") + _route(_to("backend")),
    better=_MESH + _route(_to("backend")),
)
CODES = (NO_BACKEND, NO_WEIGHT, SEVERAL_BACKENDS, UNREACHED, NOT_HTTP)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at every route and, for the order of rules, at every link that goes by routes."""
    for resource in scene.of_kind(*_KINDS):
        for number, item in enumerate(resource.spec_as(Policy).to):
            for index, rule in enumerate(item.rules):
                yield from _backends(scene, resource, ("spec", "to", number, "rules", index, "default"), rule.default)
    for link in scene.links:
        yield from _order(link) if reads_requests(link.protocol) else _unread(link)


def _backends(scene: Scene, resource: Resource, path: Path, default: Conf) -> Iterator[Finding]:
    refs: list[tuple[Path, Mapping[str, Any]]] = [
        ((*path, "backendRefs", index), ref) for index, ref in enumerate(default.get("backendRefs", ()))
    ]
    for index, entry in enumerate(default.get("filters", ())):
        if "requestMirror" in entry:
            place = (*path, "filters", index, "requestMirror", "backendRef")
            refs.append((place, entry["requestMirror"]["backendRef"]))
    for place, ref in refs:
        if scene.knows(ref["kind"]):
            yield from _backend(scene, Place(resource, place), ref)
    backends = default.get("backendRefs", ())
    if backends and not any(ref.get("weight", 1) for ref in backends):
        yield from found(
            NO_WEIGHT, f"{len(backends)} backends, none with a weight", Place(resource, (*path, "backendRefs"))
        )


def _backend(scene: Scene, place: Place, ref: Mapping[str, Any]) -> Iterator[Finding]:
    services = scene.index.services.matching(ref["kind"], ref["labels"])
    labels = ", ".join(f"{key}={value}" for key, value in sorted(ref["labels"].items()))
    service = oldest(services)
    if service is None:
        yield from found(NO_BACKEND, f"no {ref['kind']} carries {labels}", place)
        return
    if port_of(ref, service.kind, {number: port.name for number, port in service.port_by_number.items()}) is None:
        known = joined(str(number) for number in service.port_by_number)
        port = ref.get("port", ref.get("sectionName", ""))
        lacks = f"has no port {port}" if port else "is named without a port"
        yield from found(NO_BACKEND, f"{service.kind} {service.name} {lacks}; it has {known}", place)
    if len(services) > 1:
        names = joined(sorted(each.name for each in services))
        yield from found(SEVERAL_BACKENDS, f"{labels} means {names}; {service.name} is taken, as the oldest", place)


def _unread(link: Link) -> Iterator[Finding]:
    for contribution in link.of("MeshHTTPRoute").contributions:
        message = f"port {link.target} is {link.protocol.value}: nothing is read there"
        yield from found(NOT_HTTP, message, contribution.place, affects=link.affects)


def _order(link: Link) -> Iterator[Finding]:
    settings = link.of("MeshHTTPRoute")
    if not settings.contributions:
        return
    choices = in_evaluation_order(merged_rules(_item(each) for each in settings.contributions))
    everything = next((number for number, choice in enumerate(choices) if is_everything(choice.match)), None)
    for choice in choices[everything + 1 :] if everything is not None else ():
        message = (
            f"{_text(choice.match)} is tried after {_text(choices[everything or 0].match)}, which matches every request"
        )
        place, other = _place(choice), _place(choices[everything or 0])
        yield from found(UNREACHED, message, place, other, affects=link.affects)


def _item(contribution: Contribution) -> Item:
    policy, number = contribution.place.resource, contribution.place.path[2]
    assert isinstance(number, int)
    return Item(policy=policy, index=number, to=policy.spec_as(Policy).to[number])


def _place(choice: RouteChoice) -> Place:
    item = choice.rule.items[-1]
    numbers = (number for number, rule in enumerate(item.rules) if rule.matches == choice.rule.matches)
    return Place(item.policy, ("spec", "to", item.index, "rules", next(numbers, 0)))


def _text(match: Conf) -> str:
    path = match.get("path")
    parts = [f"{path['type']} {path['value']}"] if path else []
    parts += [match["method"]] if "method" in match else []
    parts += [f"header {header['name']}" for header in match.get("headers", ())]
    parts += [f"parameter {parameter['name']}" for parameter in match.get("queryParams", ())]
    return " and ".join(parts) or "a rule without matches"
