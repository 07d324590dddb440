"""Services: what can be called, on which ports, at which endpoints, with which identities. Pure.

A MeshService is written, or made from all Dataplanes with one `kuma.io/workload`: its name is the workload, its ports
are their inbounds; a written one takes the place of a made one with the same name. A MeshMultiZoneService joins
MeshServices. A MeshExternalService is no part of the mesh, see `external_services`.
"""

import math
from collections.abc import Iterable, Mapping

import attrs

from mesh.config.identities import Identity, Unfit
from mesh.config.snapshot import Endpoint, Origination
from mesh.config.view import DataplaneState
from mesh.model.departure import Departure
from mesh.resources.dataplane import Inbound, InboundState
from mesh.resources.mesh_multi_zone_service import MeshMultiZoneService
from mesh.resources.mesh_service import MeshService, ServicePort
from mesh.resources.resource import DISPLAY_NAME, MESH, ORIGIN, WORKLOAD, Resource

MESH_SERVICE, EXTERNAL, MULTI_ZONE = "MeshService", "MeshExternalService", "MeshMultiZoneService"
SERVICE_KINDS = (MESH_SERVICE, EXTERNAL, MULTI_ZONE)
ServiceKey = tuple[str, str]  # kind, name
Stage = tuple[bool, Departure]  # whether it has yet to arrive; how far it is on its way out
IdentityByName = Mapping[str, Identity | Unfit | None]

# Who is preferred to whom; who has yet to arrive serves nobody, and is there lest a service that starts has no endpoints.
STAGES: tuple[Stage, ...] = tuple((arriving, departure) for arriving in (False, True) for departure in Departure)

_ENV, _MANAGED_BY = "kuma.io/env", "kuma.io/managed-by"


@attrs.frozen(kw_only=True)
class Hostname:
    """A name by which a service can be called, and the HostnameGenerator that gave it."""

    name: str
    generator: str


@attrs.frozen(kw_only=True)
class Service:
    """One service. `endpoints_by_port` holds endpoints sorted by name; `spiffe_ids` whom callers may meet there.

    A MeshService's endpoints are those that callers shall use; `stage_by_port`: at which stage these are.
    `secured`: every Dataplane behind it is to hold an identity, and all who can be called presented a certificate once,
    so that callers with one can insist on mutual TLS. Source: Kuma, MeshService `status.tls`: it waits for certificates.
    `created`: seconds since the epoch; a service that nobody wrote comes after all that are written.
    """

    kind: str = MESH_SERVICE
    name: str
    labels: Mapping[str, str]
    port_by_number: Mapping[int, ServicePort]
    endpoints_by_port: Mapping[int, tuple[Endpoint, ...]]
    stage_by_port: Mapping[int, Stage] = attrs.field(factory=dict)
    spiffe_ids: tuple[str, ...] = ()
    secured: bool = False
    origination: Origination | None = None  # of an external service with TLS; names no cluster
    vip: str = ""
    hostnames: tuple[Hostname, ...] = ()
    created: float = attrs.field(default=math.inf, eq=False)

    @property
    def key(self) -> ServiceKey:
        return (self.kind, self.name)

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        """Does it carry all of `labels`?"""
        return all(self.labels.get(key) == value for key, value in labels.items())


def service_labels(resource: Resource) -> dict[str, str]:
    """Return the labels of a written service, with those that a control plane adds. Source: Kuma, computed labels."""
    return {DISPLAY_NAME: resource.display_name, MESH: resource.mesh, ORIGIN: "zone", _ENV: "universal"} | dict(
        resource.labels
    )


def made_service(
    workload: str,
    members: Mapping[str, DataplaneState],
    known: tuple[ServicePort, ...],
    identities: IdentityByName,
    mesh: str,
    *,
    was_secured: bool = False,
) -> Service | None:
    """Make the service of a workload; `known` are its ports while it has no members. None: there is nothing to call."""
    ports = _inbound_ports(members.values()) or known
    if not ports:
        return None
    labels = {
        DISPLAY_NAME: workload,
        MESH: mesh,
        ORIGIN: "zone",
        _ENV: "universal",
        _MANAGED_BY: "meshservice-generator",
        WORKLOAD: workload,
    }
    return _service(workload, labels, MeshService(ports=ports), members, identities, was_secured)


def written_service(
    resource: Resource, members: Mapping[str, DataplaneState], identities: IdentityByName, *, was_secured: bool
) -> Service:
    """Make the service that a MeshService describes."""
    spec = resource.spec_as(MeshService)
    service = _service(resource.name, service_labels(resource), spec, members, identities, was_secured)
    return attrs.evolve(service, created=resource.created)


