"""A host as the network sees it: address, listeners, sockets, power."""

from collections.abc import Callable

from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from sim.network.socket import Socket

LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"
_PORTS = range(32_768, 61_000)  # Linux: net.ipv4.ip_local_port_range


def is_loopback(ip: str) -> bool:
    """Say whether an address means the host itself."""
    return ip.startswith("127.")


class Listener:
    """A listening socket. `on_connection` gets each accepted socket; while `has_room` says no, SYNs are ignored."""

    def __init__(
        self,
        host: "NetworkHost",
        address: Address,
        on_connection: Callable[[Socket], None],
        has_room: Callable[[], bool],
    ) -> None:
        self.address = address
        self.on_connection = on_connection
        self.has_room = has_room
        self._host = host

    def close(self) -> None:
        """Stop listening; safe to repeat."""
        key = self.address.host, self.address.port
        if self._host.listeners.get(key) is self:
            del self._host.listeners[key]


class NetworkHost:
    """One host's place in the network. Each start of the host is an incarnation; its sockets end with it."""

    def __init__(self, name: str, zone: str, ip: str) -> None:
        self.name = name
        self.zone = zone
        self.ip = ip
        self.up = False
        self.incarnation = -1
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.sockets: dict[Socket, None] = {}  # a set in the order of opening
        self.late_ns: Callable[[], int] | None = None  # draws how late a timer of this host fires; None: in time
        self._next_port = 0

    def power_on(self) -> None:
        """Begin an incarnation."""
        self.up = True
        self.incarnation += 1

    def power_off(self) -> None:
        """Cut the power: nothing is sent, nobody is told."""
        self.up = False
        self.listeners.clear()
        for socket in list(self.sockets):
            socket.die()

    def end_processes(self) -> None:
        """End what runs here while the kernel lives: it closes their sockets, and refuses who connects."""
        self.incarnation += 1
        self.listeners.clear()
        for socket in list(self.sockets):
            socket.close()

    def listen(
        self, address: Address, on_connection: Callable[[Socket], None], has_room: Callable[[], bool]
    ) -> Listener:
        """Listen on one of this host's addresses; port 0 chooses one. Raises: ConfigError."""
        ip = LOOPBACK if address.host == "localhost" else self.ip if address.host == self.name else address.host
        if ip not in (self.ip, ANY) and not is_loopback(ip):
            raise ConfigError([Violation(message=f"cannot listen on {address}: {ip} is not an address of {self.name}")])
        port = address.port or self.free_port()
        taken = (ip, port) in self.listeners or (ANY, port) in self.listeners
        if taken or (ip == ANY and any(port == other for _, other in self.listeners)):
            raise ConfigError([Violation(message=f"cannot listen on {address}: the address is already in use")])
        listener = Listener(self, Address(ip, port), on_connection, has_room)
        self.listeners[ip, port] = listener
        return listener

    def listener_at(self, address: Address) -> Listener | None:
        """Return who listens for connections to an address of this host."""
        return self.listeners.get((address.host, address.port)) or self.listeners.get((ANY, address.port))

    def free_port(self) -> int:
        """Return the next ephemeral port."""
        for _ in _PORTS:
            port = _PORTS[self._next_port]
            self._next_port = (self._next_port + 1) % len(_PORTS)
            if not any(port == listening for _, listening in self.listeners):
                return port
        raise ConfigError([Violation(message=f"{self.name} has no free port left")])
