"""`config-versions`: what a proxy runs never goes back, nor does what the control plane has acknowledged (S11, S12).

Versions of configurations are digests of their content, so that "older" means: sent earlier. A version that was sent again
since is new again. A proxy that starts anew may begin with any configuration that it once took; a control plane that
starts anew with its disk has every revision of the resources that it ever showed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class _History:
    """What one proxy was sent and took. Orders count all pushes of the run."""

    sent: dict[str, int] = attrs.field(factory=dict)  # by version, its last push
    taken: dict[str, None] = attrs.field(factory=dict)
    runs: str = ""
    runs_order: int = 0
    early: tuple[str, float] | None = None  # a version taken before its push was logged, in the same instant


class ConfigVersions(Watcher):
    """See the module's text."""

    name: ClassVar = "config-versions"
    about: ClassVar = "acknowledged versions of configuration, and revisions of resources, never go back"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._history: dict[str, _History] = {}
        self._pushes = 0
        self._revisions: dict[str, int] = {}  # by control plane
        self._platter = mesh.control_planes.store_platter
        log = mesh.world.log
        log.on("configuration.pushed", self._on_pushed)
        log.on("configuration.accepted", self._on_accepted)
        log.on("configuration.restored", self._on_restored)
        log.on("configuration.acked", self._on_acked)
        log.on("disk.wiped", self._on_wiped)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        for member, history in self._history.items():
            early = history.early
            if early is not None and early[1] < now_s:
                history.early = None
                self.note(f"{member} took version {early[0]}, which nobody sent", early[1])
        self._look_at_revision(now_s)

    def _look_at_revision(self, now_s: float) -> None:
        planes = self.mesh.control_planes
        if self._platter is not planes.store_platter:
            self._platter = planes.store_platter  # Another disk remembers nothing.
            self._revisions = {}
        for host, revision in planes.revisions().items():
            self.judged += 1
            known = self._revisions.get(host, 0)
            if revision < known:
                self.note(f"{host} went back from revision {known} to {revision}", now_s)
            self._revisions[host] = revision

    def _of(self, member: str) -> _History:
        return self._history.setdefault(member, _History())

    def _at_s(self, event: Event) -> float:
        return event.at_s - self.mesh.origin_s

    def _on_pushed(self, event: Event) -> None:
        history, version = self._of(event.fields["proxy"]), event.fields["version"]
        self._pushes += 1
        history.sent[version] = self._pushes
        if history.early is not None and history.early[0] == version:
            history.early = None
            history.runs_order = self._pushes

    def _on_accepted(self, event: Event) -> None:
        history, version = self._of(event.host), event.fields["version"]
        order = history.sent.get(version, 0)
        self.judged += 1
        if not order:
            history.early = (version, self._at_s(event))
        elif order < history.runs_order:
            self.note(f"{event.host} went back from version {history.runs} to {version}", self._at_s(event))
        history.runs, history.runs_order = version, order
        history.taken[version] = None

    def _on_restored(self, event: Event) -> None:
        history, version = self._of(event.host), event.fields["version"]
        self.judged += 1
        if version not in history.taken:
            self.note(f"{event.host} began with version {version}, which it had never taken", self._at_s(event))
        history.runs, history.runs_order = version, 0

    def _on_acked(self, event: Event) -> None:
        member, version = event.fields["proxy"], event.fields["version"]
        self.judged += 1
        if version not in self._of(member).taken:
            self.note(
                f"the control plane believes that {member} runs {version}, which it never took", self._at_s(event)
            )

    def _on_wiped(self, event: Event) -> None:
        if event.host in self._revisions:
            self._revisions = {}
