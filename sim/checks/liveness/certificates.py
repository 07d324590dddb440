"""Certificates of the core are renewed long before they expire, also after the authority was away."""

from sim.checks.liveness.promise import LivenessPromise, listed
from sim.faults.core import Core

_LEFT_SHARE = 0.15  # Renewal is due at 70 % of the lifetime, and tried again often before 85 %.


class CertificatesRotate(LivenessPromise):
    """L5 of the list in `sim.checks.liveness.catalogue`."""

    name = "certificates-rotate"
    about = f"every certificate of the core has more than {_LEFT_SHARE:.0%} of its time left"

    def pending(self, now_s: float, core: Core) -> str:
        late = []
        for name, member in self.mesh.members.items():
            svid = None if member.sidecar is None else member.sidecar.client.identity.svid
            if name not in core or svid is None or not member.host.alive:
                continue
            left_s = svid.not_after - member.host.wall_clock()
            if left_s <= _LEFT_SHARE * (svid.not_after - svid.not_before):
                state = f"expires in {left_s:.0f}s" if left_s > 0 else f"expired {-left_s:.0f}s ago"
                late.append(f"{name}'s {state}")
        return listed(late)
