"""What a run on real processes asks of its control plane, whoever runs it and however it is talked to."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from mesh.control.status import ProxyStatus
from mesh.resources.resource import Resource
from mesh.runtime.environment import Process

LogLine: TypeAlias = tuple[float, str, str, Mapping[str, Any]]  # seconds since the epoch, event, level, fields


class ControlPlane(Protocol):
    """A control plane as a process. `status` of each proxy and `revision` of its resources: as of the last look."""

    ca_file: str
    serving: bool  # it has started once
    revision: int

    @property
    def status(self) -> Mapping[str, ProxyStatus]: ...

    async def launch(self, resources: Sequence[Resource]) -> Process:
        """Start its process and wait until it serves: the first time with resources, then with what it has stored.

        Raises: ConfigError in its own words.
        """
        ...

    def token(self, name: str, workload: str) -> tuple[str, str]:
        """Return a token for the Dataplane of that name, and its id."""
        ...

    async def watch(self) -> None:
        """Look at the proxies again and again, until cancelled."""
        ...

    def read_log(self) -> list[LogLine]:
        """Return what it has logged since the last time."""
        ...

    async def apply(self, resources: Sequence[Resource]) -> str:
        """Apply resources through the API; wait while the control plane is away. Return why it refused, if it did."""
        ...

    async def delete(self, resource: Resource) -> str:
        """Delete a resource, likewise."""
        ...
