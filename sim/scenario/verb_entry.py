"""One entry of a timeline while its verb reads it: the entries of its mapping, and what verbs have in common."""

from pathlib import PurePath

import attrs

from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Distribution
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.timeline import Side


@attrs.frozen(kw_only=True)
class VerbEntry:
    """See the module's text. Reading goes on after an error, which is noted with its place."""

    cursors: dict[str, Cursor]  # by key: those that are allowed and there
    names: Names
    folder: PurePath  # what files are relative to
    mesh: str

    def get(self, key: str) -> Cursor | None:
        return self.cursors.get(key)

    def __contains__(self, key: str) -> bool:
        return key in self.cursors

    def target(self, word: str, *, hosts: bool = False) -> tuple[str, str]:
        """Return the service or instance (if `hosts`, also zone or control plane) that `word` names, and the zone of `zone`."""
        target = self.names.refuse_unknown_target(self.cursors[word], zones=hosts)
        zone_cursor = self.cursors.get("zone")
        if zone_cursor is None:
            return target, ""
        self.names.refuse_unknown_zone(zone_cursor)
        zone = zone_cursor.text()
        if target in self.names.zones or target in self.names.control_planes:
            zone_cursor.refuse(f"only a service has a zone to choose; '{target}' is none", "leave it out")
        elif zone in self.names.zones and zone not in self.names.zones_by_service.get(target, (zone,)):
            zone_cursor.refuse(f"'{target}' has no instances in '{zone}'")
        return target, zone

    def sides(self, word: str) -> tuple[Side, Side]:
        """Return two sides, each one or more zones, services or instances."""
        cursor = self.cursors[word]
        sides: list[Side] = []
        for element in cursor.elements():
            members = list(element.elements()) if isinstance(element.value, list) else [element]
            sides.append(tuple(self.names.refuse_unknown_target(member, zones=True) for member in members))
        if isinstance(cursor.value, list) and (len(sides) != 2 or set(sides[0]) & set(sides[1]) or not all(sides)):
            cursor.refuse("must be two different sides, each a name or a list of names", "for example [eu-1, eu-2]")
        sides += [(), ()]
        return sides[0], sides[1]

    def flag(self, key: str) -> bool:
        """Return a flag; false where it is not written."""
        return self.cursors[key].flag() if key in self.cursors else False

    def distribution(self, key: str) -> Distribution | None:
        return read_distribution(self.cursors[key], self.folder) if key in self.cursors else None
