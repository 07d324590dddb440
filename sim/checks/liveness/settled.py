"""After the load, with everything healed: every proxy is connected and runs the newest configuration, and nothing is left over.

Left over are requests, journeys, places in queues, what requests hold of breakers, and the pumps and tasks that served them.
Connections in pools may stay, with who waits for their bytes, and so may what looks after a host without any load.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.checks.liveness.configuration import why_not_configured
from sim.checks.liveness.promise import listed

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_STANDING = ("serve ", "local-probe", "health-check ", "resolve ", "arrivals", "more arrivals", "user")


def why_not_connected(mesh: "SimulatedMesh") -> str:
    """Return who is not as it should be; nothing if all are."""
    return why_not_configured(mesh, mesh.members)


def leftovers(mesh: "SimulatedMesh") -> str:
    """Return what is left over; nothing if nothing is."""
    return listed([*_held(mesh), *_at_work(mesh)])


def _held(mesh: "SimulatedMesh") -> Iterator[str]:
    for member in mesh.members.values():
        if not member.host.alive:
            continue
        if member.users is not None and member.users.active:
            yield f"{member.users.active} journeys of {member.name}"
        if member.service is not None and member.service.places.busy:
            yield f"{member.service.places.busy} requests in {member.name}"
        for cluster in member.sidecar.clusters.values() if member.sidecar is not None else ():
            breaker = cluster.breaker
            held = (breaker.requests, breaker.pending_requests, breaker.retries)
            if any(held):
                words = ", ".join(
                    f"{n} {w}" for n, w in zip(held, ("requests", "pending", "retries"), strict=True) if n
                )
                yield f"{words} of {cluster.config.name} at {member.name}"


def _at_work(mesh: "SimulatedMesh") -> Iterator[str]:
    """Yield the pumps and tasks of requests, with their host."""
    for name, host in mesh.world.hosts.items():
        if host.life is None or not host.alive:
            continue
        idle = {getattr(socket.reader, "__self__", None) for socket in host.network_host.sockets}
        pumps = Counter(pump.name for pump in host.life.reactor.pumps if pump not in idle)
        pumps.update(task for task in host.life.called_tasks())
        yield from (f"{count} {what} on {name}" for what, count in pumps.items() if not what.startswith(_STANDING))
