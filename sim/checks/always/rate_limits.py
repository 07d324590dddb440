"""`rate-limits`: no inbound lets more through than its bucket and what comes back to it allow (S9).

The bucket is kept here once more, from the requests that reached the application, in the order of their beginnings. Requests
are judged a few seconds late, since records come in the order of their ends; one that lasts longer is not counted, which
only ever counts too little. Entries that look at the name a peer asked for are not judged: records do not show it.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from mesh.config.snapshot import InboundListener
from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.policy.rate_limit import Rate
from sim.checks.inspection import Seen
from sim.checks.views import ProxyView
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_LATE_S = 5.0
_ROUNDING = 1e-6

_Key = tuple[str, int, int]  # proxy, its life, the entry


@attrs.define(eq=False)
class _Bucket:
    """How far a bucket is emptied: at most `rate.count`, less what came back since `at`."""

    rate: Rate
    since: float
    taken: float = 0.0
    at: float = 0.0

    def take(self, moment: float) -> bool:
        """Take a token; False: there was none."""
        back = (moment - self.at) * self.rate.count / self.rate.interval_s
        self.taken = max(0.0, self.taken - back) + 1.0
        self.at = moment
        return self.taken <= self.rate.count + _ROUNDING


class RateLimits(Watcher):
    """See the module's text."""

    name: ClassVar = "rate-limits"
    about: ClassVar = "no more is let through than rates allow"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._buckets: dict[_Key, _Bucket] = {}
        self._waiting: list[tuple[float, Seen, _Key]] = []
        self._admitted: dict[tuple[str, int, str], tuple[float, int, Rate]] = {}  # connections: when, how many by then

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        limited = {}
        for view in self.proxies:
            plan = self.mesh.inspection.plans.steady(view.member)
            if plan is None:
                continue
            if len(plan.inbounds) == 1 and plan.inbounds[0].rate_limits:
                limited[view.member] = view, plan.inbounds[0]
            for inbound in plan.inbounds:
                if inbound.connection_rate is not None:
                    self._judge_connections(view, inbound, inbound.connection_rate, now_s)
        if limited or self._waiting:
            self._take_in(limited, seen)
            self._judge(self.mesh.origin_s + now_s - _LATE_S)

    def _take_in(self, limited: dict[str, tuple[ProxyView, InboundListener]], seen: Sequence[Seen]) -> None:
        plans = self.mesh.inspection.plans
        for one in seen:
            record = one.record
            if one.member not in limited or not record.inbound or not record.upstream:
                continue
            view, inbound = limited[one.member]
            plan = plans.at(one.member, record.started_at)
            if plan is None or not plan.inbounds or plan.inbounds[0] is not inbound:
                continue
            place = first_match((entry.match for entry in inbound.rate_limits), record.peer)
            limit = None if place is None else inbound.rate_limits[place].limit
            if place is None or limit is None:
                continue
            key = one.member, view.life, place
            bucket = self._buckets.get(key)
            if bucket is None or bucket.rate != limit.rate:
                self._buckets[key] = _Bucket(limit.rate, since=record.started_at, at=record.started_at)
            self._waiting.append((record.started_at, one, key))

    def _judge(self, until: float) -> None:
        due = sorted([each for each in self._waiting if each[0] <= until], key=lambda each: each[0])
        self._waiting = [each for each in self._waiting if each[0] > until]
        for moment, one, key in due:
            bucket = self._buckets[key]
            if moment >= bucket.at:
                self.judged += 1
                if not bucket.take(moment):
                    rate = f"{bucket.rate.count} in {bucket.rate.interval_s:g} s"
                    self.note_request(f"was let through above {rate}", one)

    def _judge_connections(self, view: ProxyView, inbound: InboundListener, rate: Rate, now_s: float) -> None:
        admitted = next((each.admitted for each in view.listeners if each.address == inbound.address), 0)
        key = view.member, view.life, inbound.name
        before = self._admitted.get(key)
        self._admitted[key] = (now_s, admitted, rate)
        if before is None or before[2] != rate or admitted < before[1]:
            return
        self.judged += 1
        allowed = rate.count + (now_s - before[0]) * rate.count / rate.interval_s
        if admitted - before[1] > allowed + _ROUNDING:
            what = f"{admitted - before[1]} connections in {now_s - before[0]:g} s"
            self.note(f"{view.member} let {what} through, and {allowed:g} are allowed", now_s)


def first_match(matches: Iterable[PeerMatch], peer: str) -> int | None:
    """Return the place of the first entry that means a peer; None: none, or nobody can say."""
    for place, match in enumerate(matches):
        if match.sni:
            return None
        if not match.spiffe_id or peer == match.spiffe_id:
            return place
        if match.spiffe_id_kind is MatchKind.PREFIX and peer.startswith(match.spiffe_id):
            return place
    return None
