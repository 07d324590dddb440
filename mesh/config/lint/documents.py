"""Findings about documents as such: old spellings, what has no effect yet, and labels. TM901 to TM907."""

from collections.abc import Iterable, Iterator

from mesh.config.lint.effective import joined
from mesh.config.lint.finding import IGNORE_LABEL, Code, Finding, Place, Severity
from mesh.config.lint.samples import backends, policy
from mesh.config.lint.scene import Scene, found
from mesh.config.matching import is_shadow
from mesh.model.errors import Violation
from mesh.model.traffic import Protocol
from mesh.resources.policy import Policy
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import EFFECT, Resource

_TIMEOUT = "{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 2h}}]}"

OLD_SPELLING = Code(
    code="TM901",
    title="A spelling of Kuma 2",
    severity=Severity.WARNING,
    why="It is read and rewritten; Kuma 3.0 refuses it, and what is stored and shown looks different from the file.",
    fix="Write what the message names.",
    example="""
type: MeshTimeout
name: t
spec:
  targetRef: {kind: MeshSubset, tags: {app: web}}
  to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 2h}}]
""",
    better="""
type: MeshTimeout
name: t
spec:
  targetRef: {kind: Dataplane, labels: {app: web}}
  to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 2h}}]
""",
)
DORMANT = Code(
    code="TM902",
    title="Kept, and without effect in this version",
    severity=Severity.INFO,
    why="The kind or the field is read, checked and stored, so that nothing is lost; the sidecars of this version "
    "do not act on it.",
    fix="Do not rely on it yet.",
    example="{type: MeshZoneAddress, name: a, spec: {address: ingress.example.com, port: 10001}}",
    better="{type: Mesh, name: default}",
)
PROXY_PATCH = Code(
    code="TM903",
    title="A MeshProxyPatch",
    severity=Severity.WARNING,
    why="It patches Envoy's configuration, and our sidecars are not Envoy: they do without it.",
    fix="Say it by a policy, if there is one; else keep it for the proxies that are Envoy.",
    example=policy(
        "MeshProxyPatch",
        "p",
        "{default: {appendModifications: [{cluster: "
        '{operation: Patch, match: {origin: inbound}, value: "connect_timeout: 5s"}}]}}',
    ),
    better=policy("MeshTimeout", "t", "{rules: [{default: {connectionTimeout: 5s}}]}"),
)
SHADOW = Code(
    code="TM904",
    title="A shadow policy",
    severity=Severity.INFO,
    why="kuma.io/effect: shadow takes it out of everything but the inspection of shadows: it changes no traffic.",
    fix="Remove the label to put it in force; `mesh diff` shows what that would change.",
    example=policy("MeshTimeout", "t", _TIMEOUT).replace("spec:", "labels: {kuma.io/effect: shadow}\nspec:"),
    better=policy("MeshTimeout", "t", _TIMEOUT),
)
UNKNOWN_IGNORED = Code(
    code="TM905",
    title=f"{IGNORE_LABEL} names a code that is not there",
    severity=Severity.WARNING,
    why="The label suppresses nothing by it: a slip of the pen hides what was meant to be seen, or the other way "
    "round.",
    fix="Write codes as in `mesh check --list`, separated by commas.",
    example=policy("MeshTimeout", "t", _TIMEOUT).replace("spec:", "labels: {mesh.io/ignore: TM999}\nspec:"),
    better=policy("MeshTimeout", "t", _TIMEOUT).replace("spec:", "labels: {mesh.io/ignore: TM201}\nspec:"),
)
UNKNOWN_MESH = Code(
    code="TM906",
    title="A mesh that is not there",
    severity=Severity.WARNING,
    why="Meshes are written in these files, and this one is not among them: a control plane refuses the resource.",
    fix="Correct `mesh`, or write {type: Mesh, name: ...}.",
    example="{type: Mesh, name: default}\n---\n"
    + policy("MeshTimeout", "t", _TIMEOUT).replace("spec:", "mesh: prod\nspec:"),
    better="{type: Mesh, name: default}\n---\n" + policy("MeshTimeout", "t", _TIMEOUT),
)
DISAGREEING = Code(
    code="TM907",
    title="Dataplanes of one workload disagree about a port",
    severity=Severity.WARNING,
    why="The service is made from all of them; where they differ the first by name is followed, and the others "
    "are called by a protocol that they do not declare.",
    fix="Give the port the same protocol on all Dataplanes of the workload.",
    example=backends(1) + backends(1, protocol="tcp").replace("backend-1", "backend-2").replace("10.0.1.1", "10.0.1.2"),
    better=backends(2),
)
CODES = (OLD_SPELLING, DORMANT, PROXY_PATCH, SHADOW, UNKNOWN_IGNORED, UNKNOWN_MESH, DISAGREEING)

# How a warning about something without effect begins, see mesh.resources.schema.
_KEPT = "kept, but"


def check(scene: Scene) -> Iterator[Finding]:
    """Look at each document of a mesh, and at the ports of its workloads."""
    for resource in scene.resources:
        yield from _document(resource)
    ports: dict[tuple[str, int], tuple[Protocol, Resource]] = {}
    for state in scene.index.view.dataplanes.values():
        yield from _document(state.resource)
        for number, inbound in enumerate(state.dataplane.inbounds if state.workload else ()):
            key = (state.workload, inbound.port)
            protocol, first = ports.setdefault(key, (inbound.protocol, state.resource))
            if protocol is not inbound.protocol:
                here = inbound.protocol.value
                message = f"port {inbound.port} of {state.workload} is {here} here, {protocol.value} at {first.name}"
                place = Place(state.resource, ("networking", "inbound", number))
                yield from found(DISAGREEING, message, place, Place(first))


def missing_meshes(resources: Iterable[Resource]) -> Iterator[Finding]:
    """Find resources of meshes that are not written, where any is."""
    listed = list(resources)
    meshes = {resource.name for resource in listed if resource.kind == "Mesh"}
    for resource in listed:
        if meshes and resource.mesh and resource.mesh not in meshes:
            message = f"there is no Mesh '{resource.mesh}'; there is {joined(sorted(meshes))}"
            yield from found(UNKNOWN_MESH, message, Place(resource, ("mesh",)))


def unknown_ignores(resources: Iterable[Resource], known: set[str]) -> Iterator[Finding]:
    """Find labels that name codes that are not there."""
    for resource in resources:
        unknown = [code for code in ignored_codes(resource) if code not in known]
        if unknown:
            yield from found(
                UNKNOWN_IGNORED, f"there is no code {joined(unknown)}", Place(resource, ("labels", IGNORE_LABEL))
            )


def ignored_codes(resource: Resource) -> tuple[str, ...]:
    """Return the codes that a resource's label suppresses."""
    text = resource.labels.get(IGNORE_LABEL, "")
    return tuple(code.strip().upper() for code in text.split(",") if code.strip())


def _document(resource: Resource) -> Iterator[Finding]:
    if resource.kind == "MeshProxyPatch":
        yield from found(PROXY_PATCH, KIND_BY_NAME[resource.kind].dormant, Place(resource))
    if isinstance(resource.spec, Policy) and is_shadow(resource):
        yield from found(SHADOW, "it is tried out, and changes no traffic", Place(resource, ("labels", EFFECT)))
    for warning in resource.warnings:
        if resource.kind != "MeshProxyPatch":
            yield _warned(resource, warning)


def _warned(resource: Resource, warning: Violation) -> Finding:
    code = DORMANT if _KEPT in warning.message else OLD_SPELLING
    return Finding(
        code=code,
        message=warning.message,
        place=Place(resource, known=warning),
        fix=warning.hint,
    )
