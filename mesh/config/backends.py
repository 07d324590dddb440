"""Backends: the services that a route's `backendRefs` name. Pure.

A reference that leads nowhere is kept and marked: where all of a route's do, its requests are answered with 500, and
its share of the others is too. Source: Kuma `pkg/xds/context` (labels mean the oldest), Gateway API (invalid backendRefs).
"""

from collections.abc import Iterable

import attrs

from mesh.config.destinations import Candidate, Candidates, oldest
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
    port = _port(ref, service) if service is not None else None
    return Backend(ref=ref, service=service, port=port, weight=ref.get("weight", 1))


def _port(ref: Conf, service: Candidate) -> int | None:
    """Return the port that a reference names, if it is there. None named is none, but for a service that has only one."""
    if "port" in ref:
        return service.port_of(str(ref["port"]))
    if "sectionName" in ref:
        return service.port_of(ref["sectionName"])
    # A MeshExternalService has one port and a MeshService may have more tomorrow: Kuma 3.0 fails closed.
    return next(iter(service.ports), None) if service.kind == "MeshExternalService" else None
