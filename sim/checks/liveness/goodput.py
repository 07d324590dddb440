"""Once what was broken is whole, users get what they got before: success, tries a request and queues are back at the baseline.

A system that stays down although its cause is gone is metastable: its own retries, cold caches or queues keep it there.
Source: Bronson et al., Metastable Failures in Distributed Systems, HotOS 2021.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from sim.checks.inspection import Seen
from sim.checks.liveness.promise import RECENT_S, LivenessPromise
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_BACK_SHARE = 0.95  # of the baseline
_TRIES_MORE = 0.1  # tries a request may cost so many more than before
_QUEUE_FREE = 5  # requests that may always be waiting
_JOURNEYS_MIN = 20  # of fewer, one bad one says little
_HEALTHY_SHARE = 0.9  # where there was no time without faults to take a baseline from
_KEPT = 3


@attrs.define
class _Second:
    """What one second added."""

    at_s: float
    journeys: int
    good: int
    requests: int
    tries: int
    waiting: int


@attrs.define
class _Sum:
    """What some seconds came to. `waiting`: at most."""

    journeys: int = 0
    good: int = 0
    requests: int = 0
    tries: int = 0
    waiting: int = 0

    def add(self, second: _Second) -> None:
        self.journeys += second.journeys
        self.good += second.good
        self.requests += second.requests
        self.tries += second.tries
        self.waiting = max(self.waiting, second.waiting)


class GoodputReturns(LivenessPromise):
    """L2 of the list in `sim.checks.liveness.catalogue`. The baseline is the time from the warm-up to the first fault."""

    name = "goodput-returns"
    about = "success, tries a request and queues are back where they were before the first fault"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        first_s = min((e.at_s for e in mesh.scenario.timeline if e.is_fault), default=mesh.scenario.duration_s)
        # Faults may begin with the warm-up: then what was seen before them has to do.
        begin_s = mesh.scenario.warmup_s if first_s > mesh.scenario.warmup_s else 0.0
        self._healthy_s = (begin_s, first_s)
        self._baseline = _Sum()
        self._recent: deque[_Second] = deque()
        self._journeys = 0  # of the log, looked at so far

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Add up one second."""
        journeys = self.mesh.evidence.users.journeys
        ended = journeys[self._journeys :]
        self._journeys = len(journeys)
        sent = [s.record for s in seen if not s.record.inbound and s.record.method and s.record.tries]
        second = _Second(
            at_s=now_s,
            journeys=len(ended),
            good=sum(journey.ok for journey in ended),
            requests=len(sent),
            tries=sum(record.tries for record in sent),
            waiting=self._waiting(),
        )
        failed = [s.record for s in seen if not s.record.inbound and (s.record.status >= 500 or not s.record.status)]
        failed = [record for record in failed if record.request_id]
        if failed:
            self.requests = tuple(record.request_id.decode("latin-1") for record in failed[-_KEPT:])
            self.trace = failed[-1].traceparent[3:35].decode("latin-1")
        begin_s, end_s = self._healthy_s
        if begin_s < now_s <= end_s:
            self._baseline.add(second)
        self._recent.append(second)
        while len(self._recent) > 1 and self._recent[0].at_s <= now_s - RECENT_S and self._enough_without_first():
            self._recent.popleft()

    def pending(self, now_s: float, core: Core) -> str:
        recent, baseline = _Sum(), self._baseline
        for second in self._recent:
            if second.at_s > core.healed_s:
                recent.add(second)
        usual = baseline.good / baseline.journeys if baseline.journeys else _HEALTHY_SHARE / _BACK_SHARE
        if not recent.journeys:
            return "no journey ended lately" if baseline.journeys else ""
        share = recent.good / recent.journeys
        if share < _BACK_SHARE * usual:
            return f"success is {share:.1%}, was {usual:.1%}"
        if not core.permanent and baseline.requests and recent.requests:
            tries, before = recent.tries / recent.requests, baseline.tries / baseline.requests
            if tries > before + _TRIES_MORE:
                return f"a request takes {tries:.2f} tries, took {before:.2f}"
        waiting = self._recent[-1].waiting
        if waiting > 2 * baseline.waiting + _QUEUE_FREE:
            return f"{waiting} requests wait in queues, at most {baseline.waiting} did"
        return ""

    def _enough_without_first(self) -> bool:
        return sum(second.journeys for second in self._recent) - self._recent[0].journeys >= _JOURNEYS_MIN

    def _waiting(self) -> int:
        services = (member.service for member in self.mesh.members.values() if member.host.alive)
        return sum(service.places.busy - service.places.working for service in services if service is not None)
