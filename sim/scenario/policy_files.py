"""The Kuma resources of a scenario: beside it in its file, by `policies:` globs, or applied by the timeline."""

from collections.abc import Iterable
from pathlib import Path, PurePath

from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document
from mesh.resources.loading import duplicates, load_resources
from mesh.resources.loading import read_resources as read_documents
from mesh.resources.resource import Resource
from sim.scenario.reading import Cursor

_FILES_MAX = 1000


def read_resources(documents: Iterable[Document], *, mesh: str, violations: list[Violation]) -> tuple[Resource, ...]:
    """Read the documents beside the scenario's own; note what is wrong with them."""
    resources, found = read_documents(documents)
    violations += found
    violations += duplicates(resources)
    violations += _strangers(resources, mesh)
    return tuple(resources)


def read_policy_file(cursor: Cursor, folder: PurePath, *, mesh: str) -> tuple[Resource, ...]:
    """Read the file that is named here; violations inside it are noted with their place in that file."""
    path = Path(folder, cursor.text())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        cursor.refuse(f"cannot read '{cursor.value}': {reason}", f"it is looked for in {folder}")
        return ()
    return _load({str(path): text}, mesh, cursor.violations)


def read_policy_globs(patterns: Iterable[Cursor], folder: PurePath, *, mesh: str) -> tuple[Resource, ...]:
    """Read every file that the globs match, once, those of each in the order of their names."""
    element_by_path: dict[Path, Cursor] = {}
    for element in patterns:
        pattern = element.text()
        if not pattern:
            continue
        if PurePath(pattern).is_absolute():
            element.refuse("must be relative to the scenario's folder")
            continue
        matches = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
        if not matches:
            element.refuse(f"no file matches '{pattern}'", f"it is looked for in {folder}")
        for path in matches[:_FILES_MAX]:
            element_by_path.setdefault(path, element)
    text_by_file = {}
    for path, element in element_by_path.items():
        try:
            text_by_file[str(path)] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            element.refuse(f"cannot read '{path}': {error}")
    violations: list[Violation] = []
    resources = _load(text_by_file, mesh, violations)
    for element in list(element_by_path.values())[:1]:
        element.violations += violations
    return resources


def _load(text_by_file: dict[str, str], mesh: str, violations: list[Violation]) -> tuple[Resource, ...]:
    try:
        resources = load_resources(text_by_file)
    except ConfigError as error:
        violations += error.violations
        return ()
    violations += _strangers(resources, mesh)
    return tuple(resources)


def _strangers(resources: Iterable[Resource], mesh: str) -> list[Violation]:
    """Find resources of another mesh: the scenario would silently run without them."""
    return [
        Violation(
            message=f"{resource.kind} '{resource.name}' belongs to mesh '{resource.mesh}', the scenario to '{mesh}'",
            path="mesh",
            file=resource.source.file,
            line=resource.source.line,
            column=resource.source.column,
            hint=f"write mesh: {mesh}",
        )
        for resource in resources
        if resource.mesh not in ("", mesh)
    ]
