"""Another host, as a process sees it: a host of this process's simulated network whose listeners are real sockets.

A connection crosses the simulated network from our end to that host's, and goes on from there over loopback to the real
process. So SYNs, bytes, ends and resets meet the scenario's latencies, losses and faults in both directions, and what
listens there, refuses, breaks or is silent is the real process.
"""

import errno
import socket as sockets
from collections import deque
from typing import cast

from mesh.model.errors import MeshError
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import Pump
from mesh.runtime.real.listening import local_address
from mesh.runtime.real.sockets import SocketConnection
from sim.local.reactor import LinkedReactor
from sim.network.connection import SimConnection
from sim.network.host import Listener, NetworkHost
from sim.network.socket import Socket
from sim.reactor import SimReactor


class RealEnd(SocketConnection):
    """A connection whose socket can be handed to another process."""

    __slots__ = ()

    def fileno(self) -> int:
        """Return its file descriptor."""
        return self._fd


class Bridge:
    """One connection: its simulated end at the far host, and the real one from there."""

    def __init__(self, host: "FarHost", simulated: Connection, real: RealEnd) -> None:
        self._host = host
        self._real = real
        self._ends: tuple[Connection, Connection] = (simulated, real)
        self._open = 2  # directions that have not ended
        reactor = host.reactor
        self._pumps: list[Pump] = []
        host.bridges[self] = None
        for source, target in ((simulated, real), (real, simulated)):
            self._pumps.append(reactor.start(self._carry(source, target), name=f"bridge to {host.name}"))

    def fileno(self) -> int:
        """Return the file descriptor of the real end."""
        return self._real.fileno()

    async def _carry(self, source: Connection, target: Connection) -> None:
        """Move one direction to its end. A connection that breaks on one side is reset on the other."""
        try:
            while data := await source.receive():
                await target.send(data)
            await target.send_eof()
        except MeshError:
            self._end(abort=True)
            return
        self._open -= 1
        if not self._open:
            self._end(abort=False)

    def _end(self, *, abort: bool) -> None:
        self._host.bridges.pop(self, None)
        for end in self._ends:
            if abort:
                end.abort()
            else:
                end.close()

    def cut(self) -> None:
        """Lose power at the far end: our simulated end hears nothing."""
        self._host.bridges.pop(self, None)
        for pump in self._pumps:
            pump.cancel()
        self._ends[1].abort()


class _Door(Listener):
    """What SYNs to one port of a far host meet."""

    def __init__(self, host: "FarHost", address: Address, real: RealEnd | None) -> None:
        super().__init__(host, address, self._welcome, lambda: self._real is not None)
        self._far = host
        self._real = real

    def _welcome(self, socket: Socket) -> None:
        real = self._far.take_spare(self.address.port)
        if real is None:
            socket.abort()
            return
        simulated = SimConnection(cast(SimReactor, self._far.reactor), socket)
        Bridge(self._far, simulated, real)


class FarHost(NetworkHost):
    """See the module's text. `address` is where its real processes listen, `own_address` what they see us come from."""

    def __init__(
        self, name: str, zone: str, ip: str, *, reactor: LinkedReactor, address: str, own_address: str
    ) -> None:
        super().__init__(name, zone, ip)
        self.reactor = reactor
        self.address = address
        self.bridges: dict[Bridge, None] = {}
        self._own_address = own_address
        self._spare: dict[int, deque[RealEnd]] = {}  # by port: connected for a SYN, and not yet taken

    def listener_at(self, address: Address) -> Listener | None:
        """Return who listens there: asked by connecting, at the moment at which a SYN arrives."""
        spare = self._spare.setdefault(address.port, deque())
        while spare and not _is_silent(spare[0]):
            spare.popleft().abort()
        if not spare:
            failure, real = self._connect(address.port)
            if failure == errno.ECONNREFUSED:
                return None
            if real is None:
                return _Door(self, address, None)
            spare.append(real)
        return _Door(self, address, spare[0])

    def take_spare(self, port: int) -> RealEnd | None:
        """Return a real connection that is there, for a simulated one that has been accepted."""
        spare = self._spare.get(port)
        return spare.popleft() if spare else None

    def power_off(self) -> None:
        """Cut the power: on our side of the links nobody is told."""
        super().power_off()
        for bridge in list(self.bridges):
            bridge.cut()
        for spare in self._spare.values():
            while spare:
                spare.popleft().abort()

    def _connect(self, port: int) -> tuple[int, RealEnd | None]:
        """Connect over loopback, which is done in the system call; or return why not (0: nobody takes it up)."""
        sock = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        sock.bind((self._own_address, 0))
        failure = sock.connect_ex((self.address, port))
        if failure == errno.EINPROGRESS:
            failure = sock.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR)
        try:
            sock.getpeername()
        except OSError:
            sock.close()
            return failure, None
        return 0, RealEnd(self.reactor, sock, local=local_address(sock), remote=Address(self.address, port))


def _is_silent(connection: RealEnd) -> bool:
    """Is a connection still there, and has nothing been said on it?"""
    try:
        return connection.receive_now() is None
    except MeshError:
        return False
