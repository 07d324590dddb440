"""`buggify`: a host's surroundings do rare things that they are allowed to do, all the time: what a program must not be
surprised by.

For a `share` (by default a tenth) of what there is of each:
- bytes arrive in two pieces, the first perhaps of one byte, or linger and are read together with the next (on the host's
  loopback too);
- timers fire up to 10 ms late, never early;
- pumps are resumed although nothing that they wait for has happened (`mesh.runtime.pump` allows it), a few hundred a second.
Nothing is lost, nothing is refused, no rule of TCP or of the Environment is broken: a check that fails has found a bug, and
the mesh is only a little slower. Source: FoundationDB's buggify. Not covered: Trio's own timers, and tasks, which Trio never
wakes in vain. `buggify: all` means every host that there is when it begins, the control plane too. As a key of the scenario
(`buggify: true`, or a share) it lasts from the first moment to the end and is no fault.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.model.randomness import Random
from mesh.resources.documents import Value
from sim.clock import NS_PER_S
from sim.faults.active import Active
from sim.faults.network.link_fault import share_of
from sim.host import Host
from sim.network.fragments import Fragment
from sim.network.rules import Between, InstalledRule
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref, text
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.world import World

ALL = "all"
BUGGIFY_SHARE = 0.1
_LATE_NS_MAX = NS_PER_S // 100
_WAKES_PER_S = 2000.0  # times the share


@attrs.frozen(kw_only=True)
class Buggify(Verb):
    """Let the surroundings of hosts do rare legal things."""

    word: ClassVar = "buggify"
    about: ClassVar = "rare legal behaviour of network and timers: short reads, late timers, wake-ups in vain"
    keys: ClassVar = {"buggify": text("a service, an instance, or all"), "share": ref("percent")}

    target: str = ALL
    share: float = BUGGIFY_SHARE

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target = ALL if entry.cursors[cls.word].value == ALL else entry.target(cls.word)[0]
        return cls(target=target, share=share_of(entry, BUGGIFY_SHARE))

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        world = mesh.world
        if self.target == ALL:
            return Buggified(world, name, [*world.hosts.values()], Between(loopback=True), self.share)
        names = tuple(member.name for member in mesh.instances(self.target))
        return Buggified(world, name, [world.hosts[host] for host in names], hosts_and_loopback(names), self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of(draw.services()), "share": draw.share(0.01, 1.0)}


def hosts_and_loopback(names: tuple[str, ...]) -> Between:
    """Return what these hosts send and receive, themselves included."""
    return Between(source=names, loopback=True)


class Buggified:
    """Hosts to which it happens; implements `sim.faults.active.Active`."""

    def __init__(self, world: "World", name: str, hosts: list[Host], between: Between, share: float) -> None:
        self._world = world
        self._share = share
        self._hosts = {host.name: host for host in hosts}
        self._wakes = 0
        self._rule: InstalledRule | None = None
        if share > 0.0 and hosts:
            self._rule = world.network.add_rule(Fragment(between=between, probability=share), name=name)
        for host in hosts:
            random = world.randomness.fresh("buggify", name, host.name)
            host.network_host.late_ns = Lateness(random, share)
            self._wake_later(host, random)

    def end(self) -> None:
        """Be good again."""
        for name in list(self._hosts):
            self._leave(name)
        if self._rule is not None:
            self._rule.remove()

    def bit(self) -> bool:
        return self._wakes > 0 or (self._rule is not None and self._rule.hits > 0)

    def spare(self, core: frozenset[str]) -> bool:
        """Be good to the core; what goes between it and other hosts is still cut up."""
        for name in [name for name in self._hosts if name in core]:
            self._leave(name)
        if self._rule is not None:
            self._rule.spare(core)
        return True

    def _leave(self, name: str) -> None:
        self._hosts.pop(name).network_host.late_ns = None

    def _wake_later(self, host: Host, random: Random) -> None:
        if self._share > 0.0:
            pause_s = (0.5 + random.random()) / (_WAKES_PER_S * self._share)
            clock = self._world.clock
            clock.push(clock.now_ns + round(pause_s * NS_PER_S), self._wake, (host, random))

    def _wake(self, entry: tuple[Host, Random]) -> None:
        """Resume one of the host's pumps in vain."""
        host, random = entry
        if host.name not in self._hosts:
            return
        place = random.random()
        pumps = list(host.life.reactor.pumps) if host.life is not None and host.alive else []
        if pumps:
            self._wakes += 1
            pumps[int(place * len(pumps))].resume()
        self._wake_later(host, random)


class Lateness:
    """Draws how late a timer is, in nanoseconds."""

    def __init__(self, random: Random, share: float) -> None:
        self._random = random
        self._share = share

    def __call__(self) -> int:
        if self._random.random() >= self._share:
            return 0
        return round(self._random.random() * _LATE_NS_MAX)
