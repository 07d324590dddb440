"""`bounded-buffers`: nothing that holds bytes, connections or tasks grows without a bound (S13).

What is sent on a connection and not yet read stays within its window. A host's pumps are in proportion to its connections and
its application's requests; the control plane's connections are in proportion to its proxies. Hosts are looked at in turn: a
buffer that grows without end is found a few seconds later.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher
from sim.network.socket import RECEIVE_BYTES_MAX

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host

_TURNS = 8  # Looks until every host had its turn.
_PUMPS_ANYWAY = 64
_PUMPS_PER_SOCKET = 4
_PUMPS_PER_REQUEST = 16  # Steps of an endpoint may run side by side.
_STREAMS_PER_PROXY = 8  # Connections that broke unseen stay until they are found silent.


class BoundedBuffers(Watcher):
    """See the module's text."""

    name: ClassVar = "bounded-buffers"
    about: ClassVar = "buffers, pumps and connections stay within their bounds"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._turn = 0

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        for view in self.proxies:
            most = _PUMPS_ANYWAY + _PUMPS_PER_SOCKET * view.sockets + _PUMPS_PER_REQUEST * view.busy
            if view.pumps > most:
                self.note(f"{view.member} has {view.pumps} pumps, for {view.sockets} connections", now_s)
        hosts = list(self.mesh.world.hosts.values())
        for host in hosts[self._turn :: _TURNS]:
            if host.alive:
                self.judged += 1
                self._look_at(host, now_s)
        self._turn = (self._turn + 1) % _TURNS

    def _look_at(self, host: "Host", now_s: float) -> None:
        for socket in host.network_host.sockets:
            unread = socket.sent - socket.peer.consumed
            if unread > socket.window_bytes + RECEIVE_BYTES_MAX:
                what = f"{unread} bytes sent to {socket.remote} and not read"
                self.note(f"{host.name}: {what}, above the window of {socket.window_bytes}", now_s)
        if host is self.mesh.control_plane_host:
            sockets, members = len(host.network_host.sockets), len(self.mesh.members)
            if sockets > _PUMPS_ANYWAY + _STREAMS_PER_PROXY * members:
                self.note(f"the control plane has {sockets} connections for {members} proxies", now_s)
