"""`disk-torn`: the power of each host goes at the worst moment, and what was not synced is torn or lost.

From `at` on, each host is watched: as soon as something is written, the power is cut within the time that its sync takes, once
a host, and what was not synced then survives in part or not at all (`sim.platter` has the rules; a rename may survive the bytes
that it renamed). It is back after `down` (a second). Who never writes meanwhile keeps its power: the fault did not bite.

`lies: true`: a disk that says it has synced what it has not: a write cache without a battery, consumer SSDs, some virtual disks.
The power goes when this is over, and what was written since `at` is torn or lost. No software can keep a promise then; what one
can ask is that nothing torn is taken for whole.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.clock import ns_at_or_after
from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each, drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host

DOWN_S = 1.0


@attrs.frozen(kw_only=True)
class DiskTorn(HostFault):
    """Cut the power in the middle of a write."""

    word: ClassVar = "disk-torn"
    about: ClassVar = "cut the power in the middle of a write"
    keys: ClassVar = host_keys("disk-torn", lies=FLAG, down=ref("span"))

    lies: bool = False
    down_s: float = DOWN_S

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        down_s = entry.cursors["down"].span(positive=True) if "down" in entry else DOWN_S
        return cls(target=target, zone=zone, lies=entry.flag("lies"), down_s=down_s)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: "Host") -> "Callable[[], None]":
            watch = _Watch(self, host, mesh.world.randomness.fresh("fault", name, host.name).random())
            return watch.end

        return begin_each(self.hosts(mesh), begin, lambda host: host.platter.spoilt)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw)}


class _Watch:
    """Waits for one host to write. `moment`: when in the time of the sync its power goes, from 0 to 1."""

    def __init__(self, verb: DiskTorn, host: "Host", moment: float) -> None:
        self._host = host
        self._verb = verb
        self._moment = moment
        self._over = False
        if verb.lies:
            host.platter.lies = True
        else:
            host.platter.on_change = self._on_change

    def end(self) -> None:
        """Watch no longer; a disk that lied loses its power now."""
        if self._verb.lies:
            self._host.platter.lies = False
            self._cut(None)
        elif not self._over:
            self._over = True
            if self._host.platter.on_change == self._on_change:
                self._host.platter.on_change = None

    def _on_change(self) -> None:
        platter, clock = self._host.platter, self._host.world.clock
        platter.on_change = None
        clock.push(clock.now_ns + ns_at_or_after(platter.sync_s * self._moment), self._cut, None)

    def _cut(self, _: object) -> None:
        if not self._over:
            self._over = True
            host, clock = self._host, self._host.world.clock
            host.kill(spares_writes=False)
            clock.push(clock.now_ns + ns_at_or_after(self._verb.down_s), lambda _: host.start_if_off(), None)
