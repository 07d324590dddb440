"""`one-outcome`: every request ends exactly once at every hop, with one outcome, and in time (S1).

An outcome is a status, or the reason why there is none. A request is in time when it ends within the span that its route
allows. Not judged: requests whose span began later than they did (a body that the network still brought, an injected delay),
that switched protocols, or whose proxy was paused; headers by which applications choose their own span switch this part off.
A host that lost power or was switched off meanwhile excuses a missing outcome.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from mesh.model.traffic import ResponseFlag
from mesh.telemetry.request_record import RequestRecord
from sim.checks.disturbances import Disturbances
from sim.checks.inspection import Seen
from sim.checks.steering import steers_by_headers
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

EPSILON_S = 0.05  # Writing the answer.
_SWITCHED = 101


class OneOutcome(Watcher):
    """See the module's text."""

    name: ClassVar = "one-outcome"
    about: ClassVar = "every request ends once at every hop, with one outcome, in time"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._disturbances = Disturbances(mesh)
        self._steered = steers_by_headers(mesh.scenario)
        self._spans_before: set[bytes] = set()  # of the requests that ended in the second before

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        self.judged += len(seen)
        self._disturbances.look()
        ended = [one.record.traceparent for one in seen]
        spans = set(ended)
        spans.discard(b"")
        twice = len(ended) - ended.count(b"") - len(spans)
        if twice or not spans.isdisjoint(self._spans_before):
            for one in self._ended_before(seen):
                self.note_request("ended twice", one)
        self._spans_before = spans
        plans = self.mesh.inspection.plans
        for one in seen:
            member, _, record = one
            if not record.status:
                if not record.flags and not _is_done(record) and self._was_there(one):
                    self.note_request("ended without an outcome", one)
            elif not 100 <= record.status <= 599:
                self.note_request(f"ended with status {record.status}", one)
            took_s = record.ended_at - record.started_at
            if took_s < 0.0:
                self.note_request("ended before it began", one)
            elif took_s > plans.request_s_min and record.method and not self._steered:
                plan = plans.at(member, record.started_at)
                span = None if plan is None else plan.spans.get((record.route, record.cluster))
                if span is not None and took_s > span.request_s + EPSILON_S and self._has_no_excuse(one):
                    self.note_request(f"took {took_s:.3f} s, and {span.request_s:g} s were allowed", one)

    def _ended_before(self, seen: Sequence[Seen]) -> Iterator[Seen]:
        known = set(self._spans_before)
        for one in seen:
            if one.record.traceparent:
                if one.record.traceparent in known:
                    yield one
                known.add(one.record.traceparent)

    def _was_there(self, one: Seen) -> bool:
        return self._disturbances.lived_through(one.member, one.record.started_at)

    def _has_no_excuse(self, one: Seen) -> bool:
        record = one.record
        if record.status == _SWITCHED or record.bytes_received or ResponseFlag.DELAY_INJECTED in record.flags:
            return False
        return not self._disturbances.held_back(one.member, record.started_at, record.ended_at)


def _is_done(record: RequestRecord) -> bool:
    """Is it a connection of opaque TCP that was relayed? Its end is how such connections end."""
    return not record.method and bool(record.upstream)
