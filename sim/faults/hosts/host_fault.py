"""What all faults of hosts have in common: whom they hit, and how each host is let go.

A target is a service (all its instances, or those in `zone`), an instance, a zone (every instance in it, and the control
planes that stand there), or a control plane. Instances that start later are not hit; one that restarts still is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from sim.faults.active import EachHost
from sim.scenario.draw import Draw
from sim.scenario.names import control_plane_hosts
from sim.scenario.schema_parts import ZONE, Schema, text
from sim.scenario.verb import Verb

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host

HOSTS = text("a service, an instance, a zone or a control plane")
_ALL_OF_A_SERVICE = 6  # the strength from which a drawn fault hits more than one host


@attrs.frozen(kw_only=True)
class HostFault(Verb):
    """Something that happens to the hosts of a target."""

    target: str
    zone: str = ""

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def hosts(self, mesh: "SimulatedMesh") -> "list[Host]":
        """Return the hosts that are hit, in the order of their start."""
        control = [mesh.world.hosts[name] for name in control_plane_hosts(mesh.scenario.control_plane.replicas)]
        if self.target in mesh.scenario.zones:
            members = [member for service in mesh.scenario.services for member in mesh.instances(service.name)]
            return [host for host in (*control, *(member.host for member in members)) if host.zone == self.target]
        named = [host for host in control if host.name == self.target]
        return named or [member.host for member in mesh.instances(self.target, self.zone)]


def host_keys(word: str, **more: Schema) -> Mapping[str, Schema]:
    """Return the keys of a fault of hosts."""
    return {word: HOSTS, "zone": ZONE, **more}


def drawn_target(draw: Draw) -> str:
    """Return one instance or control plane; from some strength on a service, a zone or a control plane."""
    names = draw.names
    if draw.strength < _ALL_OF_A_SERVICE:
        return draw.one_of([*names.instances, *names.control_planes])
    return draw.one_of([*draw.services(), *names.control_planes, *names.zones])


@attrs.define(eq=False)
class _Count:
    """How far something was counted up between two moments."""

    read: Callable[[], int]
    before: int
    after: int | None = None

    def rose(self) -> bool:
        return (self.read() if self.after is None else self.after) > self.before

    def stop(self) -> None:
        self.after = self.read()


def begin_each(
    hosts: "Iterable[Host]", begin: "Callable[[Host], Callable[[], None]]", count: "Callable[[Host], int]"
) -> EachHost:
    """Begin something on each host; `begin` returns how to undo it. It bit where `count` went up before that was undone."""
    undo_by_host: dict[str, Callable[[], None]] = {}
    counts = []
    for host in hosts:
        counted = _Count(lambda host=host: count(host), count(host))  # type: ignore[misc]  # the loop's host, kept
        counts.append(counted)
        undo_by_host[host.name] = _undo(counted, begin(host))
    return EachHost(undo_by_host, lambda: any(counted.rose() for counted in counts))


def _undo(counted: _Count, undo: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        counted.stop()
        undo()

    return both
