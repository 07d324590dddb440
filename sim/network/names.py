"""The names of the simulated world: what is true of them, and the faults of those who tell it.

Owns the records (name, addresses, TTL), as the servers of a domain do, and the faults that lie on their answers or on those of
the zones' resolvers. How a host comes by an answer is `sim.network.dns`.
"""

import enum
from collections.abc import Callable, Mapping

import attrs

from mesh.model.randomness import Random
from sim.network.latency import Latency
from sim.network.rules import PROBABILITY

TTL_S = 30.0
# Source: RFC 2308; most zones have minutes, resolvers of clusters half a minute (CoreDNS: denial of 30 s, SERVFAIL of 5 s).
NEGATIVE_TTL_S = 30.0
FAILURE_TTL_S = 5.0


class Code(enum.Enum):
    """What an answer says. Source: RFC 1035, 4.1.1; RFC 2308."""

    FOUND = "found"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    SILENCE = "silence"  # There is none.


@attrs.frozen
class Answer:
    """What a server says about a name, and how long one may believe it."""

    code: Code
    addresses: tuple[str, ...] = ()
    ttl_s: float = 0.0


UNKNOWN = Answer(Code.NXDOMAIN, (), NEGATIVE_TTL_S)


@attrs.frozen(kw_only=True)
class NameFault:
    """Answers about some names (none: all) go wrong: another code, late, or those of the past.

    It lies on the resolvers (of the named zones; none: all), or at the `authority`: then what resolvers remember hides it for
    a TTL, and what they remember of it outlives it. `past` holds answers to give instead of true ones, by name.
    """

    names: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    authority: bool = False
    code: Code | None = None
    delay: Latency | None = None
    past: Mapping[str, Answer] = attrs.field(factory=dict)
    probability: float = attrs.field(default=1.0, validator=PROBABILITY)

    def concerns(self, name: str, zone: str, *, authority: bool) -> bool:
        """Say whether it lies on what this server says about a name."""
        if self.authority is not authority or (self.names and name not in self.names):
            return False
        return authority or not self.zones or zone in self.zones


class InstalledNameFault:
    """A fault at work; lift it with `remove`. `hits` counts the answers that it touched."""

    def __init__(
        self, fault: NameFault, name: str, random: Random, on_bit: Callable[[], object], on_remove: Callable[[], None]
    ) -> None:
        self.fault = fault
        self.name = name
        self.hits = 0
        self.active = True
        self._random = random
        self._on_bit = on_bit
        self._on_remove = on_remove
        self._spared: frozenset[str] = frozenset()
        self._delay_ns = fault.delay.sampler() if fault.delay is not None else None

    def spare(self, hosts: frozenset[str]) -> bool:
        """Answer these hosts well from now on; False at the authority, which does not know who asks."""
        self._spared = hosts
        return not self.fault.authority

    def remove(self) -> None:
        """Lift the fault; safe to repeat."""
        if self.active:
            self.active = False
            self._on_remove()

    def touch(self, name: str, asker: str) -> tuple[Answer | None, int]:
        """Return the answer to give instead of the true one, if any, and how much later in nanoseconds."""
        fault = self.fault
        if asker in self._spared or (fault.probability < 1.0 and self._random.random() >= fault.probability):
            return None, 0
        past = fault.past.get(name)
        if past is None and fault.code is None and self._delay_ns is None:
            return None, 0
        self.hits += 1
        if self.hits == 1:
            self._on_bit()
        delay_ns = self._delay_ns(self._random) if self._delay_ns is not None else 0
        return (Answer(fault.code, (), _TTL_BY_CODE[fault.code]) if fault.code is not None else past), delay_ns


_TTL_BY_CODE = {
    Code.FOUND: TTL_S,
    Code.NXDOMAIN: NEGATIVE_TTL_S,
    Code.SERVFAIL: FAILURE_TTL_S,
    Code.SILENCE: 0.0,
}


class DomainNames:
    """Owns records and faults of one world."""

    def __init__(self) -> None:
        self._answer_by_name: dict[str, Answer] = {}
        self.faults: tuple[InstalledNameFault, ...] = ()

    def set(self, name: str, addresses: tuple[str, ...], ttl_s: float) -> None:
        """Let a name have these addresses, in this order; none: it does not exist."""
        if addresses:
            self._answer_by_name[name] = Answer(Code.FOUND, addresses, ttl_s)
        else:
            self._answer_by_name.pop(name, None)

    def truth(self, name: str) -> Answer:
        """Return what is true of a name now."""
        return self._answer_by_name.get(name, UNKNOWN)

    def known(self) -> tuple[str, ...]:
        """Return all names that exist, in the order in which they came to be."""
        return tuple(self._answer_by_name)

    def told(self, name: str, *, zone: str, asker: str, authority: bool, truth: Answer) -> tuple[Answer, int]:
        """Return what a server says that ought to say `truth`, and how much later in nanoseconds."""
        delay_ns = 0
        for installed in self.faults:
            if installed.fault.concerns(name, zone, authority=authority):
                instead, late_ns = installed.touch(name, asker)
                delay_ns += late_ns
                truth = instead or truth
        return truth, delay_ns
