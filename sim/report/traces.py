"""`traces.otlp.jsonl`: the spans of a run as OTLP/JSON, one ResourceSpans a line, as the OpenTelemetry Collector reads files.

Times are virtual: the world's epoch plus virtual seconds. Source: OTLP 1.x JSON encoding (ids in hexadecimal, whole numbers of
64 bits as strings, enums as numbers), OpenTelemetry semantic conventions for HTTP and resources.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sim.report.material import HostFacts, Material
from sim.report.spans import INBOUND, Span, spans_of

SPANS_PER_LINE_MAX = 1_000
_SERVER, _CLIENT = 2, 3
_ERROR = 2
_NS_PER_S = 1_000_000_000


def trace_lines(material: Material) -> Iterator[bytes]:
    """Write the lines, host by host."""
    epoch_s = material.epoch + material.evidence.origin_s
    by_host: dict[str, list[Span]] = {}
    for span in spans_of_run(material):
        by_host.setdefault(span.host, []).append(span)
    facts = {host.name: host for host in material.hosts}
    for name, spans in by_host.items():
        for first in range(0, len(spans), SPANS_PER_LINE_MAX):
            yield _line(facts[name], spans[first : first + SPANS_PER_LINE_MAX], material, epoch_s)


def spans_of_run(material: Material) -> Iterator[Span]:
    """Return the spans that were kept of a run."""
    keeper, evidence = material.capture.requests, material.evidence
    assert keeper is not None, "spans need records, which only some files ask for"
    addresses = {host.name: host.address for host in material.hosts}
    return spans_of(keeper.seen, evidence.users.visits, origin_s=evidence.origin_s, addresses=addresses)


def _line(host: HostFacts, spans: Sequence[Span], material: Material, epoch_s: float) -> bytes:
    resource: dict[str, str | int | None] = {
        "service.name": host.workload,
        "service.instance.id": host.name,
        "host.name": host.name,
        "cloud.availability_zone": host.zone,
        "mesh.scenario": material.result.scenario,
        "mesh.seed": material.result.seed,
    }
    scope = {"scope": {"name": "trio-mesh"}, "spans": [_span(span, epoch_s) for span in spans]}
    entry = {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}
    return msgspec.json.encode({"resourceSpans": [entry]}) + b"\n"


def _span(span: Span, epoch_s: float) -> dict[str, Any]:
    method, _, target = span.name.partition(" ")
    facts: dict[str, str | int | None] = {
        "http.request.method": method,
        "url.path": target[target.find("/") :] if "/" in target else target,
        "http.response.status_code": span.status or None,
        "network.peer.address": span.upstream or None,
        "mesh.hop": span.kind,
        "mesh.tries": span.tries or None,
        "mesh.response_flags": span.flags or None,
        "mesh.detail": span.note or None,
        "http.request.header.x-request-id": span.request_id or None,
    }
    written = {
        "traceId": span.trace,
        "spanId": span.span,
        "name": span.name,
        "kind": _SERVER if span.kind == INBOUND else _CLIENT,
        "startTimeUnixNano": _ns(epoch_s, span.start_s),
        "endTimeUnixNano": _ns(epoch_s, span.end_s),
        "attributes": _attributes(facts),
    }
    if span.parent:
        written["parentSpanId"] = span.parent
    if span.failed:
        written["status"] = {"code": _ERROR, "message": span.note or span.flags}
    return written


def _ns(epoch_s: float, run_s: float) -> str:
    # Floats hold dates to some 200 ns only: the two parts meet as whole numbers.
    return str(int(epoch_s) * _NS_PER_S + round((epoch_s % 1.0 + run_s) * _NS_PER_S))


def _attributes(facts: Mapping[str, str | int | None]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in facts.items()
        if value is not None
    ]
