"""Reads `timeline` of a scenario file."""

from collections.abc import Mapping
from pathlib import PurePath

from mesh.resources.documents import suggest
from sim.scenario.distribution_reader import read_distribution
from sim.scenario.failure_reader import read_failures
from sim.scenario.names import Names
from sim.scenario.policy_files import read_policy_file
from sim.scenario.reading import Cursor
from sim.scenario.schema import VERBS, keys, required_keys
from sim.scenario.timeline import (
    Apply,
    ControlPlaneDown,
    Fail,
    Kill,
    Latency,
    Loss,
    Partition,
    Scale,
    Side,
    Slow,
    TimelineEntry,
    Verb,
)


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
        words = [word for word in VERBS if word in written]
        if len(words) != 1:
            self._refuse_verb(cursor, written, words)
            return None
        entries = cursor.mapping(keys(words[0]), required_keys(words[0]))
        at_s = entries["at"].span() if "at" in entries else 0.0
        if at_s > self.duration_s:
            entries["at"].refuse(f"is past the end of the run ({self.duration_s:g}s)")
        return TimelineEntry(
            at_s=at_s,
            verb=self._verb(words[0], entries),
            for_s=entries["for"].span(positive=True) if "for" in entries else None,
            name=entries["name"].text() if "name" in entries else "",
        )

    @staticmethod
    def _refuse_verb(cursor: Cursor, written: Mapping[str, object], words: list[str]) -> None:
        if words:
            cursor.refuse(f"one entry does one thing, not {' and '.join(words)}", "write two entries")
            return
        unknown = [key for key in written if key not in ("at", "for", "name")]
        near = next((hint for hint in (suggest(key, VERBS) for key in unknown) if hint), "")
        what = f"unknown verb '{unknown[0]}'" if unknown else "an entry needs a verb"
        cursor.refuse(what, near or f"verbs: {', '.join(VERBS)}")

    def _verb(self, word: str, entries: dict[str, Cursor]) -> Verb:
        match word:
            case "apply":
                return self._apply(entries["apply"])
            case "scale":
                return self._scale(entries)
            case "partition":
                oneway = entries["oneway"].flag() if "oneway" in entries else False
                return Partition(sides=self._sides(entries["partition"]), oneway=oneway)
            case "kill":
                restart_s = entries["restart_after"].span() if "restart_after" in entries else None
                target, zone = self._target(entries, "kill")
                return Kill(target=target, zone=zone, restart_after_s=restart_s)
            case "slow":
                return self._slow(entries)
            case "fail":
                return self._fail(entries)
            case "latency":
                return self._latency(entries)
            case "loss":
                share = entries["share"].percent() if "share" in entries else 0.0
                return Loss(sides=self._sides(entries["loss"]), share=share)
            case _:
                entries["control-plane"].choice(("down",))
                return ControlPlaneDown()

    def _apply(self, cursor: Cursor) -> Apply:
        file = cursor.text()
        resources = read_policy_file(cursor, self.folder, mesh=self.mesh) if file else ()
        return Apply(file=file, resources=resources)

    def _scale(self, entries: dict[str, Cursor]) -> Scale:
        service = entries["scale"].text()
        known = self.names.kind_by_service
        if service and service not in known:
            entries["scale"].refuse(
                f"unknown service '{service}'", suggest(service, known) or f"services: {', '.join(known)}"
            )
        to = []
        for zone, entry in (entries["to"].entries() if "to" in entries else {}).items():
            if zone not in self.names.zones:
                entry.refuse(f"unknown zone '{zone}'", f"zones: {', '.join(self.names.zones)}")
            to.append((zone, entry.count()))
        return Scale(service=service, to=tuple(to))

    def _slow(self, entries: dict[str, Cursor]) -> Slow:
        target, zone = self._target(entries, "slow")
        factor = entries["factor"].number() if "factor" in entries else 1.0
        if factor == 0:
            entries["factor"].refuse("must be above 0")
        return Slow(target=target, zone=zone, factor=factor or 1.0)

    def _fail(self, entries: dict[str, Cursor]) -> Fail:
        target, zone = self._target(entries, "fail")
        kind = self.names.kind_of(target)
        if kind != "http":
            entries["fail"].refuse(f"only http services answer with errors; '{target}' is a {kind} service")
        failures = read_failures(entries["errors"]) if "errors" in entries else ()
        return Fail(target=target, zone=zone, failures=failures)

    def _target(self, entries: dict[str, Cursor], word: str) -> tuple[str, str]:
        target = self.names.refuse_unknown_target(entries[word], zones=False)
        if "zone" not in entries:
            return target, ""
        self.names.refuse_unknown_zone(entries["zone"])
        zone = entries["zone"].text()
        if zone in self.names.zones and zone not in self.names.zones_by_service.get(target, (zone,)):
            entries["zone"].refuse(f"'{target}' has no instances in '{zone}'")
        return target, zone

    def _latency(self, entries: dict[str, Cursor]) -> Latency:
        if ("add" in entries) == ("set" in entries):
            entries["latency"].refuse("needs either add or set", "for example add: 50ms")
        return Latency(
            sides=self._sides(entries["latency"]),
            add=read_distribution(entries["add"], self.folder) if "add" in entries else None,
            replace=read_distribution(entries["set"], self.folder) if "set" in entries else None,
        )

    def _sides(self, cursor: Cursor) -> tuple[Side, Side]:
        sides: list[Side] = []
        for element in cursor.elements():
            members = list(element.elements()) if isinstance(element.value, list) else [element]
            sides.append(tuple(self.names.refuse_unknown_target(member, zones=True) for member in members))
        if isinstance(cursor.value, list) and (len(sides) != 2 or set(sides[0]) & set(sides[1]) or not all(sides)):
            cursor.refuse("must be two different sides, each a name or a list of names", "for example [eu-1, eu-2]")
        sides += [(), ()]
        return sides[0], sides[1]
