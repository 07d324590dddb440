"""Resources from files: read, check, collect everything that is wrong over all of them.

Kubernetes' form and 2.14's spellings are turned into 3.0's universal form first; what was rewritten, and what is kept
without effect, travels with the resource as warnings.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document, Path, parse_documents, wrap
from mesh.resources.kubernetes import is_kubernetes, universal_form
from mesh.resources.legacy.meshes import has_mtls
from mesh.resources.legacy.rewrite import rewrite
from mesh.resources.registry import KIND_BY_NAME, explain_unknown
from mesh.resources.resource import Kind, Resource, Source
from mesh.resources.schema import read, shape
from mesh.resources.times import parse_time

Found = tuple[list[Resource], list[Violation]]


def load_resources(text_by_file: Mapping[str, str], *, lenient: bool = False) -> list[Resource]:
    """Read all resources of `{file name: its text}`, in order. Raises: ConfigError with all violations of all files.

    `lenient`: to look at what resources come to, without applying them. What Kuma's rules can be worked out of, although
    no control plane takes it, is only warned of: policies that share a name, `to` beside `rules`.
    """
    documents: dict[str, list[Document]] = {}
    unreadable: dict[str, list[Violation]] = {}
    for file, text in text_by_file.items():
        parsed, unreadable[file] = parse_documents(text, file=file)
        documents[file] = [one for document in parsed for one in _expanded(document)]
    mtls_meshes = _mtls_meshes(document for parsed in documents.values() for document in parsed)
    resources: list[Resource] = []
    violations: list[Violation] = []
    for file in text_by_file:
        found = _read_all(documents[file], _Reading(mtls_meshes, lenient=lenient))
        resources += found[0]
        violations += _merge(_without_secrets(unreadable[file], documents[file]), found[1])
    violations += duplicates(r for r in resources if not (lenient and KIND_BY_NAME[r.kind].policy))
    if violations:
        raise ConfigError(violations)
    return _with_repeated(resources) if lenient else resources


def load_resource(written: Any, *, file: str) -> Resource:
    """Read one resource from JSON values: a store's or an API's. `file` names where they come from.

    Raises: ConfigError with all violations, without lines; also where one document of 2.14 is several resources of 3.0.
    """
    document = wrap(written, file=file)
    resources, violations = read_resources([document])
    if violations:
        raise ConfigError(violations)
    if len(resources) > 1:
        names = ", ".join(f"{resource.kind} {resource.name}" for resource in resources)
        raise ConfigError(
            [document.violation((), f"this is several resources since Kuma 3.0: {names}", "apply them all")]
        )
    return resources[0]


def load_values(values: Iterable[Any], *, file: str) -> list[Resource]:
    """Read resources from JSON values, each a document; one of 2.14 may be several of 3.0.

    Raises: ConfigError with all violations, without lines; `file[INDEX]` names where each comes from.
    """
    resources, violations = read_resources(wrap(value, file=f"{file}[{index}]") for index, value in enumerate(values))
    violations += duplicates(resources)
    if violations:
        raise ConfigError(violations)
    return resources


def read_resources(documents: Iterable[Document]) -> Found:
    """Read each document as resources; hand back those that are right, and what is wrong with the others."""
    documents = tuple(documents)
    return _read_all(documents, _Reading(_mtls_meshes(documents)))


@attrs.frozen
class _Reading:
    """How documents are read together; see `Rewriting` and `load_resources`."""

    mtls_meshes: frozenset[str]
    lenient: bool = attrs.field(default=False, kw_only=True)


def _read_all(documents: Iterable[Document], reading: _Reading) -> Found:
    resources: list[Resource] = []
    violations: list[Violation] = []
    for document in documents:
        found = _read(document, reading)
        resources += found[0]
        violations += found[1]
    return resources, violations


def _expanded(document: Document) -> Iterator[Document]:
    """Yield the items of a list as an API gives it (`total` and `items`, Kubernetes' List), or the document itself."""
    data = document.data
    items = data.get("items") if isinstance(data, dict) else None
    if (
        not isinstance(data, dict)
        or not isinstance(items, list)
        or ("total" not in data and data.get("kind") != "List")
    ):
        yield document
        return
    positions_by_index: dict[str | int, dict[Path, tuple[int, int]]] = {}
    for path, position in document.positions.items():
        if len(path) > 1 and path[0] == "items":
            positions_by_index.setdefault(path[1], {})[path[2:]] = position
    for index, item in enumerate(items):
        yield Document(document.file, item, positions_by_index.get(index, {}))


def _mtls_meshes(documents: Iterable[Document]) -> frozenset[str]:
    """Return the meshes whose identities will be 2.14's."""
    data = (document.data for document in documents if has_mtls(document.data))
    return frozenset(str(mesh.get("name")) for mesh in data if isinstance(mesh, dict))


def _read(document: Document, reading: _Reading) -> Found:
    """Read one document, or say everything that is wrong with it."""
    written = document.data
    if not isinstance(written, dict):
        return [], [document.violation((), f"expects a resource, got {shape(written)}", "a mapping with 'type'")]
    unfit: list[Violation] = []
    if is_kubernetes(written):
        document, unfit = universal_form(document, KIND_BY_NAME)
        assert isinstance(document.data, dict)
        written = document.data
    name = written.get("type")
    if not isinstance(name, str):
        return [], [document.violation(("type",), "'type' is missing", f"one of {', '.join(KIND_BY_NAME)}")]
    kind = KIND_BY_NAME.get(name)
    if kind is None:
        return [], [*unfit, document.violation(("type",), *explain_unknown(name))]
    resource, violations = _check(document, kind, reading)
    if violations:
        return _rewritten(document, kind, reading, [*unfit, *violations])
    return ([resource], []) if resource is not None and not unfit else ([], unfit)


def _rewritten(document: Document, kind: Kind, reading: _Reading, found: list[Violation]) -> Found:
    """Read a document again with 2.14's spellings rewritten; `found` is what is wrong with it as it stands."""
    # Kuma 3.0 only took things away: a document that is right needs no rewriting, and most are.
    rewritten = rewrite(document, kind, mtls_meshes=reading.mtls_meshes, lenient=reading.lenient)
    if rewritten is None:
        return [], found
    resources: list[Resource] = []
    violations = list(rewritten.violations)
    places = {(violation.line, violation.column, violation.path) for violation in violations}
    for part in rewritten.documents:
        assert isinstance(part.data, dict)
        resource, wrong = _check(part, KIND_BY_NAME[str(part.data["type"])], reading)
        violations += (one for one in wrong if (one.line, one.column, one.path) not in places)
        if resource is not None:
            resources.append(resource)
    if violations:
        return [], violations
    first = attrs.evolve(resources[0], warnings=(*rewritten.warnings, *resources[0].warnings))
    return [first, *resources[1:]], []


def _check(document: Document, kind: Kind, reading: _Reading) -> tuple[Resource | None, list[Violation]]:
    """Check a document in the universal form of 3.0."""
    fields, checking = read(document, (), kind.envelope, lenient=reading.lenient)
    if checking.violations:
        return None, checking.violations
    if kind.dormant:
        checking.warn((), f"{kind.name} is kept, but {kind.dormant}")
    line, column = document.position(())
    written = document.data
    assert isinstance(written, dict)
    resource = Resource(
        kind=kind.name,
        name=fields["name"],
        mesh=fields.get("mesh", ""),
        labels=fields["labels"],
        spec=fields["spec"],
        written=written,
        source=Source(file=document.file, line=line, column=column),
        created=_created(written),
        warnings=tuple(checking.warnings),
    )
    return resource, []


def _created(written: Mapping[str, Any]) -> float:
    """Return when a server says that it was created; what is no instant counts as not known."""
    text = written.get("creationTime")
    if not isinstance(text, str):
        return 0.0
    try:
        return parse_time(text)
    except ValueError:
        return 0.0


def duplicates(resources: Iterable[Resource]) -> list[Violation]:
    """Find resources that share kind, mesh and name."""
    return [
        _twice(resource, first, message=f"{resource.kind} '{resource.name}' is there twice")
        for resource, first in _repeated(resources)
    ]


def _repeated(resources: Iterable[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """Yield each resource that shares kind, mesh and name with one before it, and the first of these."""
    first_by_key: dict[tuple[str, str, str], Resource] = {}
    for resource in resources:
        first = first_by_key.setdefault(resource.key, resource)
        if first is not resource:
            yield resource, first


def _with_repeated(resources: list[Resource]) -> list[Resource]:
    """Warn of each resource that shares its name with one before it."""
    first_by_id = {id(resource): first for resource, first in _repeated(resources)}
    return [
        attrs.evolve(resource, warnings=(*resource.warnings, _counted(resource, first_by_id[id(resource)])))
        if id(resource) in first_by_id
        else resource
        for resource in resources
    ]


def _counted(resource: Resource, first: Resource) -> Violation:
    message = (
        f"{resource.kind} '{resource.name}' is there twice: both count here, but a control plane refuses the second"
    )
    return _twice(resource, first, message=message)


def _twice(resource: Resource, first: Resource, *, message: str) -> Violation:
    source, place = resource.source, first.source
    return Violation(
        message=message,
        path="name",
        file=source.file,
        line=source.line,
        column=source.column,
        hint=f"first in {place.file}:{place.line}",
    )


def _without_secrets(unreadable: list[Violation], documents: Iterable[Document]) -> list[Violation]:
    """Leave out of YAML's complaints what they quote of a secret."""
    secret_lines: list[tuple[int, int]] = []
    for document in documents:
        data = document.data
        kind = data.get("type", data.get("kind")) if isinstance(data, dict) else None
        if isinstance(kind, str) and kind in KIND_BY_NAME and KIND_BY_NAME[kind].confidential:
            lines = [line for line, _ in document.positions.values()]
            secret_lines.append((min(lines), max(lines)))
    return [
        attrs.evolve(violation, message="this text means two things in YAML", hint="quote it")
        if any(first <= violation.line <= last for first, last in secret_lines)
        else violation
        for violation in unreadable
    ]


def _merge(unreadable: list[Violation], unfit: list[Violation]) -> list[Violation]:
    """Join what YAML and what the schemas found, in the file's order, saying one thing of each place."""
    places = {(violation.line, violation.path) for violation in unreadable}
    later = [violation for violation in unfit if (violation.line, violation.path) not in places]
    return sorted([*unreadable, *later], key=lambda violation: (violation.line, violation.column))
