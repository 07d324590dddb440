"""What `mesh check` reports: a code that stays the same for ever, where the mistake stands, and whom it concerns. Values."""

import enum

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Path, format_path
from mesh.resources.resource import Resource

# A resource's label with codes, separated by commas, that are not to be reported of it.
IGNORE_LABEL = "mesh.io/ignore"


class Severity(enum.Enum):
    """How bad it is.

    Error: requests fail, somebody unwanted gets in, or a protection does nothing. Warning: it hurts on a bad day.
    Info: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def weight(self) -> int:
        return (Severity.INFO, Severity.WARNING, Severity.ERROR).index(self)


def _trimmed(text: str) -> str:
    return text.strip()


@attrs.frozen(kw_only=True)
class Code:
    """One kind of mistake. `example` is a file in which it is found, `better` the same one without it."""

    code: str
    title: str
    severity: Severity
    why: str
    fix: str
    example: str = attrs.field(converter=_trimmed, repr=False)
    better: str = attrs.field(converter=_trimmed, repr=False)


@attrs.frozen
class Place:
    """A place in a resource: `path` as in its document, `("spec", "to", 0, "default")`.

    `known`: what the reader of the document found there, which knows its line already.
    """

    resource: Resource
    path: Path = ()
    known: Violation | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        """Name it without its file: `MeshRetry/all spec.to[0]`."""
        return " ".join(part for part in (self.title, self.path_text) if part)

    @property
    def path_text(self) -> str:
        return self.known.path if self.known else format_path(self.path)

    @property
    def title(self) -> str:
        """Name its resource: `MeshRetry/all`."""
        return f"{self.resource.kind}/{self.resource.name}"

    def sort_key(self) -> tuple[str, int, int, str, str, str]:
        source, resource = self.resource.source, self.resource
        return (source.file, source.line, source.column, resource.kind, resource.name, self.path_text)


@attrs.frozen(kw_only=True)
class Finding:
    """One mistake. `others` are the other documents that it came from; `affects` says whom it concerns, sorted.

    `fix` says what to write here, where that is more than the code's own advice.
    """

    code: Code
    message: str
    place: Place
    others: tuple[Place, ...] = ()
    affects: tuple[str, ...] = ()
    fix: str = ""

    @property
    def advice(self) -> str:
        return self.fix or self.code.fix
