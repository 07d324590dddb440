"""Services: what can be called, on which ports, at which endpoints, with which identities. Pure.

A service is written (MeshService), or made from all Dataplanes with one `kuma.io/workload`: its name is the workload,
its ports are their inbounds. A written one takes the place of a made one with the same name.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.identities import Identity, Unfit
from mesh.config.snapshot import Endpoint
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.dataplane import BackendRef, Inbound, InboundState
from mesh.resources.mesh_service import MeshService, ServicePort
from mesh.resources.resource import DISPLAY_NAME, WORKLOAD

IdentityByName = Mapping[str, Identity | Unfit | None]


@attrs.frozen(kw_only=True)
class Service:
    """One service. `endpoints_by_port` holds endpoints sorted by name; `spiffe_ids` whom callers may meet there.

    `secured`: every Dataplane behind it holds an identity, so that callers with one can insist on mutual TLS.
    """

    name: str
    labels: Mapping[str, str]
    port_by_number: Mapping[int, ServicePort]
    endpoints_by_port: Mapping[int, tuple[Endpoint, ...]]
    spiffe_ids: tuple[str, ...] = ()
    secured: bool = False

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        """Does it carry all of `labels`?"""
        return all(self.labels.get(key) == value for key, value in labels.items())


def services_of(view: MeshView, identity_by_name: IdentityByName) -> dict[str, Service]:
    """Return all services of a mesh, by name, sorted."""
    # A proxy that cannot hold its identity could not be called anyway, and must not lower a service to plaintext.
    states = {
        name: state
        for name, state in sorted(view.dataplanes.items())
        if not isinstance(identity_by_name.get(name), Unfit)
    }
    services: dict[str, Service] = {}
    for name, ports in view.known_ports.items():
        services[name] = _made(name, ports, {}, identity_by_name)
    for workload, members in _by_workload(states).items():
        ports = _inbound_ports(members.values())
        if ports:
            services[workload] = _made(workload, ports, members, identity_by_name)
    selection = _Selection(states)
    for resource in view.resources:
        if resource.kind == "MeshService" and resource.mesh == view.mesh:
            spec = resource.spec_as(MeshService)
            labels = {DISPLAY_NAME: resource.display_name, **resource.labels}
            services[resource.name] = _service(resource.name, labels, spec, selection.members(spec), identity_by_name)
    return dict(sorted(services.items()))


def resolve(backend: BackendRef, services: Mapping[str, Service]) -> Service | None:
    """Return the service that a reference means; of several with its labels the first by name."""
    if backend.name:
        return services.get(backend.name)
    return next((service for service in services.values() if service.matches_labels(backend.labels)), None)


class _Selection:
    """Finds Dataplanes by labels, without looking at each."""

    def __init__(self, states: Mapping[str, DataplaneState]) -> None:
        self._states = states
        self._names_by_label: dict[tuple[str, str], list[str]] = {}
        for name, state in states.items():
            labels = {DISPLAY_NAME: state.resource.display_name, **state.resource.labels}
            for label in labels.items():
                self._names_by_label.setdefault(label, []).append(name)

    def members(self, spec: MeshService) -> dict[str, DataplaneState]:
        if spec.match_labels is None:
            state = self._states.get(spec.dataplane)
            return {spec.dataplane: state} if state is not None else {}
        candidates = list(self._states)
        if spec.match_labels:
            # The rarest label leaves the fewest to look at.
            candidates = min((self._names_by_label.get(label, []) for label in spec.match_labels.items()), key=len)
        found = {name: self._states[name] for name in candidates}
        return {name: state for name, state in found.items() if state.resource.matches_labels(spec.match_labels)}


def _inbound_ports(states: Iterable[DataplaneState]) -> tuple[ServicePort, ...]:
    """Return the ports of a made service; where Dataplanes disagree about a port, the first by name is followed."""
    ports: dict[int, ServicePort] = {}
    for state in states:
        for inbound in state.dataplane.inbounds:
            name = "" if inbound.name == str(inbound.port) else inbound.name
            port = ServicePort(port=inbound.port, name=name, target=inbound.port, protocol=inbound.protocol)
            ports.setdefault(inbound.port, port)
    return tuple(ports[number] for number in sorted(ports))


def _by_workload(states: Mapping[str, DataplaneState]) -> dict[str, dict[str, DataplaneState]]:
    members: dict[str, dict[str, DataplaneState]] = {}
    for name, state in states.items():
        if state.workload:
            members.setdefault(state.workload, {})[name] = state
    return members


def _made(
    workload: str, ports: tuple[ServicePort, ...], members: Mapping[str, DataplaneState], identities: IdentityByName
) -> Service:
    labels = {DISPLAY_NAME: workload, WORKLOAD: workload}
    return _service(workload, labels, MeshService(ports=ports), members, identities)


def _service(
    name: str,
    labels: Mapping[str, str],
    spec: MeshService,
    members: Mapping[str, DataplaneState],
    identity_by_name: IdentityByName,
) -> Service:
    identities = [identity_by_name.get(member) for member in members]
    held = [identity.spiffe_id for identity in identities if isinstance(identity, Identity)]
    return Service(
        name=name,
        labels=labels,
        port_by_number={port.port: port for port in spec.ports},
        endpoints_by_port={port.port: _endpoints(port, members) for port in spec.ports},
        spiffe_ids=tuple(sorted({*held, *spec.spiffe_ids})),
        secured=len(held) == len(identities) and bool(held or spec.spiffe_ids),
    )


def _endpoints(port: ServicePort, members: Mapping[str, DataplaneState]) -> tuple[Endpoint, ...]:
    endpoints = []
    for name, state in members.items():
        inbound = _target(port, state.dataplane.inbounds)
        if inbound is not None:
            ready = state.is_ready(inbound)
            endpoints.append(Endpoint(name=name, address=inbound.address, zone=state.zone, healthy=ready))
    return tuple(endpoints)


def _target(port: ServicePort, inbounds: Iterable[Inbound]) -> Inbound | None:
    for inbound in inbounds:
        if port.target in (inbound.port, inbound.name) and inbound.state is not InboundState.IGNORED:
            return inbound
    return None
