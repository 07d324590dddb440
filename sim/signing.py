"""Whether the authorities of a simulated mesh can sign now: their keys may lie with a signer that is away."""

from collections.abc import Callable

import attrs

from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId


@attrs.define(eq=False, kw_only=True)
class Outage:
    """No certificates for those whom it concerns; `refused` counts the requests that it turned down."""

    reason: str
    concerns: Callable[[SpiffeId], bool] = lambda spiffe_id: True
    refused: int = 0


class Signing:
    """What every control plane asks before it signs; see `IssuerSettings.check_signer`."""

    def __init__(self) -> None:
        self._outages: list[Outage] = []

    def check(self, spiffe_id: SpiffeId) -> None:
        """Raises: IdentityError."""
        for outage in self._outages:
            if outage.concerns(spiffe_id):
                outage.refused += 1
                raise IdentityError(outage.reason)

    def begin(self, outage: Outage) -> None:
        self._outages.append(outage)

    def end(self, outage: Outage) -> None:
        self._outages.remove(outage)
