"""A broken check names its first moment, the nearest event, requests and a trace."""

from mesh.telemetry.request_record import RequestRecord
from sim.checks.inspection import Seen
from sim.checks.suspects import Suspects


def record(started_at, *, status=503, latency_s=0.1, request_id=b"id-1", tries=1, method=b"GET", member="edge"):
    made = RequestRecord(inbound=False, started_at=started_at, method=method, path=b"/")
    made.ended_at = started_at + latency_s
    made.status, made.request_id, made.tries, made.cluster = status, request_id, tries, "web_8080"
    made.traceparent = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
    return Seen(member, "u", made)


def test_failed_requests_of_the_broken_stretch_are_named(case):
    broken = case("{name: c, expect: success(buy) >= 99%}").journeys(ok=lambda start: not 41 <= start < 44)
    broken.evidence.suspects.observe(50.0, [record(20.0, request_id=b"early"), record(41.2, request_id=b"late")])
    verdict = broken.verdict()
    assert 30.0 < verdict.first_s < 45.0
    assert verdict.near == "partition a|b"
    assert verdict.requests == ("edge GET / 503 in 0.1s (late)",)
    assert verdict.trace == "ab" * 16
    assert "; first broken at" in verdict.detail and "(partition a|b)" in verdict.detail


def test_requests_of_the_journey_that_is_promised_are_named_before_others(case):
    broken = case("{name: c, expect: success(buy) >= 99%}").journeys(ok=lambda start: not 41 <= start < 44)
    other, own = (
        record(41.1, request_id=b"other", method=b"POST", member="u-a"),
        record(41.3, request_id=b"own", member="u-a"),
    )
    broken.evidence.suspects.observe(50.0, [other, own])
    assert broken.verdict().requests == ("u-a GET / 503 in 0.1s (own)",)


def test_slow_requests_are_named_where_the_promise_is_about_time(case):
    broken = case("{name: c, expect: max(buy) < 1s}").journeys(
        latency_s=lambda start: 3.0 if 41 <= start < 44 else 0.05
    )
    quick, slow = (
        record(41.1, status=200, request_id=b"quick"),
        record(41.2, status=200, latency_s=3.0, request_id=b"slow"),
    )
    broken.evidence.suspects.observe(50.0, [quick, slow])
    assert broken.verdict().requests == ("edge GET / 200 in 3s (slow)",)


def test_check_that_holds_blames_nobody(case):
    verdict = case("{name: c, expect: success(buy) >= 99%}").journeys().verdict()
    assert (verdict.first_s, verdict.near, verdict.requests, verdict.trace) == (None, "", (), "")


def test_request_that_was_executed_twice_is_named_with_its_trace(case):
    broken = case("{builtin: no-double-delivery}")
    for at_s in (70.0, 71.0):
        broken.evidence.services.deliver("web", "POST /pay", b"id-7", at_s)
    broken.evidence.suspects.observe(75.0, [record(70.0, status=200, tries=2, request_id=b"id-7")])
    verdict = broken.verdict()
    assert (verdict.first_s, verdict.near, verdict.requests) == (71.0, "scale web", ("id-7",))
    assert verdict.trace == "ab" * 16


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr("sim.checks.suspects.KEPT_MAX", 2)
    suspects = Suspects()
    for moment in range(5):
        suspects.observe(float(moment), [record(float(moment), tries=2, request_id=b"%d" % moment)])
    assert [len(kept) for kept in (suspects.failed, suspects.slowest, suspects.trace_by_retried)] == [2, 2, 2]
