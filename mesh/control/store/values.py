"""What goes into the store and comes out of it."""

from collections.abc import Mapping
from typing import Any

import attrs

from mesh.model.errors import MeshError
from mesh.model.names import ProxyId
from mesh.resources.resource import Resource

Key = tuple[str, str, str]  # kind, mesh, name


@attrs.frozen(kw_only=True)
class Stored:
    """A resource as the store holds it. Dates are seconds since the epoch."""

    resource: Resource
    version: int  # 1, 2, ...; goes on where a resource is made again that was deleted not long ago
    created: float
    modified: float

    @property
    def key(self) -> Key:
        """Return kind, mesh and name."""
        return self.resource.key


@attrs.frozen(kw_only=True)
class Put:
    """Create or replace a resource. `expected_version` None: whatever is there; 0: it must not exist."""

    resource: Resource
    expected_version: int | None = None

    @property
    def key(self) -> Key:
        """Return kind, mesh and name."""
        return self.resource.key


@attrs.frozen(kw_only=True)
class Delete:
    """Delete a resource; with `expected_version` None it may be gone already."""

    key: Key
    expected_version: int | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """A write that is durable. `stored` stands for the changes, in their order; None for a deletion."""

    revision: int
    stored: tuple[Stored | None, ...]


@attrs.frozen(kw_only=True)
class Change:
    """What became of one resource up to `revision`; `stored` None: deleted."""

    key: Key
    stored: Stored | None
    revision: int


@attrs.frozen(kw_only=True)
class Unreadable:
    """A resource that this version of the program cannot read. It is kept, and skipped."""

    key: Key
    reason: str


@attrs.frozen(kw_only=True)
class AuditEntry:
    """One change by somebody, or something else of note: then `version` is 0. `detail` is the reason that was given."""

    sequence: int
    at: float  # seconds since the epoch
    by: str
    action: str  # created, updated, deleted; issued
    key: Key
    version: int
    revision: int
    detail: str


@attrs.frozen(kw_only=True)
class MemberRow:
    """A proxy, the control plane that it is connected to or was last, and what that one knows of it.

    `revision` is the store's; in an upsert, 0 takes the proxy over from whichever control plane had it.
    """

    proxy: ProxyId
    instance: str
    session: str
    dataplane: Mapping[str, Any]  # the Dataplane as written
    inbounds: Mapping[str, bool] = attrs.field(factory=dict)  # which are ready
    departure: str = "staying"
    presence: str
    insight: Mapping[str, Any] = attrs.field(factory=dict)
    revision: int = 0


@attrs.frozen(kw_only=True)
class MemberChange:
    """What became of one member up to `revision`; `row` None: removed."""

    proxy: ProxyId
    row: MemberRow | None
    revision: int


@attrs.frozen(kw_only=True)
class Instance:
    """A control plane. `age_s`: for how long we have seen no new sign of its life."""

    name: str
    address: str
    age_s: float


class Conflict(MeshError):
    """Another operator's: the resource has another version than the writer believed. Nothing was written; read it again."""

    def __init__(self, key: Key, *, expected: int, actual: int) -> None:
        kind, mesh, name = key
        place = f" of mesh '{mesh}'" if mesh else ""
        what = f"has version {actual}, not {expected}" if actual else "does not exist"
        super().__init__(f"{kind} '{name}'{place} {what if expected else 'exists already'}")
        self.key = key
        self.expected = expected
        self.actual = actual


class Forgotten(MeshError):
    """Nobody's: the store no longer knows everything that happened since that revision. Load all of it."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the changes since revision {revision} are no longer known")
        self.revision = revision
