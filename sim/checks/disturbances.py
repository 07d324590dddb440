"""What a host went through that excuses its sidecar: lives that ended, and spans in which what runs there was held back.

Whoever was paused or slowed down could not keep a deadline; whoever lost power, or was killed, ended no request.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class Disturbances:
    """Answers for the hosts of one run, from looks a second apart. Times are seconds of virtual time, as those of records."""

    def __init__(self, mesh: "SimulatedMesh") -> None:
        self._mesh = mesh
        self._late: dict[str, int] = {}  # by host: steps that were held back by the last look
        self._held_back: dict[str, list[tuple[float, float]]] = {}  # by host: spans
        self._looked = -math.inf

    def look(self) -> None:
        """Take in what was held back since the last time."""
        now = self._mesh.world.now()
        for name, host in self._mesh.world.hosts.items():
            processor = host.processor
            if processor.gate is not None or processor.late != self._late.get(name, 0):
                self._late[name] = processor.late
                spans = self._held_back.setdefault(name, [])
                if spans and spans[-1][1] == self._looked:
                    spans[-1] = (spans[-1][0], now)
                else:
                    spans.append((self._looked, now))
        self._looked = now

    def lived_through(self, member: str, since: float) -> bool:
        """Has the host been in one life since a moment, and is it still, without having been told to end?"""
        found = self._mesh.members.get(member)
        if found is None or found.host.stopping:
            return False
        return found.host.alive and found.host.started_s < since

    def held_back(self, member: str, since: float, until: float) -> bool:
        """Was what runs on the host held back at some moment of a span?"""
        return any(begin <= until and end >= since for begin, end in self._held_back.get(member, ()))
