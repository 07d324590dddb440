"""The engine of `mesh check`: all codes, asked of every mesh among some resources; findings sorted, joined, suppressed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

import attrs

from mesh.config.index import MeshIndex
from mesh.config.lint import (
    breakers,
    call_paths,
    documents,
    external,
    identity,
    outliers,
    overlaps,
    permissions,
    retries,
    routing,
    selectors,
    timeouts,
    traffic,
)
from mesh.config.lint.building import build_scene
from mesh.config.lint.finding import Code, Finding, Place
from mesh.config.lint.topology import Topology
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.resource import DEFAULT_MESH, Resource

FAMILIES: tuple[ModuleType, ...] = (
    retries,
    call_paths,
    timeouts,
    breakers,
    outliers,
    selectors,
    overlaps,
    permissions,
    identity,
    external,
    routing,
    traffic,
    documents,
)
CODE_BY_NAME: Mapping[str, Code] = {
    code.code: code
    for code in sorted((code for family in FAMILIES for code in family.CODES), key=lambda code: code.code)
}


def lint(
    resources: Sequence[Resource], *, topology_by_mesh: Mapping[str, Topology] | None = None
) -> tuple[Finding, ...]:
    """Look at all meshes among some resources, Dataplanes too. A mesh without a topology gets that of its outbounds."""
    topologies = topology_by_mesh or {}
    found: list[Finding] = [
        *documents.missing_meshes(resources),
        *documents.unknown_ignores(resources, set(CODE_BY_NAME)),
    ]
    for mesh in _meshes(resources):
        found += _lint_mesh(mesh, resources, topologies.get(mesh))
    return joined_findings(finding for finding in found if not _is_suppressed(finding))


def joined_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Join findings that say the same of one place, and sort them by place and code."""
    same: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        same.setdefault((finding.code.code, _key(finding.place), finding.message), []).append(finding)
    joined = (_joined(group) for group in same.values())
    return tuple(sorted(joined, key=lambda each: (*each.place.sort_key(), each.code.code, each.message)))


def _joined(group: list[Finding]) -> Finding:
    others = {_key(place): place for finding in group for place in finding.others}
    affects = {text: None for finding in group for text in finding.affects}
    return attrs.evolve(group[0], others=tuple(others.values()), affects=tuple(sorted(affects)))


def _key(place: Place) -> str:
    source = place.resource.source
    return f"{source.file}:{source.line}:{place.resource.mesh}:{place}"


def _meshes(resources: Iterable[Resource]) -> list[str]:
    """Return the meshes that resources are of; those of the whole installation are looked at beside one of them."""
    listed = list(resources)
    meshes = {resource.mesh for resource in listed if resource.mesh}
    if not meshes and listed:
        meshes = {DEFAULT_MESH}
    return sorted(meshes)


def _lint_mesh(mesh: str, resources: Sequence[Resource], topology: Topology | None) -> list[Finding]:
    own = tuple(resource for resource in resources if resource.mesh in ("", mesh))
    dataplanes = {resource.name: DataplaneState(resource=resource) for resource in own if resource.kind == "Dataplane"}
    written = tuple(resource for resource in own if resource.kind != "Dataplane")
    view = MeshView(mesh=mesh, resources=written, dataplanes=dict(sorted(dataplanes.items())))
    scene = build_scene(MeshIndex.of(view), written, topology)
    return [finding for family in FAMILIES for finding in family.check(scene)]


def _is_suppressed(finding: Finding) -> bool:
    return finding.code.code in documents.ignored_codes(finding.place.resource)
