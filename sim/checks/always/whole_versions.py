"""`whole-versions`: what a sidecar runs is exactly one version that the control plane sent it, all of it (S11).

The digest of what is applied is computed anew from its parts; listeners and clusters that are there are those of the parts.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from mesh.config.snapshot import Snapshot
from sim.checks.inspection import Seen
from sim.checks.plans import ProxyPlan
from sim.checks.views import ProxyView
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


class WholeVersions(Watcher):
    """See the module's text."""

    name: ClassVar = "whole-versions"
    about: ClassVar = "what a sidecar runs is exactly one version that it was sent"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._sent: dict[str, dict[str, None]] = {}  # versions by proxy
        self._known: dict[str, tuple[int, Snapshot]] = {}
        mesh.world.log.on("configuration.pushed", self._on_pushed)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        for view in self.proxies:
            known = self._known.get(view.member)
            if known is not None and known[1] is view.snapshot and known[0] == view.life:
                continue
            self._known[view.member] = view.life, view.snapshot
            if view.version or view.snapshot.parts:
                self.judged += 1
                self._judge(view, now_s)

    def _judge(self, view: ProxyView, now_s: float) -> None:
        version = digest_of(view.snapshot)
        if version != view.version:
            self.note(f"{view.member} says that it runs {view.version}, and runs {version}", now_s)
        elif version not in self._sent.get(view.member, ()):
            self.note(f"{view.member} runs version {version}, which it was never sent", now_s)
        plan = ProxyPlan(view.snapshot)
        parts = {inbound.address for inbound in plan.inbounds} | {outbound.address for outbound in plan.outbounds}
        there = {listener.address for listener in view.listeners}
        if parts != there:
            wrong = ", ".join(sorted(map(str, parts ^ there)))
            self.note(f"{view.member} listens otherwise than version {version} says: {wrong}", now_s)
        self._judge_clusters(view, plan, now_s)

    def _judge_clusters(self, view: ProxyView, plan: ProxyPlan, now_s: float) -> None:
        names = {*plan.clusters, *(str(inbound.application) for inbound in plan.inbounds)}
        there = {cluster.name for cluster in view.clusters}
        if names != there:
            wrong = ", ".join(sorted(names ^ there))
            self.note(f"{view.member} has other clusters than its version says: {wrong}", now_s)
        for cluster in view.clusters:
            addresses = plan.addresses.get(cluster.name)
            if addresses is not None and len(addresses) != cluster.endpoints:
                self.note(
                    f"{view.member} knows {cluster.endpoints} endpoints of {cluster.name}, not {len(addresses)}", now_s
                )
            limits = plan.limits(cluster.name)
            if limits is not None and limits != cluster.limits:
                self.note(f"{view.member} limits {cluster.name} otherwise than its version says", now_s)

    def _on_pushed(self, event: Event) -> None:
        self._sent.setdefault(event.fields["proxy"], {})[event.fields["version"]] = None


def digest_of(snapshot: Snapshot) -> str:
    """Return the version of a content: BLAKE2b of 8 bytes over key, length and JSON of each part, by key."""
    digest = hashlib.blake2b(digest_size=8)
    for key, part in sorted(snapshot.parts.items()):
        data = msgspec.json.encode(part, order="sorted")
        digest.update(b"%b\0%d\0%b" % (key.encode(), len(data), data))
    return digest.hexdigest()
