"""What the API needs of the control plane behind it, and what it is started with."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from mesh import __version__
from mesh.config.index import MeshIndex
from mesh.config.snapshot import Snapshot
from mesh.control.insights import Insight
from mesh.control.registry import Presence
from mesh.control.store.values import AuditEntry, Delete, Key, Outcome, Put, Stored
from mesh.discovery.publication import Refusal
from mesh.identity.token_authority import TokenAuthority
from mesh.model.departure import Departure
from mesh.model.errors import Violation
from mesh.model.names import ProxyId
from mesh.resources.resource import Resource

PRODUCT = "trio-mesh"
# Real clients of Kuma accept another product silently where its version says that it is a preview.
VERSION = f"{__version__}-preview"


@attrs.frozen(kw_only=True)
class ApiSettings:
    """What the API says of its control plane. `dev`: who calls over loopback is the administrator.

    `config` is shown at /config, without what looks like a secret.
    """

    instance_id: str
    cluster_id: str
    hostname: str = "localhost"
    version: str = VERSION
    dev: bool = False
    store: str = "sqlite"
    zone: str = "default"
    config: Mapping[str, Any] = attrs.field(factory=dict)


class Catalogue(Protocol):
    """All resources of the installation; see `mesh.control.catalogue`."""

    @property
    def revision(self) -> int: ...
    def get(self, key: Key) -> Stored | None: ...
    def list(self, kind: str, mesh: str | None = None) -> tuple[Stored, ...]: ...
    def meshes(self) -> tuple[str, ...]: ...
    def of_mesh(self, mesh: str) -> tuple[Resource, ...]:
        """Return what proxies of a mesh are configured by, Dataplanes not among it."""
        ...

    def check(self, changes: Sequence[Put | Delete]) -> tuple[Violation, ...]: ...
    async def write(self, changes: Sequence[Put | Delete], *, by: str) -> Outcome:
        """Raises: ConfigError, Conflict, StoreError."""
        ...


class PartChange(Protocol):
    """What would become of one part of a proxy's configuration: `op` is add, replace or remove."""

    @property
    def part(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def before(self) -> Any: ...
    @property
    def after(self) -> Any: ...


class ProxyPreview(Protocol):
    """What would change for one proxy."""

    @property
    def proxy(self) -> ProxyId: ...
    @property
    def changes(self) -> Sequence[PartChange]: ...


class Preview(Protocol):
    """What a write would change, in the order of proxies."""

    @property
    def proxies(self) -> Sequence[ProxyPreview]: ...


class ProxyStatus(Protocol):
    """How it stands with one proxy, whichever control plane it is connected to."""

    @property
    def proxy(self) -> ProxyId: ...
    @property
    def presence(self) -> Presence: ...
    @property
    def instance(self) -> str: ...
    @property
    def wanted_version(self) -> str: ...
    @property
    def sent_version(self) -> str: ...
    @property
    def acked_version(self) -> str: ...
    @property
    def refusal(self) -> Refusal | None: ...
    @property
    def lag_s(self) -> float: ...
    @property
    def certificate_expires(self) -> float | None: ...
    @property
    def inbounds(self) -> Sequence[tuple[str, bool]]: ...
    @property
    def departure(self) -> Departure: ...


class Plane(Protocol):
    """One control plane; see `mesh.control.control_plane`."""

    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def tokens(self) -> TokenAuthority: ...
    def status(self) -> Sequence[ProxyStatus]:
        """Return all proxies, those of other control planes too, sorted by mesh and name."""
        ...

    def insight(self, proxy: ProxyId) -> Insight: ...
    def published_revision(self, mesh: str) -> int: ...
    def preview(self, changes: Sequence[Put | Delete]) -> Preview:
        """Raises: ConfigError when the changes cannot be made."""
        ...

    def snapshot_of(self, proxy: ProxyId) -> Snapshot | None:
        """Raises: ConfigError when it cannot be built."""
        ...

    def index_of(self, mesh: str) -> MeshIndex | None: ...
    def dataplanes(self, mesh: str) -> Sequence[Resource]:
        """Return the Dataplanes of a mesh, those written and those that proxies joined with, sorted by name."""
        ...

    async def audit(self, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]: ...
    async def note(self, action: str, key: Key, *, by: str, reason: str) -> None:
        """Add to the audit log what changed no resource; durable on return. Raises: StoreError."""
        ...
