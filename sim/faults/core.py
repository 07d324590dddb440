"""Which hosts a run heals for good: enough of them to serve every request, with everybody who sends some.

Between two hosts of the core nothing is broken any more, so it is connected, whatever is chosen.
"""

from typing import TYPE_CHECKING

import attrs

from sim.scenario.phases import ALL, RANDOM, Phases

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Core:
    """The hosts that are healed at `healed_s` and must be well at `due_s`. `permanent`: faults that stay outside."""

    hosts: frozenset[str]
    healed_s: float
    due_s: float
    permanent: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.hosts


def choose_core(mesh: "SimulatedMesh", phases: Phases) -> frozenset[str]:
    """Return the names of the core's hosts.

    The control plane and all users are always in it. Of each service `random` takes more than half of the instances, as
    a load that fits the mesh is meant to fit what is left when a few are gone; which ones, the seed decides.
    """
    if phases.core == (ALL,):
        return frozenset(mesh.world.hosts)
    services = [service.name for service in mesh.scenario.services]
    instances_of = {service: mesh.instances(service) for service in services}
    others = {member.name for members in instances_of.values() for member in members}
    chosen = [name for name in mesh.world.hosts if name not in others]
    if phases.core != (RANDOM,):
        named = phases.core
        members = [member for members in instances_of.values() for member in members]
        chosen += [m.name for m in members if {m.name, m.what.workload, m.what.zone} & {*named}]
        return frozenset(chosen)
    random = mesh.world.randomness.fresh("phases", "core")
    for members in instances_of.values():
        instances = [member.name for member in members]
        if instances:
            chosen += random.sample(instances, random.randint(len(instances) // 2 + 1, len(instances)))
    return frozenset(chosen)
