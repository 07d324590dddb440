"""How far apart hosts are, as the operator of a simulation writes it, and the path from one host to another."""

from typing import TYPE_CHECKING

import attrs

from mesh.model.randomness import Random
from sim.clock import NS_PER_S
from sim.network.latency import Constant, Latency, LogNormal, Sampler

if TYPE_CHECKING:
    from sim.network.host import NetworkHost
    from sim.network.rules import InstalledRule

PACKET_BYTES = 1448  # payload of a TCP packet on Ethernet


@attrs.frozen(kw_only=True)
class Link:
    """One direction between two hosts or zones. `loss` is a probability per packet."""

    latency: Latency = LogNormal(p50_s=250e-6, p99_s=1e-3)
    jitter: Latency | None = None  # added to each draw of `latency`
    bandwidth_bytes_per_s: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(0.0))
    )
    loss: float = attrs.field(default=0.0, validator=[attrs.validators.ge(0.0), attrs.validators.lt(1.0)])


@attrs.frozen(kw_only=True)
class LinkBetween:
    """A link for a pair of hosts or of zones; in both directions unless `one_way` (first to second)."""

    between: tuple[str, str]
    link: Link
    one_way: bool = False


@attrs.frozen(kw_only=True)
class NetworkModel:
    """All links. A pair of hosts goes before a pair of zones, that before the default; of equals the first.

    The bandwidth of a link between zones is shared by all hosts there; other bandwidth is each pair of hosts' own.
    """

    default: Link = Link()
    links: tuple[LinkBetween, ...] = ()
    window_bytes: int = attrs.field(default=256 * 1024, validator=attrs.validators.ge(1024))
    loopback_s: float = 15e-6

    def between(self, source: "NetworkHost", target: "NetworkHost") -> tuple[Link, LinkBetween | None, bool]:
        """Return the link from source to target, the entry it comes from, and whether that is an entry for zones."""
        for ends, of_zones in (((source.name, target.name), False), ((source.zone, target.zone), True)):
            for entry in self.links:
                if entry.between == ends or (not entry.one_way and entry.between[::-1] == ends):
                    return entry.link, entry, of_zones
        return self.default, None, False


class Pipe:
    """Serialises what passes: bytes wait until those before them are through."""

    __slots__ = ("_busy_until_ns", "_ns_per_byte")

    def __init__(self, bytes_per_s: float) -> None:
        self._ns_per_byte = NS_PER_S / bytes_per_s
        self._busy_until_ns = 0

    def delay_ns(self, size: int, now_ns: int) -> int:
        """Send `size` bytes into the pipe; return when the last one is through, from now."""
        begin_ns = self._busy_until_ns
        if begin_ns < now_ns:
            begin_ns = now_ns
        self._busy_until_ns = end_ns = begin_ns + round(size * self._ns_per_byte)
        return end_ns - now_ns

    def waiting_bytes(self, now_ns: int) -> float:
        """Return how many bytes are not through yet."""
        return max(0, self._busy_until_ns - now_ns) / self._ns_per_byte


class Path:
    """From one host to another: the link, and the rules that lie on it now."""

    __slots__ = (
        "connections",
        "constant_ns",
        "loopback",
        "loss",
        "nominal_ns",
        "pipe",
        "plain",
        "rules",
        "sample_ns",
        "source",
        "target",
    )

    def __init__(self, source: "NetworkHost", target: "NetworkHost", link: Link, pipe: Pipe | None) -> None:
        self.source = source
        self.target = target
        self.loopback = source is target
        self.connections = 0  # opened so far from source to target
        self.pipe = pipe
        self.loss = link.loss
        self.nominal_ns = round((link.latency.nominal_s + (link.jitter.nominal_s if link.jitter else 0.0)) * NS_PER_S)
        # Invariant: constant_ns is the latency where it never varies, otherwise -1.
        varies = link.jitter is not None or not isinstance(link.latency, Constant)
        self.constant_ns = -1 if varies else self.nominal_ns
        self.sample_ns: Sampler = _sampler(link)  # draws a latency
        self.rules: tuple[InstalledRule, ...] = ()
        self.plain = True  # nothing but latency: no rules, no bandwidth, no loss
        self.set_rules(())

    def set_rules(self, rules: "tuple[InstalledRule, ...]") -> None:
        """Let these rules judge what passes, in this order."""
        self.rules = rules
        self.plain = not rules and self.pipe is None and self.loss == 0.0

    def loses(self, size: int, random: Random) -> bool:
        """Draw whether at least one packet of a segment is lost."""
        if size <= PACKET_BYTES:
            return random.random() >= 1.0 - self.loss
        packets = 1 + (size - 1) // PACKET_BYTES
        return random.random() >= (1.0 - self.loss) ** packets


def _sampler(link: Link) -> Sampler:
    base = link.latency.sampler()
    if link.jitter is None:
        return base
    jitter = link.jitter.sampler()
    return lambda random: base(random) + jitter(random)
