"""Who runs where: the instances and edges of a scenario, their Dataplane resources, and what their actors have to know.

Pure; the simulation and `mesh up` both deploy from it. An instance's sidecar and application share a host: the sidecar
listens on the host's address, the application on `local` (127.0.0.1, or an address of the instance's own where many
instances share a machine), where the sidecar's outbounds are too.
"""

from typing import Any

import attrs

from mesh.model.names import Address
from sim.scenario.names import instance_names
from sim.scenario.scenario import Scenario
from sim.scenario.topology import Endpoint, Service
from sim.scenario.users import ClosedModel, Workload
from sim.workload.settings import ServiceSettings, UsersSettings

LOCAL = "127.0.0.1"
APPLICATION_PORT_OFFSET = 10_000  # The application behind inbound 8080 listens on 18080.
OUTBOUND_PORT_FIRST = 10_001
PROBE_INTERVAL_S = 5.0


@attrs.frozen(kw_only=True)
class Instance:
    """One instance of a service, on a host of its own name."""

    name: str
    zone: str
    service: Service

    @property
    def workload(self) -> str:
        return self.service.name

    def called(self) -> tuple[str, ...]:
        return self.service.called_services()


@attrs.frozen(kw_only=True)
class Edge:
    """The users of one workload in one zone, on a host of their own with a sidecar, so that their calls are in the mesh too."""

    name: str
    zone: str
    users: Workload
    share: float
    first_user: int = 0
    user_count: int = 0

    @property
    def workload(self) -> str:
        return self.users.name

    def called(self) -> tuple[str, ...]:
        return self.users.entry_services()


def instances_of(scenario: Scenario) -> tuple[Instance, ...]:
    """Return the instances within the mesh that a scenario starts with, in its order."""
    return tuple(instance for instance in _all_instances(scenario) if instance.service.external is None)


def outsiders_of(scenario: Scenario) -> tuple[Instance, ...]:
    """Return the instances of external services that a scenario starts with: they have no sidecar."""
    return tuple(instance for instance in _all_instances(scenario) if instance.service.external is not None)


def _all_instances(scenario: Scenario) -> tuple[Instance, ...]:
    return tuple(
        Instance(name=name, zone=zone, service=service)
        for service in scenario.services
        for name, zone in instance_names(service.name, service.instances)
    )


def edges_of(scenario: Scenario) -> tuple[Edge, ...]:
    """Return where users are: each zone gets its share of starts, or of closed users (largest remainders rounded up)."""
    edges = []
    for workload in scenario.workloads:
        total = sum(weight for _, weight in workload.zones)
        users = workload.model.users if isinstance(workload.model, ClosedModel) else 0
        placed, weight_so_far = 0, 0.0
        for zone, weight in workload.zones:
            weight_so_far += weight
            upto = round(users * weight_so_far / total)
            if weight:
                name = f"{workload.name}-{zone}"
                edges.append(
                    Edge(
                        name=name,
                        zone=zone,
                        users=workload,
                        share=weight / total,
                        first_user=placed,
                        user_count=upto - placed,
                    )
                )
            placed = upto
    return tuple(edges)


def dataplane_of(scenario: Scenario, member: Instance | Edge, *, address: str, local: str = LOCAL) -> dict[str, Any]:
    """Return the Dataplane document of one instance or edge, as an operator would write it."""
    inbound = []
    if isinstance(member, Instance):
        kind = member.service.kind
        inbound.append(
            {
                "port": kind.port,
                "servicePort": application_address(member.service, local).port,
                "serviceAddress": local,
                "protocol": kind.protocol.value,
                "serviceProbe": {"interval": f"{PROBE_INTERVAL_S:g}s", "tcp": {}},
            }
        )
    outbound = [
        {
            "address": listener.host,
            "port": listener.port,
            "backendRef": _backend_ref(scenario.service(service)),
        }
        for service, listener in outbound_addresses(member, local).items()
    ]
    return {
        "type": "Dataplane",
        "mesh": scenario.mesh,
        "name": member.name,
        "labels": {**_labels_of(member), "kuma.io/workload": member.workload, "kuma.io/zone": member.zone},
        "networking": {"address": address, "inbound": inbound, "outbound": outbound},
    }


def _backend_ref(service: Service) -> dict[str, Any]:
    kind = "MeshService" if service.external is None else "MeshExternalService"
    return {"kind": kind, "name": service.name, "port": service.kind.port}


def _labels_of(member: Instance | Edge) -> dict[str, str]:
    if isinstance(member, Edge):
        return {key: values[0] for key, values in member.users.labels}
    number = int(member.name.rpartition("-")[2]) - 1
    return {key: values[number % len(values)] for key, values in member.service.labels}


def application_address(service: Service, local: str = LOCAL) -> Address:
    """Return where an instance of a service listens, behind its sidecar; on all addresses where it has none."""
    if service.external is not None:
        return Address("0.0.0.0", service.kind.port)
    return Address(local, service.kind.port + APPLICATION_PORT_OFFSET)


def outbound_addresses(member: Instance | Edge, local: str = LOCAL) -> dict[str, Address]:
    """Return the sidecar's listener for each service that a member calls: ports from 10001 on, in the order of the names."""
    return {
        service: Address(local, OUTBOUND_PORT_FIRST + number) for number, service in enumerate(sorted(member.called()))
    }


def service_settings(
    scenario: Scenario, instance: Instance, local: str = LOCAL, *, caches_full: bool = False
) -> ServiceSettings:
    """Return what the actor of one instance has to know."""
    kinds = {service.name: service.kind for service in scenario.services if service.kind.is_database}
    return ServiceSettings(
        service=instance.service,
        instance=instance.name,
        zone=instance.zone,
        listen=application_address(instance.service, local),
        address_by_service=outbound_addresses(instance, local),
        called=_endpoints(scenario),
        database_kind_by_service=kinds,
        caches_full=caches_full,
    )


def users_settings(scenario: Scenario, edge: Edge, *, until_s: float, local: str = LOCAL) -> UsersSettings:
    """Return what the users of one edge have to know."""
    return UsersSettings(
        workload=edge.users,
        zone=edge.zone,
        share=edge.share,
        first_user=edge.first_user,
        users=edge.user_count,
        until_s=until_s,
        address_by_service=outbound_addresses(edge, local),
        called=_endpoints(scenario),
    )


def _endpoints(scenario: Scenario) -> dict[tuple[str, str, str], Endpoint]:
    return {(s.name, e.verb, e.path): e for s in scenario.services for e in s.endpoints}
