"""Whom proxies call: the services behind their outbounds and reachable backends. Pure."""

from collections.abc import Iterator

import attrs

from mesh.config.addressing import reachable
from mesh.config.index import MeshIndex
from mesh.config.lint.finding import Place
from mesh.config.matching import Destination
from mesh.config.services import Service
from mesh.config.snapshot import Endpoint
from mesh.config.view import DataplaneState
from mesh.model.traffic import Protocol
from mesh.resources.dataplane import Dataplane
from mesh.resources.mesh_service import ServicePort


@attrs.frozen(kw_only=True)
class Callee:
    """One port of a service. `hosts`: its endpoints, None where nobody knows."""

    name: str
    destination: Destination
    protocol: Protocol
    hosts: int | None


def callees(index: MeshIndex, state: DataplaneState) -> Iterator[Callee]:
    """Yield what a proxy is set up to call, each once. What leads nowhere is left out, and so is "everything"."""
    if reaches_everything(state.dataplane):
        for outbound in state.dataplane.outbounds:
            service = index.services.resolve(outbound.backend)
            port = service.port_by_number.get(outbound.backend.port) if service else None
            if service is not None and port is not None:
                yield _callee(service, port)
        return
    seen: set[tuple[str, str, int]] = set()
    for reached in reachable(index, state.resource.name):
        key = (*reached.service.key, reached.port.port)
        if key not in seen:
            seen.add(key)
            yield _callee(reached.service, reached.port)


def every_callee(index: MeshIndex) -> Iterator[Callee]:
    """Yield every port of every service."""
    for service in index.services.by_key.values():
        for port in service.port_by_number.values():
            yield _callee(service, port)


def reaches_everything(dataplane: Dataplane) -> bool:
    """Is all its traffic redirected, with no list of what it may reach?"""
    proxying = dataplane.transparent_proxying
    return proxying is not None and proxying.reachable_backends is None


def unresolved_outbounds(index: MeshIndex) -> Iterator[tuple[Place, str]]:
    """Yield the outbounds that lead nowhere, and why."""
    for state in index.view.dataplanes.values():
        for number, outbound in enumerate(state.dataplane.outbounds):
            backend = outbound.backend
            service = index.services.resolve(backend)
            place = Place(state.resource, ("networking", "outbound", number, "backendRef"))
            labels = ", ".join(f"{key}={value}" for key, value in sorted(backend.labels.items()))
            if service is None:
                yield place, f"{outbound.address}: there is no {backend.kind} {backend.name or f'with {labels}'}"
            elif backend.port not in service.port_by_number:
                known = ", ".join(str(number) for number in service.port_by_number)
                yield (
                    place,
                    f"{outbound.address}: {backend.kind} {service.name} has no port {backend.port}; it has {known}",
                )


def endpoints_of(destination: Destination) -> tuple[Endpoint, ...]:
    """Return the endpoints of a destination; none of one that is supposed."""
    service = destination.service
    return service.endpoints_by_port.get(destination.port, ()) if isinstance(service, Service) else ()


def _callee(service: Service, port: ServicePort) -> Callee:
    return Callee(
        name=service.name,
        destination=Destination(service=service, kind=service.kind, port=port.port, port_name=port.name),
        protocol=port.protocol,
        hosts=len(service.endpoints_by_port[port.port]),
    )
