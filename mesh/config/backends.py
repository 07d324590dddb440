"""Backends: the services that a route's `backendRefs` name. Pure.

A reference that leads nowhere is kept and marked: where all of a route's do, its requests are answered with 500, and
its share of the others is too. Source: Kuma `pkg/xds/context` (labels mean the oldest), Gateway API (invalid backendRefs).
"""

from collections.abc import Iterable, Iterator, Mapping

import attrs

from mesh.config.destinations import Candidate, Candidates, oldest
from mesh.config.services import EXTERNAL
from mesh.resources.policy import Conf


@attrs.frozen(kw_only=True)
class Backend:
    """One reference, and what it means. `service` None: there is none; `port` None: the service has no such port."""

    ref: Conf
    service: Candidate | None
    port: int | None
    weight: int

    @property
    def is_resolved(self) -> bool:
        return self.service is not None and self.port is not None


def resolve_backends(refs: Iterable[Conf], candidates: Candidates) -> tuple[Backend, ...]:
    """Return what each of a route's references means, in their order."""
    return tuple(_resolve(ref, candidates) for ref in refs)


def _resolve(ref: Conf, candidates: Candidates) -> Backend:
    service = oldest(candidates.meant_by(ref["kind"], ref["labels"]))
    port = port_of(ref, service.kind, service.ports) if service is not None else None
    return Backend(ref=ref, service=service, port=port, weight=ref.get("weight", 1))


def port_of(ref: Conf, kind: str, ports: Mapping[int, str]) -> int | None:
    """Return the port that a reference names, if it is there; `ports` are the service's, by number, with their names.

    None named is none, but for a service that has only one.
    """
    named = str(ref.get("port", ref.get("sectionName", "")))
    if named:
        return next((number for number, name in ports.items() if named in (name, str(number))), None)
    # A MeshExternalService has one port and a MeshService may have more tomorrow: Kuma 3.0 fails closed.
    return next(iter(ports), None) if kind == EXTERNAL else None


def references(default: Conf) -> Iterator[Conf]:
    """Yield all references of a route's rule: its backends and its mirrors."""
    yield from default.get("backendRefs", ())
    for entry in default.get("filters", ()):
        if "requestMirror" in entry:
            yield entry["requestMirror"]["backendRef"]
