"""What processes tell the runner about what they did, and how it becomes the run's evidence.

A record is a row of its fields in the order of RequestRecord; moments are shifted to the machine's monotonic clock on the
way out. What a killed process had not told (at most REPORT_S) is lost with it, as an application's own logs would be.
"""

import json
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TextIO

import trio

from mesh.model.traffic import ResponseFlag
from mesh.telemetry.request_record import FailedTry, RequestRecord
from sim.local.messages import Report
from sim.workload.observations import Arrival, JourneyRecord, ServiceTally, UserLog, VisitRecord

REPORT_S = 0.05
_FIELDS = tuple(RequestRecord.__slots__)
_ROW = attrgetter(*_FIELDS)
_STARTED, _ENDED, _FLAGS, _FAILED = (
    _FIELDS.index(name) for name in ("started_at", "ended_at", "flags", "failed_tries")
)
# The counters of a tally, by name; keys of tuples are sent as lists.
_COUNTERS = ("executions", "statements", "events", "deliveries", "refused", "failed")
_MOMENTS = ("arrivals", "connections")


class KeptRecords:
    """A RecordSink that keeps records for the next report."""

    def __init__(self) -> None:
        self._kept: list[RequestRecord] = []

    def append(self, record: RequestRecord, /) -> None:
        self._kept.append(record)

    def take(self, shift_s: float) -> list[Any]:
        """Return the rows since the last time; `shift_s` is added to their moments."""
        kept, self._kept = self._kept, []
        rows = []
        for record in kept:
            row = list(_ROW(record))
            row[_STARTED] += shift_s
            row[_ENDED] += shift_s
            row[_FLAGS] = [flag.value for flag in record.flags]
            row[_FAILED] = [failed._replace(ended_at=failed.ended_at + shift_s) for failed in record.failed_tries]
            rows.append(row)
        return rows


class KeptEvents:
    """The stream to which a process's log writes its lines: hands them on to `output`, and keeps them for the next report.

    `clock`: set once there is the reactor whose moments records bear, so that events and records can be compared.
    """

    def __init__(self, output: TextIO, *, shift_s: float) -> None:
        self.clock: Callable[[], float] = trio.current_time
        self._output = output
        self._shift_s = shift_s
        self._kept: list[Any] = []

    def write(self, line: str) -> int:
        fields = json.loads(line)
        fields.pop("timestamp", None)
        kind, level = fields.pop("event", ""), fields.pop("level", "info")
        self._kept.append((self.clock() + self._shift_s, kind, level, fields))
        return self._output.write(line)

    def flush(self) -> None:
        self._output.flush()

    def take(self) -> list[Any]:
        """Return what was logged since the last time."""
        kept, self._kept = self._kept, []
        return kept


def record_of(row: list[Any], *, shift_s: float) -> RequestRecord:
    """Return the record of a row; `shift_s` is added to its moments."""
    record = RequestRecord(inbound=False, started_at=0.0)
    for name, value in zip(_FIELDS, row, strict=True):
        setattr(record, name, value)
    record.started_at += shift_s
    record.ended_at += shift_s
    record.flags = tuple(map(ResponseFlag, record.flags))
    failed = (FailedTry(*one) for one in record.failed_tries)
    record.failed_tries = tuple(one._replace(ended_at=one.ended_at + shift_s) for one in failed)
    return record


def take_users(log: UserLog, shift_s: float) -> Report:
    """Return what users did since the last time, and forget it."""
    fresh = UserLog()
    journeys, log.journeys = log.journeys, fresh.journeys
    visits, log.visits = log.visits, fresh.visits
    return Report(
        journeys=[j._replace(start_s=j.start_s + shift_s, end_s=j.end_s + shift_s) for j in journeys],
        visits=[v._replace(start_s=v.start_s + shift_s, end_s=v.end_s + shift_s) for v in visits],
        begun=log.begun,
    )


def take_tally(tally: ServiceTally, shift_s: float) -> dict[str, Any]:
    """Return what services did since the last time, and forget it. The lists stay: services hold on to them."""
    taken: dict[str, Any] = {}
    for name in _MOMENTS:
        moments_by_arrival = getattr(tally, name)
        rows = [(key, [at + shift_s for at in moments]) for key, moments in moments_by_arrival.items() if moments]
        for moments in moments_by_arrival.values():
            del moments[:]  # An array's `clear` is younger than Python 3.11.
        if rows:
            taken[name] = rows
    for name in _COUNTERS:
        counter = getattr(tally, name)
        if counter:
            taken[name] = list(counter.items())
            counter.clear()
    return taken


def add_users(log: UserLog, report: Report, *, origin: float) -> None:
    """Add what users of one process did."""
    for row in report.journeys:
        journey = JourneyRecord(*row)
        log.journeys.append(journey._replace(start_s=journey.start_s - origin, end_s=journey.end_s - origin))
    for row in report.visits:
        visit = VisitRecord(*row)
        log.visits.append(visit._replace(start_s=visit.start_s - origin, end_s=visit.end_s - origin))


def add_tally(tally: ServiceTally, taken: dict[str, Any], *, shift_s: float) -> None:
    """Add what a service of one process did; `shift_s` is added to its moments."""
    for name in _MOMENTS:
        for key, moments in taken.get(name, ()):
            getattr(tally, name).setdefault(Arrival(*key), []).extend(at + shift_s for at in moments)
    for name in _COUNTERS:
        counter: Counter[Any] = getattr(tally, name)
        for key, count in taken.get(name, ()):
            counter[tuple(key) if isinstance(key, list) else key] += count
