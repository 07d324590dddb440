"""`endpoints-known`: requests go to endpoints of the configuration that is in force, and to nobody who has left (S7, L6).

Judged are requests during whose whole time the caller's configuration stayed the same. Whoever has left the mesh for longer than
a drain gets nothing from callers that the control plane takes for up to date.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.tries import tries_of
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

DRAIN_S = 10.0  # For everybody to hear of it.


class EndpointsKnown(Watcher):
    """See the module's text."""

    name: ClassVar = "endpoints-known"
    about: ClassVar = "requests go to endpoints that are configured, and to nobody who has left"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._left: dict[str, tuple[str, float]] = {}  # by IP address: who has left the mesh, and when
        self._lagging: tuple[str, ...] = ()  # at the last look, if somebody had left
        self._lagged_s: dict[str, float] = {}  # until when each member may have lagged
        log = mesh.world.log
        log.on("proxy.left", self._on_left)
        log.on("proxy.joined", self._on_joined)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        plans, left = self.mesh.inspection.plans, self._left
        judged = 0
        if left:
            # A request that began with an old configuration may end with the new one, which came some time since the last look.
            before, self._lagging = self._lagging, self.mesh.lagging(self.mesh.members)
            self._lagged_s |= dict.fromkeys((*before, *self._lagging), now_s)
        for one in seen:
            member, _, record = one
            if not record.upstream:
                continue
            if left:
                self._judge_left(one)
            plan = plans.since(member, record.started_at)
            addresses = None if plan is None else plan.addresses.get(record.cluster)
            if addresses is not None:
                judged += 1
                upstreams: tuple[str, ...] = (record.upstream,)
                if record.failed_tries:
                    upstreams += tuple(each.upstream for each in record.failed_tries)
                for upstream in upstreams:
                    if upstream not in addresses:
                        self.note_request(f"went to {upstream}, which is no endpoint of {record.cluster}", one)
        self.judged += judged

    def _judge_left(self, one: Seen) -> None:
        for began, upstream in tries_of(one.record):
            name, left_s = self._left.get(upstream.partition(":")[0], ("", math.inf))
            if began - self.mesh.origin_s > max(left_s + DRAIN_S, self._lagged_s.get(one.member, 0.0)):
                self.note_request(f"went to {name}, which had left the mesh at {left_s:.3f} s", one)
                return

    def _on_left(self, event: Event) -> None:
        name = event.fields["proxy"]
        host = self.mesh.world.hosts.get(name)
        if host is not None and not self.mesh.control_planes.is_elsewhere(name, event.host):
            self._left[host.address] = (name, event.at_s - self.mesh.origin_s)

    def _on_joined(self, event: Event) -> None:
        host = self.mesh.world.hosts.get(event.fields["proxy"])
        if host is not None:
            self._left.pop(host.address, None)
