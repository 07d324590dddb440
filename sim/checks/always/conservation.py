"""`conservation`: what arrived is what was completed and what is under way, at users, sidecars and services (S1).

Every few looks, for everybody in one life: journeys begun = ended + under way; requests at a sidecar's listeners = those that
left a record + those in flight. A life that ends, and a listener that goes, begin a new account; so does another
configuration, by which a listener may have gone and come back.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mesh.config.snapshot import Snapshot
from sim.checks.inspection import Seen
from sim.checks.views import ProxyView
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


_EVERY_LOOKS = 3


class _Account(NamedTuple):
    life: int
    snapshot: Snapshot
    begun: int  # requests by the listeners, less those that have ended when the account began
    ended: int  # by the records, since then


class Conservation(Watcher):
    """See the module's text."""

    name: ClassVar = "conservation"
    about: ClassVar = "what arrived was completed or is under way"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._accounts: dict[str, _Account] = {}
        self._ended: Counter[str] = Counter()
        self._looks = 0
        self._users_lost = False
        for kind in ("host.killed", "host.crashed"):
            mesh.world.log.on(kind, lambda event: self._on_ended(event.host))

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        self._ended.update([one.member for one in seen if one.record.method or one.record.status])
        self._looks += 1
        if self._looks % _EVERY_LOOKS == 0:
            self._compare(now_s)

    def finish(self, now_s: float) -> None:
        self._compare(now_s)

    def _compare(self, now_s: float) -> None:
        ended, self._ended = self._ended, Counter()
        for view in self.proxies:
            self._look_at(view, ended[view.member], now_s)
        self._count_journeys(now_s)

    def _look_at(self, view: ProxyView, ended: int, now_s: float) -> None:
        begun = done = 0
        for listener in view.listeners:
            if listener.http:
                begun += listener.requests_total
                done += sum(listener.answers.values())
        active = begun - done
        account = self._accounts.get(view.member)
        if account is None or account.snapshot is not view.snapshot or account.life != view.life:
            self._accounts[view.member] = _Account(view.life, view.snapshot, done, 0)
            return
        self.judged += 1
        if ended:
            ended += account.ended
            self._accounts[view.member] = account._replace(ended=ended)
        else:
            ended = account.ended
        if done - account.begun != ended:
            counted = f"{begun - account.begun} requests began, {ended} left a record, {active} are in flight"
            self.note(f"{view.member}: {counted}", now_s)
            self._accounts[view.member] = _Account(view.life, view.snapshot, done, 0)
        elif active > view.in_flight:
            self.note(f"{view.member} counts {active} requests, and its drain waits for {view.in_flight}", now_s)

    def _count_journeys(self, now_s: float) -> None:
        if self._users_lost:
            return
        users = [member.users for member in self.mesh.members.values() if member.users is not None]
        log, active = self.mesh.evidence.users, sum([each.active for each in users])
        self.judged += 1
        if log.begun != len(log.journeys) + active:
            self.note(f"{log.begun} journeys began, {len(log.journeys)} ended, {active} are under way", now_s)

    def _on_ended(self, host: str) -> None:
        """Users whose host ends leave no record of what they were at."""
        member = self.mesh.members.get(host)
        self._users_lost = self._users_lost or (member is not None and member.users is not None)
