"""Reads a scenario file: one `type: Scenario` document and the Kuma resources beside it. All errors of a file at once."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import attrs

from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document, Value, parse_documents, suggest
from mesh.resources.resource import Resource
from sim.checks.catalogue import STANDING_CHECKS
from sim.faults.catalogue import FUZZ_KINDS
from sim.faults.changes.apply import Apply
from sim.faults.network.buggify import BUGGIFY_SHARE
from sim.scenario.external import external_resources
from sim.scenario.names import Names
from sim.scenario.overrides import override
from sim.scenario.phases import read_phases
from sim.scenario.policy_files import read_policy_globs, read_resources
from sim.scenario.promises_reader import PromisesReader
from sim.scenario.reading import Cursor
from sim.scenario.scenario import Output, Replay, Scenario
from sim.scenario.schema import (
    FORMAT,
    OUTPUT_FILES,
    keys,
    required_keys,
)
from sim.scenario.security import default_security
from sim.scenario.services_reader import ServicesReader
from sim.scenario.timeline_reader import TimelineReader
from sim.scenario.topology import ControlPlaneModel, NetworkModel, Service
from sim.scenario.topology_reader import TopologyReader
from sim.scenario.users_reader import UsersReader
from sim.scenario.variants import ChosenVariant, choose_variant


def load_scenario(
    path: str | PurePath, *, variant: str | None = None, settings: Sequence[str] = (), seed: int | None = None
) -> Scenario:
    """Read a scenario file; `settings` are `path=value` overrides, `seed` replaces the file's.

    `variant`: one of the file's `variants`, None for the first of them.

    Raises: ConfigError with every violation of the file and of the files that it names.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([Violation(message=f"cannot read the scenario: {reason}", file=str(path))]) from error
    scenario = parse_scenario(text, file=str(path), folder=place.parent, variant=variant, settings=settings)
    return scenario if seed is None else attrs.evolve(scenario, seed=seed)


def parse_scenario(
    text: str, *, file: str, folder: PurePath, variant: str | None = None, settings: Sequence[str] = ()
) -> Scenario:
    """Read a scenario from text; files that it names are relative to `folder`. Raises: ConfigError."""
    documents, violations = parse_documents(text, file=file)
    scenarios = [document for document in documents if _type_of(document) == "Scenario"]
    others = [document for document in documents if _type_of(document) != "Scenario"]
    for extra in scenarios[1:]:
        violations.append(extra.violation((), "a file holds one `type: Scenario` document, this is another"))
    if not scenarios:
        # What cannot be read may well be the scenario.
        raise ConfigError(violations or [_no_scenario(file, others)])
    written = scenarios[0]
    document, chosen = choose_variant(Cursor(written, (), written.data, violations), variant)
    document = override(document, settings, violations)
    scenario = _Reader(document, folder, violations, chosen).read(others)
    if violations:
        raise ConfigError(sorted(violations, key=lambda v: (v.file != file, v.file, v.line, v.column)))
    return scenario


def _no_scenario(file: str, documents: list[Document]) -> Violation:
    types = [kind for kind in map(_type_of, documents) if isinstance(kind, str)]
    hint = next((near for near in (suggest(kind, ("Scenario",)) for kind in types) if near), "")
    if not hint and types:
        hint = f"it holds {', '.join(dict.fromkeys(types))}: `mesh check` looks at resources, a scenario has them in `policies`"
    message = "there is no `type: Scenario` document in this file"
    return Violation(message=message, file=file, hint=hint or "add one: type: Scenario, format: 1")


def _type_of(document: Document) -> object:
    return document.data.get("type") if isinstance(document.data, dict) else None


