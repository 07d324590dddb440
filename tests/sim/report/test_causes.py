"""Events name what they follow from, and the chain of a real run goes back to its fault."""

import json

from sim.event_log import Event
from sim.report.causes import happenings_of
from sim.report.event_lines import event_lines, happenings_of_run
from sim.report.failures import Failing
from tests.sim.report.small_run import plain_run, small_run

HOSTS = ("one", "two", "control-plane")


def event(number, at_s, host, kind, cause=None, **fields):
    return Event(number=number, cause=cause, at_ns=round(at_s * 1e9), host=host, kind=kind, fields=fields)


def failing(at_s, host, endpoint, **more):
    return Failing(
        kind="requests.failing",
        at_s=at_s,
        until_s=at_s,
        host=host,
        service="stock",
        endpoint=endpoint,
        reason=more.pop("reason", "connection timeout"),
        trace="",
        **more,
    )


def causes(events, failings=()):
    return {found.id: found.cause for found in happenings_of(events, failings, origin_s=0.0, hosts=HOSTS)}


def test_known_causes_are_kept_and_others_are_found_by_whom_they_concern():
    found = causes(
        [
            event(1, 1, "timeline", "timeline.begun", what="kill two"),
            event(2, 1, "two", "host.killed", cause=1),
            event(3, 3, "one", "endpoint.ejected", endpoint="two"),
            event(4, 4, "control-plane", "proxy.lost", proxy="two"),
            event(5, 5, "control-plane", "configuration.pushed", proxy="one", version="v2"),
            event(6, 6, "one", "configuration.accepted", version="v2"),
            event(7, 7, "control-plane", "configuration.acked", proxy="one", version="v2"),
            event(8, 9, "one", "endpoint.returned", endpoint="two"),
        ],
        [failing(2, "one", "two")],
    )
    assert found == {
        "e1": "",
        "e2": "e1",
        "r1": "e2",
        "e3": "r1",
        "e4": "e2",
        "e5": "e4",
        "e6": "e5",
        "e7": "e6",
        "e8": "e3",
    }


def test_failures_of_a_callee_are_those_of_what_it_calls():
    begun = event(1, 1, "timeline", "timeline.begun", what="slow two")
    found = causes([begun], [failing(2, "one", "two"), failing(3, "edge", "one", reason="503")])
    assert found["r1"] == "e1"
    assert found["r2"] == "r1"


def test_nothing_is_blamed_long_after_a_fault_is_over():
    events = [
        event(1, 1, "timeline", "timeline.begun", what="slow two"),
        event(2, 2, "timeline", "timeline.ended", what="slow two"),
    ]
    assert causes(events, [failing(60, "one", "two")])["r1"] == ""


def test_chain_of_a_run_leads_from_the_ejection_to_the_fault():
    by_id = {found.id: found for found in happenings_of_run(small_run())}
    ejected = next(found for found in by_id.values() if found.kind == "endpoint.ejected")
    chain = [ejected]
    while chain[-1].cause:
        chain.append(by_id[chain[-1].cause])
    kinds = [found.kind for found in chain]
    assert kinds == ["endpoint.ejected", "requests.failing", "host.killed", "timeline.begun"]


def test_lines_have_ids_causes_and_both_times():
    material = small_run()
    lines = [json.loads(line) for line in event_lines(material)]
    ids = [line["id"] for line in lines]
    assert len(set(ids)) == len(ids)
    assert all(line["cause"] is None or line["cause"] in ids for line in lines)
    assert all(abs(line["at_s"] - line["run_s"] - material.evidence.origin_s) < 1e-6 for line in lines)
    assert [line["run_s"] for line in lines] == sorted(line["run_s"] for line in lines)


def test_what_is_kept_for_files_changes_nothing():
    assert small_run().result.event_hash == plain_run().result.event_hash
    assert plain_run().capture.requests is None
    assert plain_run().capture.tape is None
