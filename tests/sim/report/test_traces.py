"""Spans and OTLP of a whole run: trees are closed, tries are told apart, ids and times have their standard form."""

import json
import re

import pytest

from mesh.telemetry.request_record import FailedTry, RequestRecord
from sim.checks.inspection import Seen
from sim.report.spans import INBOUND, OUTBOUND, TRY, USER, spans_of
from sim.report.traces import spans_of_run, trace_lines
from sim.workload.observations import VisitRecord
from tests.sim.report.small_run import small_run

TRACE = "ab" * 16


def record(*, inbound, span, parent="", start=1.0, end=2.0, **more):
    made = RequestRecord(inbound=inbound, started_at=start, method=b"GET", path=b"/x", authority=b"stock")
    made.ended_at = end
    made.status = 200
    made.traceparent = f"00-{TRACE}-{span}-03".encode()
    made.parent = f"00-{TRACE}-{parent}-03".encode() if parent else b""
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_tries_are_spans_and_what_they_reached_hangs_below_them():
    a, b = "a" * 16, "b" * 16
    outbound = record(
        inbound=False,
        span=a,
        start=11.0,
        end=12.0,
        tries=2,
        upstream="10.0.0.2:80",
        request_id=b"id",
        failed_tries=(FailedTry("10.0.0.1:80", 11.4, "connection timeout", 0.1),),
    )
    inbound = record(inbound=True, span=b, parent=a, start=11.6, end=11.9)
    visit = VisitRecord("GET shop/", 0.9, 2.1, 200, False, 1, b"id")
    spans = list(
        spans_of(
            [Seen("two", "stock", inbound), Seen("edge", "users", outbound)],
            [visit],
            origin_s=10.0,
            addresses={"two": "10.0.0.2"},
        )
    )
    assert [span.kind for span in spans] == [USER, OUTBOUND, TRY, TRY, INBOUND]
    root, out, first, second, served = spans
    assert (root.parent, out.parent, first.parent, second.parent) == ("", root.span, a, a)
    assert served.parent == second.span
    assert (first.start_s, first.end_s) == pytest.approx((1.0, 1.4))
    assert (second.start_s, second.end_s) == pytest.approx((1.5, 2.0))
    assert (first.failed, first.note, second.failed) == (True, "connection timeout", False)
    assert len({span.span for span in spans}) == 5


def test_users_requests_are_the_roots_of_closed_trees():
    spans = list(spans_of_run(small_run()))
    by_trace = {}
    for span in spans:
        by_trace.setdefault(span.trace, []).append(span)
    visits = small_run().evidence.users.visits
    roots = [span for span in spans if not span.parent]
    assert len(roots) == len(by_trace) == len(visits)
    assert all(root.kind == USER for root in roots)
    for tree in by_trace.values():
        known = {span.span for span in tree}
        assert all(not span.parent or span.parent in known for span in tree)
    retried = [span for span in spans if span.kind == TRY]
    assert any(span.note for span in retried)


def test_lines_are_otlp_json_with_virtual_times():
    material = small_run()
    kinds, ids = set(), set()
    for line in trace_lines(material):
        (resource_spans,) = json.loads(line)["resourceSpans"]
        assert {"service.name", "host.name"} <= {entry["key"] for entry in resource_spans["resource"]["attributes"]}
        for span in resource_spans["scopeSpans"][0]["spans"]:
            assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
            assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
            start_ns, end_ns = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
            assert material.epoch * 1e9 <= start_ns <= end_ns <= (material.epoch + 60) * 1e9
            kinds.add(span["kind"])
            ids.add((span["traceId"], span["spanId"]))
            for attribute in span["attributes"]:
                (value,) = attribute["value"].values()
                assert isinstance(value, str)
    assert kinds == {2, 3}
    assert len(ids) == len(list(spans_of_run(material)))
