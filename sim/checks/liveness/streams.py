"""Every open stream progresses, or ends: bytes that were sent to somebody who lives are read, or their connection is given up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.checks.inspection import Seen
from sim.checks.liveness.promise import LivenessPromise, listed
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.network.socket import Socket

STALLED_S = 20.0  # Longer than the longest default timeout of a request.


class StreamsProgress(LivenessPromise):
    """L4 of the list in `sim.checks.liveness.catalogue`."""

    name = "streams-progress"
    about = "no stream within the core holds unread bytes without progress"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._since: dict[Socket, tuple[int, int, float]] = {}  # {socket: (sent, read by the peer, since when)}

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Note for every stream with bytes under way since when nothing has changed."""
        before, self._since = self._since, {}
        for host in self.mesh.world.hosts.values():
            for socket in host.network_host.sockets:
                sent, read = socket.sent, socket.peer.consumed
                if sent <= read or socket.path.loopback:
                    continue
                known = before.get(socket)
                unchanged = known is not None and known[:2] == (sent, read)
                self._since[socket] = known if known is not None and unchanged else (sent, read, now_s)

    def pending(self, now_s: float, core: Core) -> str:
        limit_s = min(STALLED_S, (core.due_s - core.healed_s) / 2)
        stalled = [
            f"{socket.path.source.name} to {socket.path.target.name}:{socket.server_port} since {since_s:g}s"
            for socket, (_, _, since_s) in self._since.items()
            if now_s - max(since_s, core.healed_s) > limit_s
            and socket.path.source.name in core
            and socket.path.target.name in core
        ]
        return f"no progress: {listed(stalled)}" if stalled else ""
