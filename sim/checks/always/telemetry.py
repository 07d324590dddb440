"""`telemetry`: what counters say is what happened (S15): answers by status, per direction and per cluster, against the records.

Both are counted from one look to the next few. Clusters that get copies of requests count those too, which leave no record.
A proxy whose configuration changed twice meanwhile is not judged: a cluster may have gone and come back, counting anew.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.checks.inspection import Seen
from sim.checks.views import ProxyView
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_EVERY_LOOKS = 10

Group = bool | str  # a direction (inbound: True), or a cluster's name


@attrs.define(eq=False)
class _Account:
    life: int
    shape: object  # which listeners and clusters were there
    applied: int  # configurations so far
    before: Mapping[Group, Mapping[int, int]]


class Telemetry(Watcher):
    """See the module's text."""

    name: ClassVar = "telemetry"
    about: ClassVar = "counters say what happened"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._accounts: dict[str, _Account] = {}
        self._looks = 0
        self._recorded: Counter[tuple[str, bool, str, int]] = Counter()  # by proxy, direction, cluster, status
        self._applied: Counter[str] = Counter()
        mesh.world.log.on("configuration.applied", lambda event: self._applied.update((event.host,)))

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        records = [(one.member, one.record) for one in seen if one.record.method or one.record.status]
        self._recorded.update([(member, each.inbound, each.cluster, each.status) for member, each in records])
        self._looks += 1
        if self._looks % _EVERY_LOOKS == 0:
            self._compare(now_s)

    def finish(self, now_s: float) -> None:
        self._compare(now_s)

    def _compare(self, now_s: float) -> None:
        by_member = self._counted()
        for view in self.proxies:
            shape = tuple([listener.address for listener in view.listeners]), tuple([c.name for c in view.clusters])
            counted, account = _counters(view), self._accounts.get(view.member)
            applied = self._applied[view.member]
            self._accounts[view.member] = _Account(view.life, shape, applied, counted)
            if account is None or account.life != view.life or account.shape != shape or applied > account.applied + 1:
                continue
            self.judged += 1
            recorded = by_member.get(view.member, {})
            for group, answers in counted.items():
                expected: Mapping[int, int] = recorded.get(group, {})
                if answers == account.before[group] and not expected:
                    continue
                self._judge(view, group, _difference(answers, account.before[group]), expected, now_s)

    def _counted(self) -> dict[str, dict[Group, Counter[int]]]:
        """Return how requests ended that left a record: `{proxy: {group: {status: count}}}`."""
        plain, self._recorded = self._recorded, Counter()
        found: dict[str, dict[Group, Counter[int]]] = {}
        for (member, inbound, cluster, status), count in plain.items():
            groups = found.setdefault(member, {})
            groups.setdefault(inbound, Counter())[status] += count
            if cluster:
                groups.setdefault(cluster, Counter())[status] += count
        return found

    def _judge(
        self,
        view: ProxyView,
        group: Group,
        counted: Mapping[int, int],
        recorded: Mapping[int, int],
        now_s: float,
    ) -> None:
        if counted == recorded or self._has_copies(view, group):
            return
        what = group if isinstance(group, str) else "inbound" if group else "outbound"
        text = f"counted {_text(counted)}, and {_text(recorded)} happened"
        self.note(f"{view.member}, {what}: {text}", now_s)

    def _has_copies(self, view: ProxyView, group: Group) -> bool:
        plan = self.mesh.inspection.plans.steady(view.member)
        return isinstance(group, str) and (plan is None or group in plan.mirrored)


def _counters(view: ProxyView) -> dict[Group, Mapping[int, int]]:
    groups: dict[Group, Mapping[int, int]] = {cluster.name: dict(cluster.answers) for cluster in view.clusters}
    for inbound in (True, False):
        answers = [each.answers for each in view.listeners if each.inbound is inbound and each.http]
        groups[inbound] = _sum(answers)
    return groups


def _sum(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for each in counts:
        for status, count in each.items():
            total[status] = total.get(status, 0) + count
    return total


def _difference(now: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    grown = {status: count - before.get(status, 0) for status, count in now.items()}
    return {status: count for status, count in grown.items() if count}


def _text(counts: Mapping[int, int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(counts.items())) or "nothing"
