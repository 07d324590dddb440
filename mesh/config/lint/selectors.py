"""Findings about selectors that select nothing: top targets, destinations, ports, and those of services. TM401 to TM408."""

from collections.abc import Iterator, Mapping

from mesh.config.lint.effective import joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import IDENTITY, WEB, backends, policy
from mesh.config.lint.scene import Scene, found
from mesh.config.matching import MESH, ROUTE, selects
from mesh.config.selection import Carriers
from mesh.resources.dataplane import Dataplane
from mesh.resources.documents import suggest
from mesh.resources.hostname_generator import HostnameGenerator
from mesh.resources.mesh_identity import MeshIdentity
from mesh.resources.mesh_multi_zone_service import MeshMultiZoneService
from mesh.resources.mesh_service import MeshService
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource

_TIMEOUT = "default: {http: {requestTimeout: 5s}}"


def _target(labels: str, section: str = "") -> str:
    port = f", sectionName: {section}" if section else ""
    return policy(
        "MeshTimeout", "t", f"\n  to: [{{targetRef: {{kind: MeshService, labels: {{{labels}}}{port}}}, {_TIMEOUT}}}]"
    )


def _service(labels: str, ports: str) -> str:
    selector = f"{{dataplaneLabels: {{matchLabels: {{{labels}}}}}}}"
    return f"{{type: MeshService, name: api, spec: {{selector: {selector}, ports: [{ports}]}}}}"


def _generator(labels: str) -> str:
    selector = f"{{meshService: {{matchLabels: {{{labels}}}}}}}"
    spec = f'{{template: "{{{{ .DisplayName }}}}.own", selector: {selector}}}'
    return f"{{type: HostnameGenerator, name: own, spec: {spec}}}"


def _multi_zone(labels: str) -> str:
    selector = f"{{meshService: {{matchLabels: {{{labels}}}}}}}"
    return f"{{type: MeshMultiZoneService, name: api, spec: {{selector: {selector}, ports: [{{port: 8080}}]}}}}"


