"""The network itself: its hosts and names, the paths between them, and the rules that lie on the paths."""

import errno
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from mesh.model.errors import ConfigError, ConnectFailed, Violation
from mesh.model.names import Address
from sim.clock import SimClock
from sim.event_log import EventLog
from sim.network.handshake import Handshake, connect_failed
from sim.network.host import LOOPBACK, NetworkHost, is_loopback
from sim.network.latency import Constant
from sim.network.links import Link, LinkBetween, NetworkModel, Path, Pipe
from sim.network.rules import InstalledRule, Rule
from sim.network.socket import Socket
from sim.randomness import KeyedRandomness


class SimNetwork:
    """Owns hosts, names, paths and rules of one world."""

    def __init__(self, *, clock: SimClock, log: EventLog, randomness: KeyedRandomness, model: NetworkModel) -> None:
        self.clock = clock
        self.log = log
        self.randomness = randomness
        self.model = model
        self.host_by_name: dict[str, NetworkHost] = {}
        self._host_by_ip: dict[str, NetworkHost] = {}
        self._addresses_by_name: dict[str, tuple[str, ...]] = {"localhost": (LOOPBACK,)}
        self._paths: dict[tuple[str, str], Path] = {}
        self._zone_pipes: dict[tuple[LinkBetween, str], Pipe] = {}
        self._rules: tuple[InstalledRule, ...] = ()
        self._rules_added = 0

    # Hosts and names.

    def add_host(self, name: str, *, zone: str, ip: str) -> NetworkHost:
        """Join a host; it is off. Raises: ConfigError when its name or address is taken."""
        if name in self.host_by_name or ip in self._host_by_ip:
            raise ConfigError([Violation(message=f"host {name} ({ip}): the name or the address is taken")])
        host = NetworkHost(name, zone, ip)
        self.host_by_name[name] = self._host_by_ip[ip] = host
        self._addresses_by_name[name] = (ip,)
        return host

    def set_name(self, name: str, addresses: Sequence[str]) -> None:
        """Let a name resolve to these addresses, in this order; none: it does not exist."""
        self._addresses_by_name[name] = tuple(addresses)

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return a name's addresses. Raises: ConnectFailed."""
        if name in self._host_by_ip or is_loopback(name):
            return (name,)
        addresses = self._addresses_by_name.get(name, ())
        if not addresses:
            raise ConnectFailed("dns resolution failure") from OSError(errno.ENOENT, f"no host is named {name}")
        return addresses

    def require_ip(self, address: Address) -> None:
        """Check that an address is numeric. Raises: ConfigError when it is a name, which pumps cannot resolve."""
        if address.host in self._host_by_ip:
            return
        try:
            ip_address(address.host)
        except ValueError as error:
            raise ConfigError(
                [Violation(message=f"{address.host!r} is not an IP address", hint="resolve the name first")]
            ) from error

    # Paths.

    def path(self, source: NetworkHost, target: NetworkHost) -> Path:
        """Return the path from one host to another, the same object each time."""
        key = source.name, target.name
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = self._make_path(source, target)
        return path

    def _make_path(self, source: NetworkHost, target: NetworkHost) -> Path:
        if source is target:
            return Path(source, target, Link(latency=Constant(self.model.loopback_s)), None)
        link, entry, of_zones = self.model.between(source, target)
        pipe = None
        if link.bandwidth_bytes_per_s is not None:
            pipe = Pipe(link.bandwidth_bytes_per_s)
            if entry is not None and of_zones:
                pipe = self._zone_pipes.setdefault((entry, source.zone), pipe)
        path = Path(source, target, link, pipe)
        path.set_rules(self._rules_on(path))
        return path

    # Rules.

    def add_rule(self, rule: Rule, *, name: str = "") -> InstalledRule:
        """Put a rule into force, behind those that are. `name` keys its stream of chance and its records."""
        self._rules_added += 1
        installed = InstalledRule(
            rule,
            name or f"{type(rule).__name__}-{self._rules_added}",
            self.clock.now_s,
            lambda *key: self.randomness.fresh("rule", *key),
            lambda installed: self.log.record("fault.bit", "network", fault=installed.name),
            self._remove_rule,
        )
        self._set_rules((*self._rules, installed))
        self.log.record("fault.armed", "network", fault=installed.name)
        return installed

    def _remove_rule(self, installed: InstalledRule) -> None:
        self._set_rules(tuple(rule for rule in self._rules if rule is not installed))
        self.log.record("fault.lifted", "network", fault=installed.name, hits=installed.hits)

    def _set_rules(self, rules: tuple[InstalledRule, ...]) -> None:
        self._rules = rules
        for path in self._paths.values():
            path.set_rules(self._rules_on(path))

    def _rules_on(self, path: Path) -> tuple[InstalledRule, ...]:
        if path.loopback:
            return ()
        return tuple(rule for rule in self._rules if rule.rule.between.crosses(path.source, path.target))

    # Connections.

    def connect(
        self, client: NetworkHost, address: Address, done: Callable[[Socket | ConnectFailed], None]
    ) -> Handshake:
        """Begin to connect to an IP address or a name (its first address).

        Raises: ConnectFailed at once when the address is nobody's.
        """
        ip = self.resolve(address.host)[0]
        server = client if is_loopback(ip) else self._host_by_ip.get(ip)
        if server is None:
            raise connect_failed(OSError(errno.EHOSTUNREACH, f"no route to {address}"))
        handshake = Handshake(self, client, server, Address(ip, address.port), done)
        handshake.start()
        return handshake
