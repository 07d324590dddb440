"""`stale-replica`: a control plane answers with an old state, so that a sidecar that (re)connects is told an older
configuration.

`stale-replica: control-plane-2`: that replica is cut off from the store that it shares with the others (a partition, a
database that lags behind), still serves its sidecars, and hears of no change. `stale-replica: 30s`: the control planes come
back from a backup of 30 s ago, disk and files, after a disaster or a failover to a database that lagged; it is over when their
operator applies the resources of before again. Nobody can tell an old state from a wanted one: sidecars take what they are
told, so this is about how much it hurts.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.resources.documents import Value
from mesh.resources.resource import Resource
from sim.control_planes import Backup
from sim.faults.active import Active, RuleActive, Whole
from sim.faults.control_plane.live import live_versions
from sim.network.cuts import Partition
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.names import CONTROL_PLANE_STORE
from sim.scenario.schema_parts import text
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class _BroughtBack(Whole):
    """A backup in force. `live` says which configuration each proxy ran before."""

    mesh: "SimulatedMesh"
    backup: Backup
    wanted: tuple[Resource, ...]
    live: dict[str, str]
    touched: bool = False

    def end(self) -> None:
        self.bit()
        current = self.mesh.resources
        old = {resource.key: resource for resource in self.backup.resources}
        # What was applied since then goes before what was wanted at the time of the disaster.
        newer = [resource for resource in current if old.get(resource.key) is not resource]
        self.mesh.replace_resources(tuple({resource.key: resource for resource in (*self.wanted, *newer)}.values()))

    def bit(self) -> bool:
        self.touched = self.touched or live_versions(self.mesh) != self.live
        return self.touched


@attrs.frozen(kw_only=True)
class StaleReplica(Verb):
    """Let one control plane, or all of them, answer with an old state. `age_s` 0: the replica that is named."""

    word: ClassVar = "stale-replica"
    about: ClassVar = "a control plane answers with an old state"
    keys: ClassVar = {
        "stale-replica": text("one of several control planes, or how old the backup is that all come back from")
    }

    replica: str = ""
    age_s: float = 0.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        cursor = entry.cursors[cls.word]
        if cursor.value in entry.names.control_planes:
            replica = cursor.text()
            if replica == CONTROL_PLANE_STORE:
                cursor.refuse("the store has no older state of itself", "name a control plane, or a span")
            elif CONTROL_PLANE_STORE not in entry.names.control_planes:
                cursor.refuse(
                    "one control plane alone has nobody to fall behind", "write control_plane: {replicas: 2}, or a span"
                )
            return cls(replica=replica)
        return cls(age_s=cursor.span(positive=True))

    def title(self) -> str:
        return f"{self.word} {self.replica}" if self.replica else f"{self.word} {self.age_s:g}s"

    def backup_s(self, at_s: float) -> float | None:
        """Return when the backup is taken that it needs, where it begins at `at_s`."""
        return None if self.replica else max(at_s - self.age_s, 0.0)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        if self.replica:
            between = Between(source=(self.replica,), target=(CONTROL_PLANE_STORE,), both_ways=True)
            return RuleActive(mesh.world.network.add_rule(Partition(between=between), name=name))
        planes = mesh.control_planes
        taken_s = max(trio.current_time() - mesh.origin_s - self.age_s, 0.0)
        backup = planes.backup_of(taken_s)
        begun = _BroughtBack(mesh, backup, mesh.resources, live_versions(mesh))
        planes.bring_back(backup)
        return begun

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        replicas = [name for name in draw.names.control_planes if name != CONTROL_PLANE_STORE]
        if len(replicas) > 1 and draw.place % 2:
            return {cls.word: replicas[draw.place // 2 % len(replicas)]}
        return {cls.word: draw.span(5.0, 120.0)}
