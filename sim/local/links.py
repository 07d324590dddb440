"""The links of a scenario as one process has them: the simulated network, on real time, between it and all other hosts.

Nothing of it is new: segments, windows, handshakes, retransmission and rules are those of `sim.network`. What is lost by it
being a process's own: links that several hosts share in simulation (bandwidth between zones) are shared by one host's
connections only.
"""

from collections.abc import Sequence
from typing import Any, cast

from trio.abc import HalfCloseableStream

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from mesh.runtime.pump import park
from mesh.runtime.real.network import RealNetwork
from sim.clock import SimClock
from sim.event_log import EventLog
from sim.local.bridge import FarHost
from sim.local.clock import ReactorClock
from sim.local.places import Place
from sim.local.reactor import LinkedReactor
from sim.network.connection import SimConnection
from sim.network.fabric import SimNetwork
from sim.network.host import NetworkHost
from sim.network.links import NetworkModel
from sim.network.socket import Socket
from sim.network.streams import HostNetwork
from sim.randomness import KeyedRandomness
from sim.reactor import SimReactor


class _NoLog:
    """Stands in for the log of events: segments of real processes are not repeatable, so nobody hashes them."""

    def trace(self, entry: tuple[int, int]) -> None:
        """Forget it."""

    def trace_id(self, source: str, target: str, connection: int) -> int:
        return 0

    def record(self, kind: str, host: str, *, level: str = "info", **fields: Any) -> None:
        """Forget it."""


class _ProcessNetwork(SimNetwork):
    """The network with one near host and far ones."""

    def join(self, host: NetworkHost) -> None:
        """Add a host of any kind, switched on."""
        self.host_by_name[host.name] = self._host_by_ip[host.ip] = host
        self.set_name(host.name, (host.ip,))
        host.power_on()


class ProcessLinks:
    """The network between this process's host and all others."""

    def __init__(self, own: Place, *, reactor: LinkedReactor, model: NetworkModel, randomness: KeyedRandomness) -> None:
        self._reactor = reactor
        self.own = own
        self._far_by_address: dict[str, FarHost] = {}
        self.network = _ProcessNetwork(
            clock=cast(SimClock, ReactorClock(reactor)),
            log=cast(EventLog, _NoLog()),
            randomness=randomness,
            model=model,
        )
        self._near = NetworkHost(own.name, own.zone, _simulated_ip(own.address))
        self.network.join(self._near)
        self.streams = HostNetwork(self.network, self._near)
        reactor.links = self

    def know(self, places: Sequence[Place]) -> None:
        """Learn of other hosts."""
        for place in places:
            if place.address != self.own.address and place.address not in self._far_by_address:
                far = FarHost(
                    place.name,
                    place.zone,
                    _simulated_ip(place.address),
                    reactor=self._reactor,
                    address=place.address,
                    own_address=self.own.address,
                )
                self._far_by_address[place.address] = far
                self.network.join(far)

    def set_power(self, name: str, *, on: bool) -> None:
        """Learn that a host has lost or got its power."""
        host = self.network.host_by_name.get(name)
        if host is None or host is self._near or host.up is on:
            return
        if on:
            host.power_on()
        else:
            host.power_off()

    def real_sockets(self) -> list[int]:
        """Return the file descriptors of all connections to other hosts."""
        bridges = [bridge for far in self._far_by_address.values() for bridge in far.bridges]
        return [fd for bridge in bridges if (fd := bridge.fileno()) >= 0]

    def is_far(self, address: Address) -> bool:
        """Does an address belong to another host of the scenario?"""
        return address.host in self._far_by_address

    async def connect(self, address: Address) -> Connection:
        """From a pump: open a connection across the links. Raises: ConnectFailed, DeadlineExceeded."""
        pump = self._reactor.current
        assert pump is not None, "only pumps connect"
        results: list[Socket | ConnectFailed] = []

        def done(result: Socket | ConnectFailed) -> None:
            results.append(result)
            pump.resume()

        handshake = self.network.connect(self._near, self._simulated(address), done)
        try:
            while not results:
                await park()
        except BaseException:
            handshake.cancel()
            if results and isinstance(results[0], Socket):
                results[0].close()
            raise
        if isinstance(results[0], ConnectFailed):
            raise results[0]
        connection = SimConnection(cast(SimReactor, self._reactor), results[0])
        connection.local, connection.remote = Address(self.own.address, connection.local.port), address
        return connection

    async def connect_stream(self, address: Address) -> HalfCloseableStream:
        """From a Trio task: open a stream across the links. Raises: ConnectFailed."""
        return await self.streams.connect(self._simulated(address))

    def _simulated(self, address: Address) -> Address:
        return Address(self._far_by_address[address.host].ip, address.port)


class LinkedNetwork(RealNetwork):
    """The network for ordinary tasks: to other hosts across the links, else the operating system's."""

    def __init__(self, links: ProcessLinks) -> None:
        self._links = links

    async def connect(self, address: Address) -> HalfCloseableStream:
        if self._links.is_far(address):
            return await self._links.connect_stream(address)
        return await super().connect(address)


def _simulated_ip(address: str) -> str:
    """Return what the simulated network calls a host: in it, 127.x is a host's own loopback."""
    return f"10.{address.partition('.')[2]}"
