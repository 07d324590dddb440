"""Where the parts of a scenario are on this machine: a loopback address and a folder for each instance and each edge."""

import attrs

from sim.workload.deployment import Edge, Instance

CONTROL_PLANE = "control-plane"
CONTROL_PLANE_ADDRESS = "127.10.255.1"
CONTROL_PLANE_PORT = 5678
_PER_NET = 250


@attrs.frozen(kw_only=True)
class Place:
    """One host of the scenario. `service`: whose instance it is; edges and the control plane are none."""

    name: str
    zone: str
    address: str
    service: str = ""


def address_of(number: int) -> str:
    """Return the address of instance or edge number `number`, counted from 0 in the order of their start."""
    return f"127.10.{number // _PER_NET}.{number % _PER_NET + 1}"


def place_of(what: Instance | Edge, address: str) -> Place:
    """Return where an instance or edge is."""
    service = what.workload if isinstance(what, Instance) else ""
    return Place(name=what.name, zone=what.zone, address=address, service=service)
