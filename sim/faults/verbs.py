"""What each verb of the timeline does to a running mesh. Each begins something and hands back how to end it.

`Active.bit` says whether a fault touched anything: one that did not leaves its checks without meaning, and is reported.
"""

from collections.abc import Callable
from typing import Protocol, assert_never

import attrs

from mesh.resources.resource import Resource
from sim.assembly import Member, SimulatedMesh
from sim.faults.links import LatencyFloor, latency_of
from sim.network.rules import Between, InstalledRule, SlowLink
from sim.network.rules import Loss as LossRule
from sim.network.rules import Partition as PartitionRule
from sim.scenario.timeline import (
    Apply,
    ControlPlaneDown,
    Fail,
    Kill,
    Latency,
    Loss,
    Partition,
    Scale,
    Side,
    Slow,
    TimelineEntry,
)
from sim.scenario.topology import Failure


class Active(Protocol):
    """Something that was begun. `end` is called once, when its time is over; `bit` may be asked at any time after."""

    def end(self) -> None: ...
    def bit(self) -> bool: ...


@attrs.frozen
class Done:
    """Nothing is left to end."""

    touched: bool = True

    def end(self) -> None:
        """Stay as it is."""

    def bit(self) -> bool:
        return self.touched


@attrs.frozen
class RuleActive:
    """A rule on the network; lifted at the end."""

    installed: InstalledRule

    def end(self) -> None:
        self.installed.remove()

    def bit(self) -> bool:
        return self.installed.hits > 0


@attrs.define
class Undone:
    """Ended by a callback; `count` counts what could be touched, `before` of it when it began."""

    undo: Callable[[], None]
    count: Callable[[], int]
    before: int
    after: int | None = None

    def end(self) -> None:
        self.after = self.count()
        self.undo()

    def bit(self) -> bool:
        return (self.count() if self.after is None else self.after) > self.before


def begin(entry: TimelineEntry, mesh: SimulatedMesh) -> Active:
    """Do what an entry says."""
    network = mesh.world.network
    match entry.verb:
        case Apply(resources=resources):
            mesh.replace_resources(_applied(mesh, resources))
            return Done()
        case Scale(service=service, to=to):
            return Done(_scale(mesh, service, to))
        case Partition(sides=sides, oneway=oneway):
            between = _between(mesh, sides, both_ways=not oneway)
            return RuleActive(network.add_rule(PartitionRule(between=between), name=_name(entry)))
        case Loss(sides=sides, share=share):
            rule = LossRule(between=_between(mesh, sides), probability=share)
            return RuleActive(network.add_rule(rule, name=_name(entry)))
        case Latency():
            return RuleActive(_delay(mesh, entry, entry.verb))
        case Slow(target=target, zone=zone, factor=factor):
            return _slow(mesh, target, zone, factor)
        case Fail(target=target, zone=zone, failures=failures):
            return _fail(mesh, target, zone, failures)
        case Kill(target=target, zone=zone):
            return _kill(mesh.instances(target, zone))
        case ControlPlaneDown():
            host = mesh.control_plane_host
            was_alive = host.alive
            host.kill()
            return Undone(host.start, lambda: int(was_alive), 0)
        case _ as never:
            assert_never(never)


def _name(entry: TimelineEntry) -> str:
    # The moment keeps the streams of two equal faults apart, and leaves them alone when others come or go.
    return f"{entry.title()} at {entry.at_s:g}s"


def _between(mesh: SimulatedMesh, sides: tuple[Side, Side], *, both_ways: bool = True) -> Between:
    return Between(source=_hosts(mesh, sides[0]), target=_hosts(mesh, sides[1]), both_ways=both_ways)


def _hosts(mesh: SimulatedMesh, side: Side) -> tuple[str, ...]:
    """Return zones and hosts: the name of a service stands for its instances."""
    names: list[str] = []
    for name in side:
        instances = [member.name for member in mesh.instances(name)] if name not in mesh.scenario.zones else []
        names += instances or [name]
    return tuple(names)


def _applied(mesh: SimulatedMesh, resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Return the resources of the mesh after an operator's `apply`: same kind and name replaces."""
    by_key = {resource.key: resource for resource in mesh.resources}
    by_key |= {resource.key: resource for resource in resources}
    return tuple(by_key.values())


def _delay(mesh: SimulatedMesh, entry: TimelineEntry, verb: Latency) -> InstalledRule:
    between = _between(mesh, verb.sides)
    if verb.add is not None:
        rule: SlowLink | LatencyFloor = SlowLink(between=between, extra=latency_of(verb.add))
    else:
        assert verb.replace is not None, "the loader wants add or set"
        rule = LatencyFloor(between=between, latency=latency_of(verb.replace), network=mesh.world.network)
    return mesh.world.network.add_rule(rule, name=_name(entry))


def _slow(mesh: SimulatedMesh, target: str, zone: str, factor: float) -> Active:
    members = mesh.instances(target, zone)
    names = [member.name for member in members]
    before = {name: mesh.slow_by_instance.get(name, 1.0) for name in names}
    mesh.set_slow(names, factor)
    services = {member.what.workload for member in members}

    def undo() -> None:
        for name in names:
            mesh.set_slow([name], before[name])

    def worked() -> int:
        tally = mesh.evidence.services
        return sum(
            count
            for counts in (tally.executions, tally.statements)
            for key, count in counts.items()
            if key[0] in services
        )

    return Undone(undo, worked, worked())


def _fail(mesh: SimulatedMesh, target: str, zone: str, failures: tuple[Failure, ...]) -> Active:
    members = mesh.instances(target, zone)
    names = [member.name for member in members]
    before = {name: mesh.failures_by_instance.get(name, ()) for name in names}
    mesh.set_failing(names, failures)
    services = {member.what.workload for member in members}

    def undo() -> None:
        for name in names:
            mesh.set_failing([name], before[name])

    def failed() -> int:
        return sum(count for key, count in mesh.evidence.services.failed.items() if key[0] in services)

    return Undone(undo, failed, failed())


def _kill(members: list[Member]) -> Active:
    hosts = [member.host for member in members if member.host.alive]
    for host in hosts:
        host.kill()

    def restart() -> None:
        for host in hosts:
            if not host.alive:
                host.start()

    return Undone(restart, lambda: len(hosts), 0)


def _scale(mesh: SimulatedMesh, service: str, to: tuple[tuple[str, int], ...]) -> bool:
    """Start or stop instances until each zone has as many as it should; say whether anything changed."""
    changed = False
    for zone, wanted in to:
        present = mesh.instances(service, zone)
        for _ in range(wanted - len(present)):
            mesh.start_instance(service, zone)
            changed = True
        for member in reversed(present[wanted:]):
            mesh.world.start_task(mesh.stop_instance, member, name=f"stop {member.name}")
            changed = True
    return changed
