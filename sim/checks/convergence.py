"""Watches how long a change of configuration takes to be live in every proxy that the control plane can reach."""

import trio

from sim.assembly import SimulatedMesh
from sim.checks.evidence import ConfigChange
from sim.network.cuts import CUTS

POLL_S = 0.02
_SETTLE_S = 0.1  # The control plane looks at changes together, a little later; before that everybody seems up to date.
_PATIENCE_S = 60.0


class ConvergenceWatcher:
    """Owns: the changes that are being watched. Emits: ConfigChange into the evidence."""

    def __init__(self, mesh: SimulatedMesh) -> None:
        self._mesh = mesh

    async def watch(self, what: str) -> None:
        """Wait until a change of now is live everywhere, or patience or the run ends."""
        mesh = self._mesh
        start_s = trio.current_time() - mesh.origin_s
        converged_s: float | None = None
        late: tuple[str, ...] = ()
        await trio.sleep(_SETTLE_S)
        try:
            with trio.move_on_after(_PATIENCE_S):
                while True:
                    late = mesh.lagging(self._reachable())
                    if not late:
                        converged_s = trio.current_time() - mesh.origin_s
                        return
                    await trio.sleep(POLL_S)
        finally:
            mesh.evidence.config_changes.append(
                ConfigChange(what=what, start_s=start_s, converged_s=converged_s, late=late)
            )

    def _reachable(self) -> list[str]:
        """Return the proxies on live hosts that no partition or the like keeps from every control plane."""
        network = self._mesh.world.network
        centers = [host.network_host for host in self._mesh.control_planes.hosts]
        names = []
        for member in self._mesh.members.values():
            if not member.host.alive or member.leaving:
                continue
            host = member.host.network_host
            both_ways = [(network.path(host, center), network.path(center, host)) for center in centers]
            cut = (any(isinstance(rule.rule, CUTS) for way in ways for rule in way.rules) for ways in both_ways)
            if not all(cut):
                names.append(member.name)
        return names
