"""What must come about in a bounded time: the base of all of these checks. Each says why it is not so yet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

RECENT_S = 10.0  # What happens now is what happened in this time.


class LivenessPromise:
    """Looks once a second of virtual time, from the beginning of a run; is asked for its reason once the core is healed."""

    name: ClassVar[str]  # in reports: `goodput-returns`
    about: ClassVar[str]  # one line: what it promises

    def __init__(self, mesh: "SimulatedMesh") -> None:
        self.mesh = mesh
        self.requests: tuple[str, ...] = ()  # the last ones that it was broken by, and the trace of one
        self.trace = ""

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Look at the requests of the last second, and at whatever else of the mesh."""

    def pending(self, now_s: float, core: Core) -> str:
        """Return why it has not come about yet; nothing if it has. Asked after `observe`."""
        raise NotImplementedError


def listed(things: Sequence[str], *, most: int = 3) -> str:
    """Name the first few."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return f"{', '.join(things[:most])}{more}"
