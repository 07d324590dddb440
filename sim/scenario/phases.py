"""`phases`: when a core of the mesh is healed for good, and how long it may take to be well again. A value and its reader.

Faults that come at random also go at random, and so heal what they broke by luck. Here the core is left alone from one moment
on, while what is outside stays broken; a core that does not recover then never will. Source: TigerBeetle's VOPR, liveness mode.
"""

from collections.abc import Iterable

import attrs

from mesh.resources.documents import suggest
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys
from sim.scenario.timeline import TimelineEntry

ALL, RANDOM = "all", "random"
WITHIN_S = 30.0


@attrs.frozen(kw_only=True)
class Phases:
    """`core`: ("all",), ("random",) or names of zones, services and instances; what users do is always part of it."""

    heal_s: float
    core: tuple[str, ...] = (ALL,)
    within_s: float = WITHIN_S

    @property
    def due_s(self) -> float:
        """When the core must be well."""
        return self.heal_s + self.within_s


def read_phases(
    cursor: Cursor, names: Names, timeline: Iterable[TimelineEntry], *, warmup_s: float, duration_s: float
) -> Phases | None:
    """Read the section; what is wrong is noted."""
    entries = cursor.mapping(keys("phases"), required_keys("phases"))
    if "heal" not in entries:
        return None
    heal = entries["heal"]
    phases = Phases(
        heal_s=heal.span(positive=True),
        core=_core(entries["core"], names) if "core" in entries else (ALL,),
        within_s=entries["within"].span(positive=True) if "within" in entries else WITHIN_S,
    )
    if phases.heal_s <= warmup_s:
        heal.refuse(f"must come after the warm-up ({warmup_s:g}s)")
    elif phases.due_s > duration_s:
        wanted = f"the core may take until {phases.due_s:g}s, the run ends at {duration_s:g}s"
        entries.get("within", heal).refuse(wanted, "let it be healed earlier, or the run last longer")
    late = next((entry for entry in timeline if entry.is_fault and entry.at_s > phases.heal_s), None)
    if late is not None:
        heal.refuse(f"'{late.title()}' begins at {late.at_s:g}s, when the core is to be left alone")
    return phases


def _core(cursor: Cursor, names: Names) -> tuple[str, ...]:
    if isinstance(cursor.value, str):
        return (cursor.choice((ALL, RANDOM)),)
    allowed = (*names.zones, *names.kind_by_service, *names.instances)
    chosen = []
    for element in cursor.elements():
        name = element.text()
        if name and name not in allowed:
            hint = suggest(name, allowed) or f"known: {', '.join((*names.zones, *names.kind_by_service))}"
            element.refuse(f"unknown zone, service or instance '{name}'", hint)
        chosen.append(name)
    for service, zones in names.zones_by_service.items():
        instances = [name for name in names.instances if name.rpartition("-")[0] == service]
        if chosen and instances and not {service, *zones, *instances} & set(chosen):
            cursor.refuse(f"the core holds no instance of '{service}'")
    return tuple(chosen) or (ALL,)
