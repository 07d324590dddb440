"""What the fuzzer chose for one fault: a place and a strength, both whole numbers, so that failures shrink well.

Place 0 and strength 0 are what a shrunk fault tends to; a verb turns them into the keys of an ordinary timeline entry.
"""

from collections.abc import Sequence

import attrs

from mesh.model.durations import format_duration
from sim.scenario.names import Names

STRENGTH_MAX = 9


@attrs.frozen(kw_only=True)
class Draw:
    """See the module's text. `place` is any number from 0; `strength` from 0 to STRENGTH_MAX."""

    names: Names
    place: int
    strength: int

    def one_of(self, choices: Sequence[str]) -> str:
        """Return a choice by `place`. Choices must not be empty."""
        return choices[self.place % len(choices)]

    def services(self, *, kind: str = "") -> list[str]:
        """Return the names of all services, or of those of one kind."""
        return [name for name, its in self.names.kind_by_service.items() if kind in ("", its)]

    def sides(self) -> list[str] | None:
        """Return two different zones, or where there is one zone a service and the zone's other services; by `place`."""
        zones = self.names.zones
        pairs = [[a, b] for i, a in enumerate(zones) for b in zones[i + 1 :]]
        services = list(self.names.kind_by_service)
        pairs += [[a, b] for i, a in enumerate(services) for b in services[i + 1 :]]
        return pairs[self.place % len(pairs)] if pairs else None

    def between(self, mild: float, harsh: float) -> float:
        """Return a number by `strength`, geometrically from mild to harsh, rounded to two digits. Both must be above 0."""
        value = mild * (harsh / mild) ** (self.strength / STRENGTH_MAX)
        return float(f"{value:.2g}")

    def span(self, mild_s: float, harsh_s: float) -> str:
        """Return a span of time as scenario files write it."""
        return format_duration(self.between(mild_s, harsh_s))

    def share(self, mild: float, harsh: float) -> str:
        """Return a percentage as scenario files write it."""
        return f"{self.between(mild, harsh) * 100:g}%"
