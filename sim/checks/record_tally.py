"""Takes the request records of one sidecar and keeps what checks and totals need: who was proven, how many
tries, which answers and flags.

One a sidecar; called on the request path, so it only counts.
"""

from array import array
from collections.abc import Callable

from mesh.telemetry.request_record import RequestRecord
from sim.checks.evidence import Evidence, InsecureRequest, TryRow
from sim.checks.inspection import Inspection, Seen

_new = tuple.__new__  # By itself, as in `sim.checks.views`: this is called for every record.


class RecordTally:
    """A RecordSink. `origin_s` is when the scenario began, in seconds of the reactor's clock."""

    def __init__(
        self, evidence: Evidence, inspection: Inspection, *, host: str, workload: str, origin_s: Callable[[], float]
    ) -> None:
        self._evidence = evidence
        self._inspection = inspection
        self._host = host
        self._workload = workload
        self._origin_s = origin_s
        self._rows_by_cluster = evidence.tries.rows_by_cluster(evidence.scenario)

    def append(self, record: RequestRecord) -> None:
        """Count one request or connection."""
        self._inspection.seen.append(_new(Seen, (self._host, self._workload, record)))
        if record.flags:
            for flag in record.flags:
                self._evidence.proxies.flags.setdefault(flag.value, array("d")).append(self._began_s(record))
        if record.inbound:
            evidence = self._evidence
            if record.peer:
                evidence.secure_requests += 1
            else:
                self._append_insecure(record)
            if record.method and record.upstream:
                evidence.hops += 1
            if record.shadow_denied:
                evidence.proxies.shadow_denials.setdefault(self._workload, []).append(self._began_s(record))
        elif record.method:
            began_s = record.started_at - self._origin_s()
            answers = self._evidence.proxies.answers
            moments = answers.get(record.status)
            if moments is None:
                moments = answers[record.status] = array("d")
            moments.append(began_s)
            rows = self._rows_by_cluster.get(record.cluster) if record.tries else None
            if rows is not None:
                rows.append(_new(TryRow, (began_s, record.tries)))

    def _began_s(self, record: RequestRecord) -> float:
        return record.started_at - self._origin_s()

    def _append_insecure(self, record: RequestRecord) -> None:
        what = f"{record.method.decode('latin-1')} {record.path.decode('latin-1')}".strip() or "connection"
        self._evidence.insecure.append(InsecureRequest(host=self._host, at_s=self._began_s(record), what=what))
