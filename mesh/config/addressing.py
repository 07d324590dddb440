"""Addressing: at which local addresses a proxy's application reaches which services. Pure.

Two ways, which a Dataplane may use together. Port addressing: each `networking.outbound` is an address of its own,
usually a port of 127.0.0.1. VIP addressing: with `transparentProxying`, each port of each reachable service is reached
at the service's VIP. Those are in no network: until the proxy intercepts traffic, its host must take them for its own,
else the proxy cannot listen there (`ip route add local 241.0.0.0/8 dev lo`, the same for 242 and 243).
"""

from collections.abc import Iterable, Iterator

import attrs

from mesh.config.index import MeshIndex
from mesh.config.service_index import ServiceRef
from mesh.config.services import Service
from mesh.model.names import Address
from mesh.resources.dataplane import Dataplane, ReachableBackend
from mesh.resources.mesh_service import ServicePort


@attrs.frozen(eq=False)
class Reachable:
    """One address on which a proxy listens for its application, and the service port behind it."""

    address: Address
    service: Service
    port: ServicePort


def reachable(index: MeshIndex, proxy: str) -> Iterator[Reachable]:
    """Yield all that a proxy's application can reach, each address once: what was written, then VIPs by service and port."""
    dataplane = index.state(proxy).dataplane
    for outbound in dataplane.outbounds:
        service = index.services.resolve(outbound.backend)
        port = service.port_by_number.get(outbound.backend.port) if service else None
        if service is not None and port is not None:
            yield Reachable(outbound.address, service, port)
    yield from _at_vips(index, dataplane)


def unresolved(index: MeshIndex, proxy: str) -> tuple[str, ...]:
    """Say which outbounds of a proxy lead nowhere, since there is no such service or port; they have no listener."""
    lines = []
    for outbound in index.state(proxy).dataplane.outbounds:
        backend = outbound.backend
        service = index.services.resolve(backend)
        if service is None:
            lines.append(f"{outbound.address}: there is no {backend.kind} {_wanted(backend)}")
        elif backend.port not in service.port_by_number:
            lines.append(f"{outbound.address}: {backend.kind} {service.name} has no port {backend.port}")
    for ref in _backends(index.state(proxy).dataplane):
        if not _chosen(index, ref):
            lines.append(f"reachableBackends: there is no {ref.kind} {_wanted(ref)}")
    return tuple(lines)


def _at_vips(index: MeshIndex, dataplane: Dataplane) -> Iterator[Reachable]:
    interception = dataplane.transparent_proxying
    if interception is None:
        return
    if interception.reachable_backends is None:
        chosen = {service.key: dict(service.port_by_number) for service in index.services.by_key.values()}
    else:
        chosen = {}
        for ref in interception.reachable_backends:
            for service in _chosen(index, ref):
                ports = service.port_by_number
                numbers = ports if ref.port is None else [ref.port] if ref.port in ports else []
                chosen.setdefault(service.key, {}).update({number: ports[number] for number in numbers})
    for key in sorted(chosen):
        service = index.services.by_key[key]
        for number in sorted(chosen[key]):
            yield Reachable(Address(service.vip, number), service, chosen[key][number])


def _backends(dataplane: Dataplane) -> Iterable[ReachableBackend]:
    interception = dataplane.transparent_proxying
    return () if interception is None else interception.reachable_backends or ()


def _chosen(index: MeshIndex, ref: ReachableBackend) -> list[Service]:
    """Return all services that are meant: unlike an outbound, which has one target, this is a selection."""
    if ref.name:
        service = index.services.resolve(ref)
        return [] if service is None else [service]
    return index.services.matching(ref.kind, ref.labels)


def _wanted(ref: ServiceRef) -> str:
    return ref.name or ", ".join(f"{key}={value}" for key, value in sorted(ref.labels.items()))
