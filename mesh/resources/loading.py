"""Resources from files: read, check, collect everything that is wrong over all of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document, parse_documents, wrap
from mesh.resources.registry import KIND_BY_NAME, explain_unknown
from mesh.resources.resource import Resource, Source
from mesh.resources.schema import check, shape


def load_resources(text_by_file: Mapping[str, str]) -> list[Resource]:
    """Read all resources of `{file name: its text}`, in order. Raises: ConfigError with all violations of all files."""
    resources: list[Resource] = []
    violations: list[Violation] = []
    for file, text in text_by_file.items():
        documents, unreadable = parse_documents(text, file=file)
        found = read_resources(documents)
        resources += found[0]
        violations += _merge(unreadable, found[1])
    violations += duplicates(resources)
    if violations:
        raise ConfigError(violations)
    return resources


def load_resource(written: Any, *, file: str) -> Resource:
    """Read one resource from JSON values: a store's or an API's. `file` names where they come from.

    Raises: ConfigError with all violations, without lines.
    """
    resource, violations = read_resource(wrap(written, file=file))
    if resource is None:
        raise ConfigError(violations)
    return resource


def read_resources(documents: Iterable[Document]) -> tuple[list[Resource], list[Violation]]:
    """Read each document as a resource; hand back those that are right, and what is wrong with the others."""
    resources: list[Resource] = []
    violations: list[Violation] = []
    for document in documents:
        resource, found = read_resource(document)
        violations += found
        if resource is not None:
            resources.append(resource)
    return resources, violations


def read_resource(document: Document) -> tuple[Resource | None, list[Violation]]:
    """Read one document as a resource, or say everything that is wrong with it."""
    written = document.data
    if not isinstance(written, dict):
        return None, [document.violation((), f"expects a resource, got {shape(written)}", "a mapping with 'type'")]
    name = written.get("type")
    if not isinstance(name, str):
        return None, [document.violation(("type",), "'type' is missing", f"one of {', '.join(KIND_BY_NAME)}")]
    kind = KIND_BY_NAME.get(name)
    if kind is None:
        return None, [document.violation(("type",), *explain_unknown(name))]
    fields, violations = check(document, (), kind.envelope())
    if violations:
        return None, violations
    line, column = document.position(())
    resource = Resource(
        kind=name,
        name=fields["name"],
        mesh=fields.get("mesh", ""),
        labels=fields["labels"],
        spec=fields["spec"],
        written=written,
        source=Source(file=document.file, line=line, column=column),
    )
    return resource, []


def duplicates(resources: Iterable[Resource]) -> list[Violation]:
    """Find resources that share kind, mesh and name."""
    first_by_key: dict[tuple[str, str, str], Resource] = {}
    violations = []
    for resource in resources:
        first = first_by_key.setdefault(resource.key, resource)
        if first is not resource:
            source, place = resource.source, first.source
            message = f"{resource.kind} '{resource.name}' is there twice"
            violations.append(
                Violation(
                    message=message,
                    path="name",
                    file=source.file,
                    line=source.line,
                    column=source.column,
                    hint=f"first in {place.file}:{place.line}",
                )
            )
    return violations


def _merge(unreadable: list[Violation], unfit: list[Violation]) -> list[Violation]:
    """Join what YAML and what the schemas found, in the file's order, saying one thing of each place."""
    places = {(violation.line, violation.path) for violation in unreadable}
    later = [violation for violation in unfit if (violation.line, violation.path) not in places]
    return sorted([*unreadable, *later], key=lambda violation: (violation.line, violation.column))
