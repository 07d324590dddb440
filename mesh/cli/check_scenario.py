"""A scenario as `mesh check` sees it: its proxies, its call graph with methods and order, and what its instances hold."""

from collections.abc import Iterator

import attrs

from mesh.config.lint.topology import Call, Capacity, Node, Topology
from mesh.resources.documents import Document
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource, Source
from sim.faults.changes.apply import Apply
from sim.faults.changes.scale import Scale
from sim.scenario.scenario import Scenario
from sim.scenario.topology import Call as Step
from sim.scenario.topology import Endpoint, Operation, Parallel, Service, ServiceKind, calls_of
from sim.scenario.users import Visit
from sim.workload.deployment import Edge, Instance, dataplane_of, edges_of, instances_of

# Nobody connects to these; they only have to differ. Source: RFC 5737, RFC 6890.
_ADDRESS_FIRST = (198 << 24) | (18 << 16)

Stages = tuple[tuple[Call, ...], ...]


def dataplanes_of(scenario: Scenario, document: Document) -> list[Resource]:
    """Return the Dataplanes of all instances and users, each placed where its service or workload stands in the file."""
    found = []
    members: tuple[Instance | Edge, ...] = (*instances_of(scenario), *edges_of(scenario))
    for number, member in enumerate(members, start=1):
        address = _ADDRESS_FIRST + number
        written = dataplane_of(
            scenario, member, address=".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        )
        section = "services" if ("services", member.workload) in document.positions else "workload"
        line, column = document.position((section, member.workload))
        source = Source(file=document.file, line=line, column=column)
        found.append(attrs.evolve(load_resource(written, file=document.file), source=source))
    return found


def stages_of(scenario: Scenario) -> Iterator[tuple[Resource, ...]]:
    """Yield the resources as they stand at the beginning, and after each `apply` of the timeline."""
    current = {resource.key: resource for resource in scenario.resources}
    yield tuple(current.values())
    for entry in scenario.timeline:
        if isinstance(entry.verb, Apply):
            current |= {resource.key: resource for resource in entry.verb.resources}
            yield tuple(current.values())


def topology_of(scenario: Scenario) -> Topology:
    """Return the call graph of a scenario: every operation, and every user's visits."""
    stages: dict[Node, Stages] = {}
    for service in scenario.services:
        for endpoint in service.endpoints:
            node = Node(service.name, endpoint.operation)
            stages[node] = _stages(scenario, node, endpoint)
    calls = [call for node_stages in stages.values() for stage in node_stages for call in stage]
    calls += _visits(scenario)
    return Topology(
        calls=tuple(dict.fromkeys(calls)),
        stages=stages,
        width=_widths(scenario),
        capacity={service.name: _capacity(scenario, service) for service in scenario.services},
    )


def _stages(scenario: Scenario, node: Node, endpoint: Endpoint) -> Stages:
    found = []
    for step in endpoint.steps:
        at_once = calls_of((step,))
        if at_once:
            found.append(tuple(_call(scenario, node, call.operation, call.timeout_s) for call in at_once))
    return tuple(found)


def _visits(scenario: Scenario) -> Iterator[Call]:
    for workload in scenario.workloads:
        for journey in workload.journeys:
            for step in journey.steps:
                if isinstance(step, Visit):
                    yield _call(scenario, Node(workload.name), step.operation, workload.timeout_s)


def _call(scenario: Scenario, caller: Node, operation: Operation, timeout_s: float) -> Call:
    service = scenario.service(operation.service)
    if service.kind is not ServiceKind.HTTP:
        return Call(caller=caller, callee=Node(service.name), port=service.kind.port, timeout_s=timeout_s)
    endpoint = service.endpoint(operation.verb, operation.path)
    return Call(
        caller=caller,
        callee=Node(service.name, f"{operation.verb} {operation.path}"),
        port=service.kind.port,
        method=operation.verb,
        idempotent=endpoint.idempotent if endpoint else None,
        timeout_s=timeout_s,
    )


def _widths(scenario: Scenario) -> dict[tuple[str, str], int]:
    """Return the most calls that one request makes to one service at once."""
    widths: dict[tuple[str, str], int] = {}
    for service in scenario.services:
        for endpoint in service.endpoints:
            for step in endpoint.steps:
                names = [call.operation.service for call in _at_once(step)]
                for name in names:
                    key = (service.name, name)
                    widths[key] = max(widths.get(key, 1), names.count(name))
    return widths


def _at_once(step: object) -> list[Step]:
    return calls_of((step,)) if isinstance(step, Step | Parallel) else []


def _capacity(scenario: Scenario, service: Service) -> Capacity:
    counts = [sum(count for _, count in service.instances)]
    if service.autoscale is not None:
        counts.append(service.autoscale.most)
    zones = dict(service.instances)
    for entry in scenario.timeline:
        if isinstance(entry.verb, Scale) and entry.verb.service == service.name:
            zones |= dict(entry.verb.to)
            counts.append(sum(zones.values()))
    return Capacity(instances=max(counts), concurrency=service.concurrency, queue=service.queue)
