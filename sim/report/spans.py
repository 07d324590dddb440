"""Spans: what users' requests went through, put together from what sidecars recorded. Pure.

A user's request is the root; below it, each sidecar's part, with a span for each try where there was more than one, and what
the next sidecar made of it below that. Ids are those of the `traceparent` headers. A request whose sidecar lost power has no
record there, so its span is missing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mesh.telemetry.request_record import RequestRecord
from sim.checks.inspection import Seen
from sim.workload.observations import VisitRecord

USER, OUTBOUND, TRY, INBOUND = "user", "out", "try", "in"


class Span(NamedTuple):
    """One span. Ids in hexadecimal, `parent` "" for roots; times in seconds of the run; `status` 0: there was no answer."""

    trace: str
    span: str
    parent: str
    kind: str
    host: str
    workload: str
    name: str
    start_s: float
    end_s: float
    status: int
    flags: str
    note: str
    upstream: str
    tries: int
    request_id: str

    @property
    def failed(self) -> bool:
        """Whether somebody would call it an error: no answer, or a server's error."""
        return self.status == 0 or self.status >= 500


class _Try(NamedTuple):
    span: str
    start_s: float
    upstream: str


def spans_of(
    seen: Sequence[Seen], visits: Iterable[VisitRecord], *, origin_s: float, addresses: Mapping[str, str]
) -> Iterator[Span]:
    """Return the spans of recorded requests: parents before children. `addresses`: {name of host: its IP address}."""
    visit_by_id = {visit.request_id: visit for visit in visits if visit.request_id}
    tries_by_span: dict[str, list[_Try]] = {}
    inbound: list[Seen] = []
    for one in seen:
        record = one.record
        if not record.method or not record.traceparent:
            continue
        if record.inbound:
            inbound.append(one)
            continue
        visit = None if record.parent else visit_by_id.get(record.request_id)
        if visit is not None:
            yield _root(one, visit)
        span = _span(one, OUTBOUND, origin_s, parent="" if visit is None else _derived(_id(record.traceparent), 0))
        yield span
        if record.failed_tries:
            tries = list(_tries(one, span, origin_s))
            tries_by_span[span.span] = [_Try(each.span, each.start_s, each.upstream) for each in tries]
            yield from tries
    for one in inbound:
        span = _span(one, INBOUND, origin_s)
        tried = tries_by_span.get(span.parent)
        if tried is not None:
            span = span._replace(parent=_try_of(tried, span, addresses.get(one.member, "")))
        yield span


def _root(one: Seen, visit: VisitRecord) -> Span:
    record = one.record
    return Span(
        trace=_trace(record),
        span=_derived(_id(record.traceparent), 0),
        parent="",
        kind=USER,
        host=one.member,
        workload=one.workload,
        name=visit.request,
        start_s=visit.start_s,
        end_s=visit.end_s,
        status=visit.status,
        flags="",
        note="lost patience" if visit.timed_out else "",
        upstream="",
        tries=0,
        request_id=visit.request_id.decode("latin-1"),
    )


def _span(one: Seen, kind: str, origin_s: float, *, parent: str = "") -> Span:
    record = one.record
    return Span(
        trace=_trace(record),
        span=_id(record.traceparent),
        parent=_id(record.parent) if record.parent else parent,
        kind=kind,
        host=one.member,
        workload=one.workload,
        name=f"{record.method.decode('latin-1')} {_place(record)}",
        start_s=record.started_at - origin_s,
        end_s=record.ended_at - origin_s,
        status=record.status,
        flags=",".join(flag.value for flag in record.flags),
        note="" if record.detail == "via_upstream" else record.detail,
        upstream=record.upstream,
        tries=record.tries,
        request_id=record.request_id.decode("latin-1"),
    )


def _place(record: RequestRecord) -> str:
    path = record.path.decode("latin-1")
    return path if record.inbound else f"{record.authority.decode('latin-1')}{path}"


def _tries(one: Seen, span: Span, origin_s: float) -> Iterator[Span]:
    """Return a span for each try: those that failed, and the last one, which ended as the request did."""
    record, start_s = one.record, span.start_s
    for number, failed in enumerate(record.failed_tries, start=1):
        end_s = failed.ended_at - origin_s
        status = int(failed.outcome) if failed.outcome.isdecimal() else 0
        yield span._replace(
            span=_derived(span.span, number),
            parent=span.span,
            kind=TRY,
            start_s=start_s,
            end_s=end_s,
            status=status,
            flags="",
            note="" if status else failed.outcome,
            upstream=failed.upstream,
            tries=number,
        )
        start_s = end_s + failed.pause_s
    if record.tries > len(record.failed_tries):
        number = len(record.failed_tries) + 1
        yield span._replace(
            span=_derived(span.span, number), parent=span.span, kind=TRY, start_s=min(start_s, span.end_s), tries=number
        )


def _try_of(tries: Sequence[_Try], span: Span, address: str) -> str:
    """Return which try brought a request to this host: the last one to there that had begun."""
    begun = [each for each in tries if each.start_s <= span.start_s] or tries[:1]
    here = [each for each in begun if each.upstream.rpartition(":")[0] == address] or begun
    return here[-1].span


def _trace(record: RequestRecord) -> str:
    return record.traceparent[3:35].decode("ascii")


def _id(traceparent: bytes) -> str:
    return traceparent[36:52].decode("ascii")


def _derived(span: str, number: int) -> str:
    """Make an id of what no header names: of the n-th try, and of the user's own span (0)."""
    return f"{int(span, 16) ^ (0x5EED << 48 | number << 40) or 1:016x}"
