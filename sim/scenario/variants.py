"""`variants` of a scenario: the same system told in several ways, as it happened and as it is with the fix.

    variants:
      as-it-happened: {breaks: [recovers]}           # the first is the default
      fixed:
        set: {services.db.concurrency: 50}           # as `--set`, but may add what is not there, with any value
        without: [MeshRetry/all]                     # resources that it does not have
        policies: [policies/budget.yaml, {type: ..}] # files, or resources as they are; they replace their namesakes
        timeline: [...]                              # instead of the scenario's

Carried out on the documents before anything is read, so that complaints name the line in the variant.
"""

from collections.abc import Mapping
from pathlib import PurePath

import attrs

from mesh.resources.documents import Document, Path, Value, suggest
from mesh.resources.resource import Resource
from sim.scenario.overrides import replaced, resolve
from sim.scenario.policy_files import read_policy_globs, read_resources
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys


@attrs.define(eq=False)
class ChosenVariant:
    """One variant of a file. `breaks`: the checks that must fail with it; the rest of it is carried out by methods."""

    name: str = ""
    names: tuple[str, ...] = ()  # of all variants of the file
    breaks: tuple[str, ...] = ()
    _breaks_at: Cursor | None = None
    _without: tuple[Cursor, ...] = ()
    _policies: tuple[Cursor, ...] = ()

    def resources(self, base: tuple[Resource, ...], folder: PurePath, *, mesh: str) -> tuple[Resource, ...]:
        """Return the scenario's resources without those that the variant leaves out, and with its own."""
        for cursor in self._without:
            base = _left_out(base, cursor)
        kept = {resource.key: resource for resource in base}
        for cursor in self._policies:
            if isinstance(cursor.value, str):
                read = read_policy_globs([cursor], folder, mesh=mesh)
            else:
                read = read_resources([_document_at(cursor)], mesh=mesh, violations=cursor.violations)
            kept |= {resource.key: resource for resource in read}
        return tuple(kept.values())

    def refuse_unknown_checks(self, known: tuple[str, ...]) -> None:
        """Note a name in `breaks` that no check has."""
        for cursor in self._breaks_at.elements() if self._breaks_at is not None else ():
            name = cursor.text()
            if name and name not in known:
                cursor.refuse(f"no check is called '{name}'", suggest(name, known) or f"checks: {', '.join(known)}")


def choose_variant(root: Cursor, wanted: str | None) -> tuple[Document, ChosenVariant]:
    """Return the scenario as the wanted variant (None: the first of the file) has it. What is wrong is noted."""
    document = root.document
    written = document.data.get("variants") if isinstance(document.data, dict) else None
    if written is None:
        if wanted is not None:
            root.refuse(f"there is no variant '{wanted}'", "the file has none")
        return document, ChosenVariant()
    cursor = root.child("variants")
    variants = cursor.entries()
    names = tuple(variants)
    for variant in variants.values():
        variant.mapping(keys("variant"))
    if not names or (wanted is not None and wanted not in names):
        message = f"there is no variant '{wanted}'" if names else "must hold at least one variant"
        cursor.refuse(message, suggest(wanted or "", names) or f"variants: {', '.join(names)}")
        return document, ChosenVariant(names=names)
    name = wanted if wanted is not None else names[0]
    return _carried_out(document, variants[name], name, names)


def _carried_out(
    document: Document, variant: Cursor, name: str, names: tuple[str, ...]
) -> tuple[Document, ChosenVariant]:
    chosen = ChosenVariant(name=name, names=names)
    if not isinstance(variant.value, dict):
        return document, chosen
    entries = {key: cursor for key, cursor in variant.entries().items() if key in keys("variant")}
    data, origins = document.data, dict(document.origins)
    for place, value in (entries["set"].entries() if "set" in entries else {}).items():
        path = resolve(data, place, refuse=value.refuse, adds=True)
        if path is not None:
            data = replaced(data, path, value.value)
            _moved(origins, path, value.path)
    if "timeline" in entries:
        data = replaced(data, ("timeline",), entries["timeline"].value)
        _moved(origins, ("timeline",), entries["timeline"].path)
    if "breaks" in entries:
        chosen.breaks = tuple(element.text() for element in entries["breaks"].elements())
        chosen._breaks_at = entries["breaks"]
    chosen._without = tuple(entries["without"].elements()) if "without" in entries else ()
    chosen._policies = tuple(entries["policies"].elements()) if "policies" in entries else ()
    return Document(document.file, data, document.positions, origins), chosen


def _moved(origins: dict[Path, Path], path: Path, origin: Path) -> None:
    """Note where the thing at `path` was written; what stood below it before does no longer."""
    for below in [known for known in origins if known[: len(path)] == path]:
        del origins[below]
    origins[path] = origin


def _left_out(resources: tuple[Resource, ...], cursor: Cursor) -> tuple[Resource, ...]:
    name = cursor.text()
    known = [f"{resource.kind}/{resource.name}" for resource in resources]
    if name and name not in known:
        cursor.refuse(f"there is no resource '{name}'", suggest(name, known) or f"resources: {', '.join(known)}")
    return tuple(resource for resource in resources if f"{resource.kind}/{resource.name}" != name)


def _document_at(cursor: Cursor) -> Document:
    """Return a part of a document as one of its own."""
    size = len(cursor.path)
    positions: Mapping[Path, tuple[int, int]] = {
        path[size:]: place for path, place in cursor.document.positions.items() if path[:size] == cursor.path
    }
    value: Value = cursor.value
    return Document(cursor.document.file, value, positions)
