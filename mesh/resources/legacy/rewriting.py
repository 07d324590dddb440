"""A document on its way from 2.14 to 3.0: changed in place, with every change noted, and every place kept.

Paths are of the document as it stands now; what was moved is known by where it was written.
"""

import copy
from collections.abc import Mapping
from typing import Any

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path


@attrs.frozen(kw_only=True)
class Rewritten:
    """What became of a document: itself and those that now stand beside it, what was changed, what is wrong."""

    documents: tuple[Document, ...]
    warnings: tuple[Violation, ...]
    violations: tuple[Violation, ...]


class Rewriting:
    """One document being rewritten. `mtls_meshes`: meshes whose `mtls` is rewritten beside it, with 2.14's SPIFFE IDs.

    `lenient`: it is only looked at, so that what cannot be kept may be left out.
    """

    def __init__(self, document: Document, *, mtls_meshes: frozenset[str] = frozenset(), lenient: bool = False) -> None:
        self.data: dict[str, Any] = copy.deepcopy(document.data) if isinstance(document.data, dict) else {}
        self.mtls_meshes = mtls_meshes
        self.lenient = lenient
        self._source = document
        self._origins: dict[Path, Path] = dict(document.origins)
        self._document = attrs.evolve(document, data=self.data, origins=self._origins)
        self._beside: list[Document] = []
        self._warnings: list[Violation] = []
        self._violations: list[Violation] = []

    @property
    def kind(self) -> str:
        return str(self.data.get("type", ""))

    @property
    def name(self) -> str:
        return str(self.data.get("name", ""))

    @property
    def mesh(self) -> str:
        return str(self.data.get("mesh", "default"))

    def result(self) -> Rewritten | None:
        """Return what became of the document; None when there was nothing of 2.14 in it."""
        if not self._warnings and not self._violations:
            return None
        return Rewritten(
            documents=(self._document, *self._beside),
            warnings=tuple(self._warnings),
            violations=tuple(self._violations),
        )

    def warn(self, path: Path, message: str, replacement: str = "") -> None:
        """Note that what stands at `path` was rewritten, and to what."""
        self._warnings.append(self._document.violation(path, message, replacement))

    def refuse(self, path: Path, message: str, hint: str) -> None:
        """Say that what stands at `path` cannot be rewritten, and what to write instead."""
        self._violations.append(self._document.violation(path, message, hint))

    def mapping(self, path: Path) -> dict[str, Any]:
        """Return the mapping at `path`; an empty one that belongs to nothing where there is none."""
        found = self.at(path)
        return found if isinstance(found, dict) else {}

    def sequence(self, path: Path) -> list[Any]:
        """Return the list at `path`; an empty one that belongs to nothing where there is none."""
        found = self.at(path)
        return found if isinstance(found, list) else []

    def at(self, path: Path) -> Any:
        """Return what stands at `path`, or None."""
        value: Any = self.data
        for part in path:
            if isinstance(value, dict):
                value = value.get(str(part))
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def take(self, path: Path) -> Any:
        """Remove what stands at `path`, a key of a mapping, and return it."""
        return self.mapping(path[:-1]).pop(str(path[-1]), None)

    def put(self, path: Path, value: Any, *, origin: Path) -> None:
        """Write a key of a mapping, in the place of what was written at `origin`."""
        self._origins[path] = self._document.original(origin)
        self.mapping(path[:-1])[str(path[-1])] = value

    def add_beside(self, data: dict[str, Any], origins: Mapping[Path, Path], *, copied: bool = False) -> None:
        """Add a document that what was here needs beside this one; `origins` are paths of it to paths here.

        `copied`: it is a copy of this one, so that all the rest stands where it stands here.
        """
        known = {path: self._document.original(origin) for path, origin in origins.items()}
        inherited = self._origins if copied else {}
        self._beside.append(attrs.evolve(self._source, data=data, origins={**inherited, **known}))
