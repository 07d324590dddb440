"""What `mesh check` looks at: the resources of files and folders, and whole scenarios, with the place of every document."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from mesh.cli.files import gather_texts
from mesh.cli.inputs import Inputs
from mesh.config.lint.engine import joined_findings, lint
from mesh.config.lint.finding import Finding, Place
from mesh.config.lint.topology import Topology
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document, parse_documents
from mesh.resources.loading import duplicates, read_resources
from mesh.resources.resource import Resource, Source


@attrs.frozen(kw_only=True)
class World:
    """Resources that are to be looked at together. `topology` is that of a scenario, for its mesh."""

    mesh: str = ""
    resources: tuple[Resource, ...]
    topology: Topology | None = None


@attrs.define(eq=False)
class CheckInputs:
    """All worlds among the files, and their documents by where they begin."""

    worlds: list[World] = attrs.field(factory=list)
    documents: dict[Source, Document] = attrs.field(factory=dict)
    document_count: int = 0

    def findings(self) -> tuple[Finding, ...]:
        """Look at every world; what nobody wrote, a scenario's own defaults, is no finding."""
        found: list[Finding] = []
        for world in self.worlds:
            topologies = {world.mesh: world.topology} if world.topology else {}
            found += lint(world.resources, topology_by_mesh=topologies)
        return joined_findings(finding for finding in found if finding.place.resource.source.line)

    def locate(self, place: Place) -> Violation:
        """Return a place with its line and column: of the nearest thing around it that was written."""
        source = place.resource.source
        if place.known is not None:
            return place.known
        document = self._document(source)
        line, column = source.line, source.column
        if document is not None:
            line, column = document.position(place.path)
        return Violation(file=source.file, line=line, column=column, path=place.path_text, message="")

    def _document(self, source: Source) -> Document | None:
        if source not in self.documents and source.file:
            try:
                text = Path(source.file).read_text(encoding="utf-8")  # Named by a scenario: it was read before.
            except OSError:
                return None
            self.keep(parse_documents(text, file=source.file)[0])
        return self.documents.get(source)

    def keep(self, documents: Sequence[Document]) -> None:
        """Remember documents by where they begin."""
        for document in documents:
            line, column = document.position(())
            self.documents[Source(file=document.file, line=line, column=column)] = document


def read_check_inputs(paths: Sequence[Path]) -> CheckInputs:
    """Read files, folders and standard input. Raises: ConfigError with everything that is wrong in them."""
    inputs, result = Inputs(), CheckInputs()
    plain: list[Document] = []
    for file, text in gather_texts(inputs, paths).items():
        documents, unreadable = parse_documents(text, file=file)
        result.document_count += len(documents)
        if any(_is_scenario(document) for document in documents):
            worlds = inputs.read(_scenario_worlds, text, file, documents)
            result.worlds += worlds.value if worlds.is_right else ()
            result.keep(documents)
            continue
        inputs.refuse(unreadable)
        plain += documents
    if plain:
        resources, violations = read_resources(plain)
        inputs.refuse([*violations, *duplicates(resources)])
        result.keep(plain)
        result.worlds.append(World(resources=tuple(resources)))
    inputs.check()
    return result


def _is_scenario(document: Document) -> bool:
    return isinstance(document.data, dict) and document.data.get("type") == "Scenario"


def _scenario_worlds(text: str, file: str, documents: Sequence[Document]) -> list[World]:
    """Raises: ConfigError with what is wrong in the scenario and the files that it names."""
    from mesh.cli.check_scenario import dataplanes_of, stages_of, topology_of  # The simulator takes its time to load.
    from sim.scenario.loader import parse_scenario

    folder = Path(file).parent
    if not folder.is_dir():
        raise ConfigError([Violation(file=file, message="a scenario needs a folder for the files that it names")])
    scenario = parse_scenario(text, file=file, folder=folder)
    for variant in scenario.variants[1:]:
        parse_scenario(
            text, file=file, folder=folder, variant=variant
        )  # That it can be read is all that is asked of it.
    document = next(document for document in documents if _is_scenario(document))
    topology, dataplanes = topology_of(scenario), dataplanes_of(scenario, document)
    return [
        World(mesh=scenario.mesh, resources=(*resources, *dataplanes), topology=topology)
        for resources in stages_of(scenario)
    ]


def counts(findings: Sequence[Finding]) -> Mapping[str, int]:
    """Return how many findings there are of each severity, the worst first."""
    severities = [finding.code.severity.value for finding in findings]
    return {name: severities.count(name) for name in ("error", "warning", "info")}
