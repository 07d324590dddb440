"""What the faults of clocks have in common. They change what a host takes for the date; spans of time stay right everywhere.

So timers and timeouts go on as they are. What shows are certificates, which the wrong host takes for expired or not yet valid
(its own and its peers'), their renewal, which it begins too late or too early, tokens, and the dates in its logs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each
from sim.wall_clock import ClockError

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host


class ClockFault(HostFault):
    """A clock that is wrong by more or less. Hosts that are off are hit too: the clock of a machine runs on its battery."""

    def error(self, mesh: "SimulatedMesh", name: str, host: "Host") -> ClockError:
        """Return by how much the clock of one host is wrong, at each second of the world."""
        raise NotImplementedError

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: "Host") -> Callable[[], None]:
            return host.date.mislead(self.error(mesh, name, host))

        return begin_each(self.hosts(mesh), begin, lambda host: host.date.asked_while_wrong)
