"""`certificates`: certificates in use are valid, and renewed in time (S10, L5).

In time: while a sidecar stays connected, a renewal is tried when 70 % of what remained has passed. A failed try (the authority is
down, the control plane refuses) begins that span anew, and so does a new connection; the clock that counts is the host's own.
A sidecar that was cut off from its control plane, or refused, may run out of validity; that its certificate is then accepted by
nobody is what its peers see to.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.checks.inspection import LOOK_S, Seen
from sim.checks.views import CertificateView, ProxyView
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

RENEW_AT = 0.7
_ANSWER_S = 15.0  # for the control plane to sign
_WAIT_S_MIN = 10.0  # between two tries
_JUMP_S = 0.5


@attrs.define(eq=False)
class _Waiting:
    """One certificate, and since when its renewal could be waited for. `offset_s`: of the wall clock, to notice jumps.

    `late`: how many steps of the host had been held back by then.
    """

    life: int
    certificate: CertificateView
    since_s: float
    remaining_s: float
    offset_s: float
    late: int


class Certificates(Watcher):
    """See the module's text."""

    name: ClassVar = "certificates"
    about: ClassVar = "certificates are valid and renewed in time"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._waiting: dict[str, _Waiting] = {}
        log = mesh.world.log
        log.on("certificate.not_received", self._on_not_received)
        log.on("control_plane.disconnected", self._on_not_received)
        log.on("certificate.refused", self._on_refused)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        for view in self.proxies:
            certificate = view.certificate
            if certificate is None or not view.connected:
                self._waiting.pop(view.member, None)
                continue
            self.judged += 1
            waiting = self._waiting.get(view.member)
            offset_s = view.wall_clock_s - now_s
            if (
                waiting is None
                or waiting.certificate != certificate
                or waiting.life != view.life
                or abs(waiting.offset_s - offset_s) > _JUMP_S
            ):
                self._begin(view, certificate, now_s, offset_s)
            else:
                waiting.offset_s = offset_s
                self._judge(view, waiting, now_s)

    def _begin(self, view: ProxyView, certificate: CertificateView, now_s: float, offset_s: float) -> None:
        remaining_s = certificate.not_after - view.wall_clock_s
        late = self.mesh.members[view.member].host.processor.late
        self._waiting[view.member] = _Waiting(view.life, certificate, now_s, remaining_s, offset_s, late)

    def _judge(self, view: ProxyView, waiting: _Waiting, now_s: float) -> None:
        due_s = waiting.since_s + max(RENEW_AT * waiting.remaining_s, _WAIT_S_MIN) + _ANSWER_S + LOOK_S
        if now_s <= due_s:
            return
        processor = self.mesh.members[view.member].host.processor
        if processor.gate is None and processor.late == waiting.late:
            left_s = waiting.certificate.not_after - view.wall_clock_s
            state = f"has {left_s:.0f} s left" if left_s > 0 else f"expired {-left_s:.0f} s ago"
            self.note(f"the certificate of {view.member} {state}, and nothing has renewed it", now_s)
        self._begin(view, waiting.certificate, now_s, waiting.offset_s)

    def _on_not_received(self, event: Event) -> None:
        self._waiting.pop(event.host, None)

    def _on_refused(self, event: Event) -> None:
        self._waiting.pop(event.fields.get("proxy", ""), None)
