"""The requests that a broken check may be about: those that failed, and the slowest of each second. An observer of a run.

Kept are a few words on each, so that a verdict can name requests and a trace; bounded, however bad a run is.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sim.checks.inspection import Seen

KEPT_MAX = 20_000
NAMED_MAX = 3


class Suspect(NamedTuple):
    """One request at its caller's sidecar. Moments are seconds of the run; `status` 0: no response."""

    at_s: float
    caller: str
    service: str
    what: str  # METHOD /path
    status: int
    latency_s: float
    request_id: str
    trace: str

    def __str__(self) -> str:
        outcome = str(self.status) if self.status else "no response"
        return f"{self.caller} {self.what} {outcome} in {self.latency_s:.3g}s ({self.request_id})"


class Suspects:
    """See the module's text. `origin_s`: when the run began, in seconds of the reactors' clock."""

    def __init__(self, origin_s: Callable[[], float] = lambda: 0.0) -> None:
        self.failed: list[Suspect] = []
        self.slowest: list[Suspect] = []  # one for each second and service
        self.trace_by_retried: dict[str, str] = {}  # {request id: trace} of those that took more than one try
        self._origin_s = origin_s

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Keep what may be blamed of the last second's requests."""
        slowest: dict[str, Seen] = {}
        for one in seen:
            record = one.record
            if record.inbound or not record.method:
                continue
            if (record.status >= 500 or not record.status) and len(self.failed) < KEPT_MAX:
                self.failed.append(self._suspect(one))
            if record.tries > 1 and len(self.trace_by_retried) < KEPT_MAX:
                self.trace_by_retried[record.request_id.decode("latin-1")] = _trace(one)
            known = slowest.get(record.cluster)
            if known is None or _latency_s(known) < _latency_s(one):
                slowest[record.cluster] = one
        if len(self.slowest) < KEPT_MAX:
            self.slowest += [self._suspect(one) for one in slowest.values()]

    def between(
        self,
        start_s: float,
        end_s: float,
        *,
        slow: bool = False,
        services: Sequence[str] = (),
        concerned: Callable[[Suspect], bool] = lambda suspect: True,
    ) -> list[Suspect]:
        """Return a few that began between two moments, failed ones or the slowest: of some services, if any are named."""
        found = [
            suspect
            for suspect in (self.slowest if slow else self.failed)
            if start_s <= suspect.at_s < end_s and (not services or suspect.service in services) and concerned(suspect)
        ]
        found.sort(key=lambda suspect: (-suspect.latency_s if slow else suspect.at_s, suspect.request_id))
        return found[:NAMED_MAX]

    def _suspect(self, one: Seen) -> Suspect:
        record = one.record
        return Suspect(
            at_s=record.started_at - self._origin_s(),
            caller=one.member,
            service=record.cluster.rpartition("_")[0],
            what=f"{record.method.decode('latin-1')} {record.path.decode('latin-1')}",
            status=record.status,
            latency_s=_latency_s(one),
            request_id=record.request_id.decode("latin-1"),
            trace=_trace(one),
        )


def _latency_s(one: Seen) -> float:
    return one.record.ended_at - one.record.started_at


def _trace(one: Seen) -> str:
    return one.record.traceparent[3:35].decode("latin-1")
