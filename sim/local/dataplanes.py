"""The Dataplane of an instance or edge on a loopback address of its own."""

from typing import Any

from sim.scenario.scenario import Scenario
from sim.workload.deployment import Edge, Instance, dataplane_of


def dataplane_at(scenario: Scenario, what: Instance | Edge, address: str) -> dict[str, Any]:
    """Return its document: application, sidecar and outbounds share the address."""
    return dataplane_of(scenario, what, address=address, local=address)
