"""The network itself: its hosts and names, the paths between them, and the rules that lie on the paths."""

import errno
from collections.abc import Callable, Container, Sequence
from functools import partial
from ipaddress import ip_address

from mesh.model.errors import ConfigError, ConnectFailed, Violation
from mesh.model.names import Address
from sim.clock import SimClock
from sim.event_log import EventLog
from sim.network.dns import ZoneResolver
from sim.network.handshake import Handshake, connect_failed
from sim.network.host import LOOPBACK, NetworkHost, is_loopback
from sim.network.latency import Constant
from sim.network.links import Link, LinkBetween, NetworkModel, Path, Pipe
from sim.network.names import TTL_S, DomainNames, InstalledNameFault, NameFault
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
        # What connections are made of; recording ones take their place where messages are wanted (`sim.network.recording`).
        self.make_socket: Callable[..., Socket] = Socket
        self.make_handshake: Callable[..., Handshake] = Handshake
        self.host_by_name: dict[str, NetworkHost] = {}
        self._host_by_ip: dict[str, NetworkHost] = {}
        self.names = DomainNames()
        self._resolver_by_zone: dict[str, ZoneResolver] = {}
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
        self.set_name(name, (ip,))
        return host

    def set_name(self, name: str, addresses: Sequence[str], *, ttl_s: float = TTL_S) -> None:
        """Let a name resolve to these addresses, in this order; none: it does not exist. Resolvers remember for `ttl_s`."""
        self.names.set(name, tuple(addresses), ttl_s)

    def add_name_fault(self, fault: NameFault, *, name: str) -> InstalledNameFault:
        """Let answers about names go wrong. `name` keys its stream of chance and its records."""

        def remove() -> None:
            self.names.faults = tuple(other for other in self.names.faults if other is not installed)
            self.log.record("fault.lifted", "network", fault=name, hits=installed.hits)

        random = self.randomness.fresh("name-fault", name)
        bit = partial(self.log.record, "fault.bit", "network", fault=name)
        installed = InstalledNameFault(fault, name, random, bit, remove)
        self.names.faults = (*self.names.faults, installed)
        self.log.record("fault.armed", "network", fault=name)
        return installed

    def resolver(self, zone: str) -> ZoneResolver:
        """Return the resolver of a zone, the same object each time."""
        resolver = self._resolver_by_zone.get(zone)
        if resolver is None:
            resolver = self._resolver_by_zone[zone] = ZoneResolver(self, zone)
        return resolver

    def at_hand(self, name: str) -> str | None:
        """Return the address that a name stands for without asking anybody: numeric ones, and the host's own."""
        if name in self._host_by_ip or _is_numeric(name):
            return name
        return LOOPBACK if name == "localhost" else None

    def require_ip(self, address: Address) -> None:
        """Check that an address is numeric. Raises: ConfigError when it is a name, which pumps cannot resolve."""
        if address.host not in self._host_by_ip and not _is_numeric(address.host):
            raise ConfigError(
                [Violation(message=f"{address.host!r} is not an IP address", hint="resolve the name first")]
            )

    # Paths.

    def path(self, source: NetworkHost, target: NetworkHost) -> Path:
        """Return the path from one host to another, the same object each time."""
        key = source.name, target.name
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = self._make_path(source, target)
        return path

    def _make_path(self, source: NetworkHost, target: NetworkHost) -> Path:
        path = Path(source, target, *self._link(source, target))
        path.set_rules(self._rules_on(path))
        return path

    def _link(self, source: NetworkHost, target: NetworkHost) -> tuple[Link, Pipe | None]:
        if source is target:
            return Link(latency=Constant(self.model.loopback_s)), None
        link, entry, of_zones = self.model.between(source, target)
        pipe = None
        if link.bandwidth_bytes_per_s is not None:
            pipe = Pipe(link.bandwidth_bytes_per_s)
            if entry is not None and of_zones:
                pipe = self._zone_pipes.setdefault((entry, source.zone), pipe)
        return link, pipe

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
        rules = [rule for rule in self._rules if rule.rule.between.loopback] if path.loopback else self._rules
        return tuple(rule for rule in rules if rule.rule.between.crosses(path.source, path.target))

    # Connections.

    def connections_begun(self, among: Container[str] | None = None) -> int:
        """Count the attempts of the whole run to connect from one host to another, among some hosts or all."""
        return sum(
            path.connections
            for (source, target), path in self._paths.items()
            if not path.loopback and (among is None or (source in among and target in among))
        )

    def connect(
        self, client: NetworkHost, address: Address, done: Callable[[Socket | ConnectFailed], None]
    ) -> Handshake:
        """Begin to connect to an IP address. Raises: ConnectFailed at once when it is nobody's."""
        ip = address.host
        server = client if is_loopback(ip) else self._host_by_ip.get(ip)
        if server is None:
            raise connect_failed(OSError(errno.EHOSTUNREACH, f"no route to {address}"))
        handshake = self.make_handshake(self, client, server, address, done)
        handshake.start()
        return handshake


def _is_numeric(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