def multi_zone_service(resource: Resource, members: Iterable[Service]) -> Service:
    """Make the service that joins MeshServices: their ports of the same number, or else of the same name."""
    joined, ports = list(members), resource.spec_as(MeshMultiZoneService).ports
    return Service(
        kind=MULTI_ZONE,
        name=resource.name,
        labels=service_labels(resource),
        port_by_number={port.port: port for port in ports},
        endpoints_by_port={port.port: _joined_endpoints(port, joined) for port in ports},
        spiffe_ids=tuple(sorted({spiffe_id for service in joined for spiffe_id in service.spiffe_ids})),
        secured=bool(joined) and all(service.secured for service in joined),
        created=resource.created,
    )


def _joined_endpoints(port: ServicePort, services: Iterable[Service]) -> tuple[Endpoint, ...]:
    by_stage: dict[Stage, list[Endpoint]] = {}
    for service in services:
        found = service.port_by_number.get(port.port) or _port_named(port.name, service)
        if found:
            stage = service.stage_by_port[found.port]
            by_stage.setdefault(stage, []).extend(service.endpoints_by_port[found.port])
    endpoints: dict[str, Endpoint] = {}
    for endpoint in by_stage.get(_preferred(by_stage), ()):
        endpoints.setdefault(endpoint.name, endpoint)  # One Dataplane may stand behind two of them.
    return tuple(endpoints[name] for name in sorted(endpoints))


def _port_named(name: str, service: Service) -> ServicePort | None:
    return next((port for port in service.port_by_number.values() if name and port.name == name), None)


def _inbound_ports(states: Iterable[DataplaneState]) -> tuple[ServicePort, ...]:
    """Return the ports of a made service; where Dataplanes disagree about a port, the first by name is followed."""
    ports: dict[int, ServicePort] = {}
    for state in states:
        for inbound in state.dataplane.inbounds:
            name = "" if inbound.name == str(inbound.port) else inbound.name
            port = ServicePort(port=inbound.port, name=name, target=inbound.port, protocol=inbound.protocol)
            ports.setdefault(inbound.port, port)
    return tuple(ports[number] for number in sorted(ports))


def _service(
    name: str,
    labels: Mapping[str, str],
    spec: MeshService,
    members: Mapping[str, DataplaneState],
    identity_by_name: IdentityByName,
    was_secured: bool,
) -> Service:
    identities = [identity_by_name.get(member) for member in members]
    held = [identity.spiffe_id for identity in identities if isinstance(identity, Identity)]
    secured = len(held) == len(identities) and bool(held or spec.spiffe_ids)
    if secured and not was_secured:
        # A newcomer gets its certificate with its first configuration; until then nobody calls it.
        secured = all(state.holding.certified for state in members.values() if _can_be_called(state))
    found = {port.port: _endpoints(port, members, secured=secured) for port in spec.ports}
    return Service(
        name=name,
        labels=labels,
        port_by_number={port.port: port for port in spec.ports},
        endpoints_by_port={number: endpoints for number, (endpoints, _) in found.items()},
        stage_by_port={number: stage for number, (_, stage) in found.items()},
        spiffe_ids=tuple(sorted({*held, *spec.spiffe_ids})),
        secured=secured,
    )


def _can_be_called(state: DataplaneState) -> bool:
    return any(inbound.name not in state.holding.unopened for inbound in state.dataplane.inbounds)


def _endpoints(
    port: ServicePort, members: Mapping[str, DataplaneState], *, secured: bool
) -> tuple[tuple[Endpoint, ...], Stage]:
    """Return the endpoints that callers shall use, and at which stage these are."""
    by_stage: dict[Stage, list[Endpoint]] = {}
    for name, state in members.items():
        inbound = _target(port, state.dataplane.inbounds)
        if inbound is not None:
            ready, tags = state.is_ready(inbound), tuple(sorted(state.resource.labels.items()))
            endpoint = Endpoint(name=name, address=inbound.address, zone=state.zone, healthy=ready, tags=tags)
            holding = state.holding
            arriving = inbound.name in holding.unopened or (secured and not holding.certified)
            by_stage.setdefault((arriving, state.departure), []).append(endpoint)
    stage = _preferred(by_stage)
    return tuple(by_stage.get(stage, ())), stage


def _preferred(by_stage: Mapping[Stage, Iterable[Endpoint]]) -> Stage:
    """Return the first stage at which somebody is ready, or else at which there is anybody.

    Callers never see the others: those would count for their panic, as instances that are ill do.
    """
    for stage in STAGES:
        if any(endpoint.healthy for endpoint in by_stage.get(stage, ())):
            return stage
    return next((stage for stage in STAGES if by_stage.get(stage)), STAGES[0])


def _target(port: ServicePort, inbounds: Iterable[Inbound]) -> Inbound | None:
    for inbound in inbounds:
        if port.target in (inbound.port, inbound.name) and inbound.state is not InboundState.IGNORED:
            return inbound
    return None
