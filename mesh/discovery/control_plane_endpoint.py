"""Where control planes are reached, and which of several is tried next.

Each sidecar goes round in an order of its own, so that the sidecars of a mesh spread over its control planes.
"""

from collections.abc import Sequence

import attrs
import trio
from trio.abc import HalfCloseableStream

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from mesh.model.randomness import Random
from mesh.model.security import ClientTls
from mesh.runtime.environment import Environment


@attrs.frozen(kw_only=True)
class ControlPlaneEndpoint:
    """One control plane."""

    address: Address
    tls: ClientTls | None  # None: plaintext, for a control plane on this host or in tests


@attrs.define(eq=False)
class Rotation:
    """The order in which control planes are tried. Pure."""

    endpoints: tuple[ControlPlaneEndpoint, ...]
    _position: int = 0
    _failed: int = 0  # since one was connected, or since the last pause

    @classmethod
    def of(cls, endpoints: Sequence[ControlPlaneEndpoint], random: Random) -> "Rotation":
        """Draw an order; where there is one control plane, no chance is needed."""
        left, order = list(endpoints), []
        while len(left) > 1:
            order.append(left.pop(random.randrange(len(left))))
        return cls((*order, *left))

    @property
    def current(self) -> ControlPlaneEndpoint:
        """The control plane to try, or that we are connected to."""
        return self.endpoints[self._position]

    def go_on(self, *, was_connected: bool) -> bool:
        """Move to the next after the current one failed; return whether to try it at once: not after a whole round.

        One that was connected is followed by a pause as well: all its sidecars look for another now.
        """
        self._position = (self._position + 1) % len(self.endpoints)
        self._failed = 0 if was_connected else self._failed + 1
        if was_connected or self._failed >= len(self.endpoints):
            self._failed = 0
            return False
        return True


async def open_stream(env: Environment, endpoint: ControlPlaneEndpoint, *, timeout_s: float) -> HalfCloseableStream:
    """Return the protected stream. Raises: ConnectFailed, IdentityError, BrokenConnection."""
    with trio.move_on_after(timeout_s):
        stream = await env.network.connect(endpoint.address)
        if endpoint.tls is None:
            return stream
        try:
            protected, _ = await env.tls.client(endpoint.tls).handshake_stream(stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return protected
    raise ConnectFailed(f"no connection within {timeout_s:g} s")