NO_PROXY = Code(
    code="TM401",
    title="A policy that selects no proxy",
    severity=Severity.WARNING,
    why="No Dataplane carries all labels of its targetRef: it does nothing, and nobody is told.",
    fix="Correct the labels, or give them to the Dataplanes that are meant.",
    example=WEB
    + policy("MeshTimeout", "t", f"{{targetRef: {{kind: Dataplane, labels: {{app: shop}}}}, rules: [{{{_TIMEOUT}}}]}}"),
    better=backends(1)
    + policy(
        "MeshTimeout",
        "t",
        f"{{targetRef: {{kind: Dataplane, labels: {{kuma.io/workload: backend}}}}, rules: [{{{_TIMEOUT}}}]}}",
    ),
)
NO_DESTINATION = Code(
    code="TM402",
    title="Settings for a service that is not there",
    severity=Severity.WARNING,
    why="No service carries all labels of this `to` target: the settings count for nothing, and the service that "
    "was meant has those of the mesh.",
    fix="Correct the labels; a service is named by kuma.io/display-name.",
    example=WEB + backends() + _target("kuma.io/display-name: bakcend"),
    better=WEB + backends() + _target("kuma.io/display-name: backend"),
)
NO_SECTION = Code(
    code="TM403",
    title="A sectionName that is not there",
    severity=Severity.WARNING,
    why="What is selected has no inbound or port of this name or number: the settings count for nothing.",
    fix="Write the name of the inbound or port, or its number where it has none.",
    example=WEB + backends() + _target("kuma.io/display-name: backend", "http"),
    better=WEB + backends() + _target("kuma.io/display-name: backend", '"8080"'),
)
EMPTY_SERVICE = Code(
    code="TM404",
    title="A service without Dataplanes",
    severity=Severity.WARNING,
    why="The selector of this MeshService selects no Dataplane: whoever calls it is answered 503 (UH).",
    fix="Correct the selector, or label the Dataplanes that are meant.",
    example=backends() + _service("app: x", "{port: 80, targetPort: 8080}"),
    better=backends() + _service("kuma.io/workload: backend", "{port: 80, targetPort: 8080}"),
)
NO_TARGET_PORT = Code(
    code="TM405",
    title="A targetPort that none of the Dataplanes has",
    severity=Severity.ERROR,
    why="The service's port leads to an inbound that is not there: it has no endpoint, every call is answered 503 "
    "(UH).",
    fix="Write the name or the port of an inbound of the selected Dataplanes.",
    example=backends() + _service("kuma.io/workload: backend", "{port: 80}"),
    better=backends() + _service("kuma.io/workload: backend", "{port: 80, targetPort: 8080}"),
)
EMPTY_IDENTITY = Code(
    code="TM406",
    title="A MeshIdentity that selects no proxy",
    severity=Severity.WARNING,
    why="Nobody gets an identity from it: the proxies that are meant speak plaintext, and their permissions are "
    "not enforced.",
    fix="Correct selector.dataplane.matchLabels; {} selects all proxies, no selector at all selects none.",
    example=backends() + IDENTITY.replace("matchLabels: {}", "matchLabels: {team: payments}"),
    better=backends() + IDENTITY,
)
EMPTY_GENERATOR = Code(
    code="TM407",
    title="A HostnameGenerator that names no service",
    severity=Severity.INFO,
    why="No service of its kind carries the labels: it gives out no name.",
    fix="Correct the selector, or remove it.",
    example=backends() + _generator("app: x"),
    better=backends() + _generator("kuma.io/display-name: backend"),
)
EMPTY_MULTI_ZONE = Code(
    code="TM408",
    title="A MeshMultiZoneService that joins nothing",
    severity=Severity.WARNING,
    why="No MeshService carries the labels of its selector: it has no endpoints.",
    fix="Correct selector.meshService.matchLabels.",
    example=backends() + _multi_zone("kuma.io/display-name: api"),
    better=backends() + _multi_zone("kuma.io/display-name: backend"),
)
CODES = (
    NO_PROXY,
    NO_DESTINATION,
    NO_SECTION,
    EMPTY_SERVICE,
    NO_TARGET_PORT,
    EMPTY_IDENTITY,
    EMPTY_GENERATOR,
    EMPTY_MULTI_ZONE,
)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at every selector."""
    for resource in scene.policies:
        if scene.has_proxies:
            yield from _top(resource, scene)
        yield from _destinations(resource, scene)
    if scene.has_proxies:
        yield from _services(scene)
        yield from _identities(scene)
    yield from _joined_services(scene)


def _top(resource: Resource, scene: Scene) -> Iterator[Finding]:
    target = resource.spec_as(Policy).target
    if target.kind == MESH:
        return
    names = list(scene.index.proxies.matching(target.labels))
    if not names:
        hint = _nearest(target.labels, scene.index.proxies)
        message = f"no Dataplane carries {_text(target.labels)}{hint}"
        yield from found(NO_PROXY, message, Place(resource, ("spec", "targetRef", "labels")))
    elif target.section:
        planes = [scene.dataplane(name) for name in names]
        if not any(selects(resource, plane, plane.spec_as(Dataplane).inbounds) for plane in planes):
            known = dict.fromkeys(inbound.name for plane in planes for inbound in plane.spec_as(Dataplane).inbounds)
            message = (
                f"none of {len(names)} selected Dataplanes has an inbound '{target.section}'; they have {joined(known)}"
            )
            yield from found(NO_SECTION, message, Place(resource, ("spec", "targetRef", "sectionName")))


def _destinations(resource: Resource, scene: Scene) -> Iterator[Finding]:
    for number, item in enumerate(resource.spec_as(Policy).to):
        target = item.target
        if target.kind == MESH or not scene.knows(target.kind):
            continue
        place = ("spec", "to", number, "targetRef")
        names = scene.meant(target)
        if not names:
            known = scene.carriers(target.kind)
            message = f"no {target.kind} carries {_text(target.labels)}{_nearest(target.labels, known)}"
            yield from found(NO_DESTINATION, message, Place(resource, (*place, "labels")))
        elif target.section and target.kind != ROUTE:
            services = [scene.index.services.by_key[target.kind, name] for name in names]
            ports = dict.fromkeys(
                port.name or str(port.port) for each in services for port in each.port_by_number.values()
            )
            numbers = {str(number) for each in services for number in each.port_by_number}
            if target.section not in ports and target.section not in numbers:
                message = f"{target.kind} {joined(names)} has no port '{target.section}'; there is {joined(ports)}"
                yield from found(NO_SECTION, message, Place(resource, (*place, "sectionName")))


def _services(scene: Scene) -> Iterator[Finding]:
    for resource in scene.of_kind("MeshService"):
        spec = resource.spec_as(MeshService)
        if spec.match_labels is None:
            states = scene.index.view.dataplanes
            members = [spec.dataplane] if spec.dataplane in states else []
            wanted, where = f"there is no Dataplane '{spec.dataplane}'", "dataplaneRef"
            if not spec.dataplane:
                wanted, where = "it has no selector", ""
        else:
            members = list(scene.index.proxies.matching(spec.match_labels))
            wanted, where = f"no Dataplane carries {_text(spec.match_labels)}", "dataplaneLabels"
        if not members:
            yield from found(
                EMPTY_SERVICE, wanted, Place(resource, ("spec", "selector", where) if where else ("spec",))
            )
            continue
        inbounds = [inbound for name in members for inbound in scene.dataplane(name).spec_as(Dataplane).inbounds]
        targets = {target for inbound in inbounds for target in (inbound.port, inbound.name)}
        for number, port in enumerate(spec.ports):
            if port.target not in targets:
                known = dict.fromkeys(inbound.name for inbound in inbounds)
                message = (
                    f"port {port.port} leads to '{port.target}'; the Dataplanes have {joined(known) or 'no inbound'}"
                )
                yield from found(NO_TARGET_PORT, message, Place(resource, ("spec", "ports", number)))


def _identities(scene: Scene) -> Iterator[Finding]:
    for resource in scene.of_kind("MeshIdentity"):
        labels = resource.spec_as(MeshIdentity).match_labels
        if labels is None:
            yield from found(EMPTY_IDENTITY, "without a selector it selects no proxy", Place(resource, ("spec",)))
        elif not any(True for _ in scene.index.proxies.matching(labels)):
            message = f"no Dataplane carries {_text(labels)}{_nearest(labels, scene.index.proxies)}"
            yield from found(EMPTY_IDENTITY, message, Place(resource, ("spec", "selector")))


def _joined_services(scene: Scene) -> Iterator[Finding]:
    for resource in scene.of_kind("HostnameGenerator"):
        spec = resource.spec_as(HostnameGenerator)
        if scene.knows(spec.selector_kind) and not _any(scene, spec.selector_kind, spec.match_labels):
            message = f"no {spec.selector_kind} carries {_text(spec.match_labels)}"
            yield from found(EMPTY_GENERATOR, message, Place(resource, ("spec", "selector")))
    for resource in scene.of_kind("MeshMultiZoneService"):
        labels = resource.spec_as(MeshMultiZoneService).match_labels
        if scene.knows("MeshService") and not _any(scene, "MeshService", labels):
            message = f"no MeshService carries {_text(labels)}"
            yield from found(EMPTY_MULTI_ZONE, message, Place(resource, ("spec", "selector")))


def _any(scene: Scene, kind: str, labels: Mapping[str, str]) -> bool:
    return any(True for _ in scene.carriers(kind).matching(labels))


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "any label"


def _nearest(labels: Mapping[str, str], carriers: Carriers[str]) -> str:
    """Suggest a value for the first label whose value nobody carries."""
    for key, value in sorted(labels.items()):
        known = {each[key]: None for each in carriers.labels_by_name.values() if key in each}
        if value not in known:
            guess = suggest(value, sorted(known)) if known else ""
            return f"; {guess}" if guess else f"; nobody has the label {key}" if not known else ""
    return ""
