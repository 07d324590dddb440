"""Every proxy runs the newest configuration: it is connected, and what the control plane wants of it is live."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.checks.liveness.promise import LivenessPromise, listed
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class NewestConfiguration(LivenessPromise):
    """L1 of the list in `sim.checks.liveness.catalogue`."""

    name = "core-configured"
    about = "every proxy of the core runs the newest configuration"

    def pending(self, now_s: float, core: Core) -> str:
        return why_not_configured(self.mesh, [name for name in self.mesh.members if name in core])


def why_not_configured(mesh: "SimulatedMesh", names: Iterable[str]) -> str:
    """Return who lags behind, and why the first of them does; nothing if nobody does."""
    status_by_name = mesh.status()
    if not status_by_name:
        return "no control plane is there to ask"
    staying = [name for name in names if name in mesh.members and not mesh.members[name].leaving]
    lagging = mesh.lagging(staying)
    if not lagging:
        return ""
    first = lagging[0]
    status = status_by_name.get(first)
    if not mesh.members[first].host.alive:
        reason = "has no power"
    elif status is None or not status.connected:
        reason = "is not connected"
    elif status.refusal is not None:
        reason = f"refused it: {status.refusal.reason}"
    else:
        reason = f"runs {status.acked_version or 'nothing'}, not {status.wanted_version or 'anything'}"
    return f"{listed(lagging)} lag behind; {first} {reason}"
