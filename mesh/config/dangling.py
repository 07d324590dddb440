"""What policies say to no effect: references that lead nowhere, and shadow policies. A slip of the pen, or too early.

Pure; as warnings, each naming the policy and the place in it.
"""

from collections.abc import Iterable, Iterator, Mapping

from mesh.config.backends import resolve_backends
from mesh.config.destinations import Candidates
from mesh.config.matching import MESH, Item, is_shadow
from mesh.model.errors import Violation
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource


def without_target(items: tuple[Item, ...], candidates: Candidates) -> Iterator[Violation]:
    """Find items that are about nothing that is there."""
    for item in items:
        target = item.target
        if target.kind == MESH:
            continue
        found = candidates.meant_by(target.kind, target.labels)
        labels = _listed(target.labels)
        if not found:
            yield _warning(item, f"there is no {target.kind} with {labels}")
        elif target.section and all(candidate.port_of(target.section) is None for candidate in found):
            ports = sorted({candidate.section_of(port) for candidate in found for port in candidate.ports})
            hint = f"ports: {', '.join(ports)}" if ports else ""
            yield _warning(item, f"no {target.kind} with {labels} has a port '{target.section}'", hint)


def without_backend(items: tuple[Item, ...], candidates: Candidates) -> Iterator[Violation]:
    """Find references of routes that lead nowhere."""
    for item in items:
        for number, rule in enumerate(item.rules):
            for place, backend in enumerate(resolve_backends(rule.default.get("backendRefs", ()), candidates)):
                if not backend.is_resolved:
                    labels = _listed(backend.ref["labels"])
                    lacks = "there is no" if backend.service is None else "the reference names no port of the"
                    yield _about(
                        item.policy,
                        f"spec.to[{item.index}].rules[{number}].default.backendRefs[{place}]",
                        f"{lacks} {backend.ref['kind']} with {labels}: its share of the requests is answered with 500",
                    )


def left_out(resources: Iterable[Resource]) -> Iterator[Violation]:
    """Find policies that are only tried out."""
    for policy in resources:
        if isinstance(policy.spec, Policy) and is_shadow(policy):
            yield _about(policy, "labels", "a shadow policy does not count", "--shadow shows it in effect")


def _warning(item: Item, message: str, hint: str = "") -> Violation:
    return _about(item.policy, f"spec.to[{item.index}].targetRef", f"{message}: this part has no effect", hint)


def _listed(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _about(policy: Resource, path: str, message: str, hint: str = "") -> Violation:
    source = policy.source
    return Violation(
        file=source.file,
        line=source.line,
        column=source.column,
        path=f"{policy.kind} '{policy.name}' {path}",
        message=message,
        hint=hint,
    )
