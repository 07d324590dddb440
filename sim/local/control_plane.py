"""What a run on real processes asks of its control plane, whoever runs it and however it is talked to."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from mesh.resources.resource import Resource
from mesh.runtime.environment import Process


class ControlPlane(Protocol):
    """A control plane as a process. `converged`: by proxy, whether it runs what it should, as of the last look."""

    ca_file: str
    serving: bool  # it has started once

    @property
    def converged(self) -> Mapping[str, bool]: ...

    async def launch(self, resources: Sequence[Resource]) -> Process:
        """Start its process and wait until it serves: the first time with resources, then with what it has stored.

        Raises: ConfigError in its own words.
        """
        ...

    def token(self, name: str, workload: str) -> str:
        """Return a token for the Dataplane of that name."""
        ...

    async def watch(self) -> None:
        """Look at the proxies again and again, until cancelled."""
        ...

    async def apply(self, resources: Sequence[Resource]) -> None:
        """Apply resources through the API; wait while the control plane is away."""
        ...
