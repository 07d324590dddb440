"""What processes tell the runner arrives as it was, its moments on the runner's clock."""

import msgspec

from mesh.model.traffic import ResponseFlag
from mesh.telemetry.request_record import FailedTry, RequestRecord
from sim.local.messages import FromProcess, Report
from sim.local.reporting import KeptRecords, add_tally, add_users, record_of, take_tally, take_users
from sim.workload.observations import Arrival, JourneyRecord, ServiceTally, UserLog, VisitRecord


def over_the_wire(report: Report) -> Report:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=FromProcess)


def test_records_arrive_whole_with_shifted_moments() -> None:
    kept = KeptRecords()
    record = RequestRecord(inbound=False, started_at=5.0, peer="spiffe://m/w", method=b"GET", path=b"/")
    record.ended_at, record.status, record.tries = 5.5, 503, 2
    record.flags = (ResponseFlag.UPSTREAM_OVERFLOW,)
    record.failed_tries = (FailedTry("10.0.0.1:80", 5.25, "reset", 0.1),)
    kept.append(record)
    report = over_the_wire(Report(records=kept.take(100.0)))
    arrived = record_of(report.records[0], shift_s=-90.0)
    assert (arrived.started_at, arrived.ended_at) == (15.0, 15.5)
    assert arrived.failed_tries[0].ended_at == 15.25
    for name in set(RequestRecord.__slots__) - {"started_at", "ended_at", "failed_tries"}:
        assert getattr(arrived, name) == getattr(record, name), name
    assert kept.take(0.0) == []


def test_users_moments_become_seconds_of_the_run() -> None:
    log, taken = UserLog(), UserLog()
    log.visits.append(VisitRecord("GET shop/", 11.0, 12.0, 200, False))
    log.journeys.append(JourneyRecord("w", "look", 11.0, 12.0, 1.0, True))
    add_users(taken, over_the_wire(take_users(log, 100.0)), origin=110.0)
    assert taken.visits == [VisitRecord("GET shop/", 1.0, 2.0, 200, False)]
    assert taken.journeys == [JourneyRecord("w", "look", 1.0, 2.0, 1.0, True)]
    assert not log.visits and not log.journeys


def test_tallies_add_up_and_services_keep_their_lists() -> None:
    tally, taken = ServiceTally(), ServiceTally()
    arrival = Arrival("shop", "shop-1", "here", "GET /")
    moments = tally.requests_at(arrival)
    for _ in range(2):
        moments.append(1.0)
        tally.executions["shop", "GET /"] += 1
        tally.deliveries["shop", "POST /", b"id"] += 1
        tally.refused["shop"] += 1
        add_tally(taken, over_the_wire(Report(tally=take_tally(tally, 10.0))).tally, shift_s=-5.0)
    assert taken.arrivals == {arrival: [6.0, 6.0]}
    assert taken.executions == {("shop", "GET /"): 2}
    assert taken.deliveries == {("shop", "POST /", b"id"): 2}
    assert taken.refused == {"shop": 2}
    assert take_tally(tally, 0.0) == {}
