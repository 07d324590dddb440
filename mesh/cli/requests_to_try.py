"""Which requests `mesh up` proposes: a few that show the mesh, not one for each pair of instances."""

from collections.abc import Iterable, Sequence

from mesh.model.names import Address
from sim.scenario.scenario import Scenario
from sim.scenario.users import Visit
from sim.workload.deployment import Edge, Instance, outbound_addresses

Member = Instance | Edge

REQUESTS_MAX = 12


def requests_to_try(scenario: Scenario, members: Sequence[tuple[Member, str]]) -> list[tuple[str, str]]:
    """Return [(URL, `from -> to`)]: from each edge, where requests enter, then from the first instance of each service.

    `members` comes with their addresses.
    """
    edges = [(member, address) for member, address in members if isinstance(member, Edge)]
    first_by_service: dict[str, tuple[Member, str]] = {}
    for member, address in members:
        if isinstance(member, Instance):
            first_by_service.setdefault(member.service.name, (member, address))
    return [
        (f"http://{listener}{path}", f"{member.name} -> {service}")
        for member, address in (*edges, *first_by_service.values())
        for service, listener, path in _calls(scenario, member, address)
    ]


def _calls(scenario: Scenario, member: Member, address: str) -> Iterable[tuple[str, Address, str]]:
    """Yield (service, the sidecar's listener for it, a path to GET) of what a member calls and curl can, too."""
    for service, listener in outbound_addresses(member, address).items():
        paths = _paths(scenario, service)
        if paths:
            yield service, listener, paths[0]


def _paths(scenario: Scenario, name: str) -> list[str]:
    """Return what can be got from a service: its endpoints, or where it is the operator's own code what users get from it."""
    service = scenario.service(name)
    if service.code is None:
        return [endpoint.path for endpoint in service.endpoints if endpoint.verb == "GET"]
    steps = [step for workload in scenario.workloads for journey in workload.journeys for step in journey.steps]
    asked = [step.operation for step in steps if isinstance(step, Visit)]
    return [operation.target for operation in asked if (operation.service, operation.verb) == (name, "GET")]