class _Reader:
    """Reads the one document; sections in an order in which each finds what it refers to."""

    def __init__(
        self, document: Document, folder: PurePath, violations: list[Violation], variant: ChosenVariant
    ) -> None:
        self.variant = variant
        self.root = Cursor(document, (), document.data, violations)
        self.folder = folder
        self.violations = violations
        self.notes: list[str] = []

    def read(self, others: Iterable[Document]) -> Scenario:
        root = self.root
        entries = root.mapping(keys("scenario"), required_keys("scenario"))
        assert isinstance(root.value, dict)
        names = Names.of(root.value)
        if "format" in entries and entries["format"].value != FORMAT:
            entries["format"].refuse(
                f"unknown format {entries['format'].value!r}", f"this version reads format {FORMAT}"
            )
        mesh = entries["mesh"].name() if "mesh" in entries else "default"
        duration_s = entries["duration"].span(positive=True) if "duration" in entries else 1.0
        warmup_s = self._warmup(entries, duration_s)
        topology = TopologyReader(names, self.folder)
        users = UsersReader(names, self.folder)
        happens = TimelineReader(names, self.folder, mesh=mesh, duration_s=duration_s)
        services = ServicesReader(names, self.folder).services(entries["services"]) if "services" in entries else ()
        timeline = happens.timeline(entries["timeline"]) if "timeline" in entries else ()
        promises = PromisesReader(names, services, timeline, duration_s=duration_s)
        scenario = Scenario(
            name=entries["name"].name() if "name" in entries else "",
            file=root.document.file,
            seed=entries["seed"].count() if "seed" in entries else 0,
            duration_s=duration_s,
            warmup_s=warmup_s,
            mesh=mesh,
            zones=self._zones(entries),
            network=topology.network(entries["network"]) if "network" in entries else NetworkModel(),
            control_plane=topology.control_plane(entries["control_plane"])
            if "control_plane" in entries
            else ControlPlaneModel(zone=next(iter(names.zones), "")),
            services=services,
            workloads=users.workloads(entries["workload"]) if "workload" in entries else (),
            timeline=timeline,
            checks=promises.checks(entries["checks"]) if "checks" in entries else (),
            resources=self._resources(entries, others, services, mesh),
            tls=entries["tls"].choice(("modelled", "real", "none")) if "tls" in entries else "modelled",
            output=self._output(entries["output"]) if "output" in entries else Output(),
            replay=self._replay(entries["replay"]) if "replay" in entries else None,
            buggify=_buggify(entries["buggify"]) if "buggify" in entries else 0.0,
            phases=read_phases(entries["phases"], names, timeline, warmup_s=warmup_s, duration_s=duration_s)
            if "phases" in entries
            else None,
            variant=self.variant.name,
            variants=self.variant.names,
            breaks=self.variant.breaks,
        )
        self.variant.refuse_unknown_checks((*(check.name for check in scenario.checks), *STANDING_CHECKS))
        fuzz = self._fuzz(entries["fuzz"]) if "fuzz" in entries else {}
        return attrs.evolve(scenario, fuzz=fuzz, notes=(*self.notes, *_warnings(scenario)))

    def _warmup(self, entries: dict[str, Cursor], duration_s: float) -> float:
        warmup_s = entries["warmup"].span() if "warmup" in entries else 0.0
        if warmup_s >= duration_s and not self.violations:
            entries["warmup"].refuse(f"must be shorter than the run ({duration_s:g}s)")
        return warmup_s

    def _zones(self, entries: dict[str, Cursor]) -> tuple[str, ...]:
        zones = [element.name() for element in entries["zones"].elements()] if "zones" in entries else []
        if len(set(zones)) != len(zones):
            entries["zones"].refuse("a zone is listed twice")
        if "zones" in entries and entries["zones"].value == []:
            entries["zones"].refuse("must name at least one zone")
        return tuple(zones)

    def _resources(
        self, entries: dict[str, Cursor], others: Iterable[Document], services: tuple[Service, ...], mesh: str
    ) -> tuple[Resource, ...]:
        resources = read_resources(others, mesh=mesh, violations=self.violations)
        if "policies" in entries:
            resources += read_policy_globs(entries["policies"].elements(), self.folder, mesh=mesh)
        resources = self.variant.resources(resources, self.folder, mesh=mesh)
        resources += external_resources(services, resources, mesh)
        plaintext = "tls" in entries and entries["tls"].value == "none"
        if not plaintext and not any(resource.kind == "MeshIdentity" for resource in resources):
            resources += default_security(mesh)
        return resources

    def _fuzz(self, cursor: Cursor) -> dict[str, Value]:
        entries = cursor.mapping(keys("fuzz"))
        if "faults" in entries:
            faults = entries["faults"].mapping(keys("fuzz_faults"))
            if "max" in faults:
                faults["max"].count()
            for kind in faults["kinds"].elements() if "kinds" in faults else ():
                kind.choice((*FUZZ_KINDS,))
        for place, bounds in (entries["vary"].entries() if "vary" in entries else {}).items():
            if not isinstance(bounds.value, list) or len(bounds.value) != 2:
                bounds.refuse(f"'{place}' varies between two values", "for example [100/s, 220/s]")
        self.notes.append("fuzz: read, not run; it is for `mesh fuzz`, a later part")
        return dict(cursor.value) if isinstance(cursor.value, dict) else {}

    def _replay(self, cursor: Cursor) -> Replay:
        entries = cursor.mapping(keys("replay"))
        words = {
            name: entries[name].text()
            for name in ("of", "found_by", "violates", "event_hash", "tool")
            if name in entries
        }
        return Replay(
            **words,
            seed=entries["seed"].count() if "seed" in entries else None,
            at_s=entries["at"].span() if "at" in entries else None,
        )

    def _output(self, cursor: Cursor) -> Output:
        entries = cursor.mapping(keys("output"))
        saved = [element.choice(OUTPUT_FILES) for element in entries["save"].elements()] if "save" in entries else []
        return Output(folder=entries["dir"].text() if "dir" in entries else "", save=tuple(saved))


def _buggify(cursor: Cursor) -> float:
    if isinstance(cursor.value, bool):
        return BUGGIFY_SHARE if cursor.value else 0.0
    return cursor.percent()


def _warnings(scenario: Scenario) -> tuple[str, ...]:
    """Return what the scenario's resources, and those that it applies later, are warned of."""
    applied = [
        resource for entry in scenario.timeline if isinstance(entry.verb, Apply) for resource in entry.verb.resources
    ]
    return tuple(str(warning) for resource in (*scenario.resources, *applied) for warning in resource.warnings)
