"""Reads `timeline` of a scenario file: which verb an entry has, and when it is done. What a verb says it reads itself."""

from collections.abc import Mapping
from pathlib import PurePath

from mesh.resources.documents import suggest
from sim.faults.catalogue import VERB_BY_WORD
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.timeline import TimelineEntry
from sim.scenario.verb_entry import VerbEntry


class TimelineReader:
    """Reads what one file does to its system. `duration_s`: of the run; nothing may be planned past it."""

    def __init__(self, names: Names, folder: PurePath, *, mesh: str, duration_s: float) -> None:
        self.names = names
        self.folder = folder
        self.mesh = mesh
        self.duration_s = duration_s

    def timeline(self, cursor: Cursor) -> tuple[TimelineEntry, ...]:
        """Return the entries in the order in which they happen; those of one instant in the order written."""
        read = [self._entry(element) for element in cursor.elements()]
        entries = [entry for entry in read if entry is not None]
        return tuple(sorted(entries, key=lambda entry: entry.at_s))

    def _entry(self, cursor: Cursor) -> TimelineEntry | None:
        written = cursor.value if isinstance(cursor.value, dict) else {}
        words = [word for word in VERB_BY_WORD if word in written]
        if len(words) != 1:
            self._refuse_verb(cursor, written, words)
            return None
        verb = VERB_BY_WORD[words[0]]
        instead = f"{words[0]} is over after `{verb.lasts_key}`" if verb.lasts_key else f"{words[0]} is done at once"
        cursors = cursor.mapping(verb.allowed_keys(), verb.required_keys(), {"for": instead})
        at_s = cursors["at"].span() if "at" in cursors else 0.0
        if at_s > self.duration_s:
            cursors["at"].refuse(f"is past the end of the run ({self.duration_s:g}s)")
        lasts = cursors.get(verb.lasts_key) if verb.lasts_key else None
        return TimelineEntry(
            at_s=at_s,
            verb=verb.read(VerbEntry(cursors=cursors, names=self.names, folder=self.folder, mesh=self.mesh)),
            for_s=lasts.span(positive=True) if lasts is not None else verb.lasts_s,
            name=cursors["name"].text() if "name" in cursors else "",
        )

    @staticmethod
    def _refuse_verb(cursor: Cursor, written: Mapping[str, object], words: list[str]) -> None:
        if words:
            cursor.refuse(f"one entry does one thing, not {' and '.join(words)}", "write two entries")
            return
        unknown = [key for key in written if key not in ("at", "for", "name")]
        near = next((hint for hint in (suggest(key, VERB_BY_WORD) for key in unknown) if hint), "")
        what = f"unknown verb '{unknown[0]}'" if unknown else "an entry needs a verb"
        cursor.refuse(what, near or f"verbs: {', '.join(VERB_BY_WORD)}")
