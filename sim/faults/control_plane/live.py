"""Which configuration each sidecar goes by."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


def live_versions(mesh: "SimulatedMesh") -> dict[str, str]:
    """Return the version that each running sidecar has applied."""
    return {
        name: member.sidecar.client.status().version
        for name, member in mesh.members.items()
        if member.host.alive and member.sidecar is not None
    }
