"""What the faults of DNS have in common: which names they are about, and how they end."""

from typing import TYPE_CHECKING

import attrs

from mesh.resources.documents import suggest
from sim.network.names import InstalledNameFault
from sim.scenario.schema_parts import Schema, list_of, text
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

ALL = "all"
NAMES: Schema = {"anyOf": [text("an external service, its host name, or all"), list_of(text("a name"), least=1)]}


def read_names(entry: VerbEntry, word: str) -> tuple[str, ...]:
    """Read which names a fault is about: external services or their host names; none for `all`."""
    cursor = entry.cursors[word]
    if cursor.value == ALL:
        return ()
    hostname_by_service = entry.names.hostname_by_service
    known = (*hostname_by_service, *hostname_by_service.values())
    if cursor.value == []:
        cursor.refuse("must name at least one")
    elements = list(cursor.elements()) if isinstance(cursor.value, list) else [cursor]
    for element in elements:
        name = element.text()
        if name and name not in known:
            hint = suggest(name, known) or f"names: {', '.join(known) or 'none; no service is external'}"
            element.refuse(f"'{name}' is no external service or host name", hint)
    return tuple(str(element.value) for element in elements)


def title_of(word: str, names: tuple[str, ...]) -> str:
    """Name such a fault for people."""
    return f"{word} {'+'.join(names) or ALL}"


def hostnames(mesh: "SimulatedMesh", names: tuple[str, ...]) -> tuple[str, ...]:
    """Return host names: an external service stands for its own."""
    by_service = {service.name: service.external.hostname for service in mesh.scenario.services if service.external}
    return tuple(by_service.get(name, name) for name in names)


@attrs.frozen
class NameFaultActive:
    """A fault on the answers of resolvers; implements `sim.faults.active.Active`."""

    installed: InstalledNameFault

    def end(self) -> None:
        self.installed.remove()

    def bit(self) -> bool:
        return self.installed.hits > 0

    def spare(self, core: frozenset[str]) -> bool:
        return self.installed.spare(core)
