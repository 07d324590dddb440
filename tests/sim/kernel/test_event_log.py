from sim.clock import SimClock
from sim.event_log import FIN, Event, EventLog


def log_with(*segments: tuple[int, str, str, int]) -> EventLog:
    log = EventLog(SimClock())
    for at_ns, source, target, size in segments:
        log.trace((at_ns, log.trace_id(source, target, 1) + size))
    return log


def test_equal_histories_have_equal_hashes() -> None:
    history = ((1, "a", "b", 10), (2, "b", "a", 20))
    assert log_with(*history).event_hash() == log_with(*history).event_hash()


def test_time_host_size_and_order_count() -> None:
    histories = [
        ((1, "a", "b", 10), (2, "b", "a", 20)),
        ((1, "a", "b", 10), (3, "b", "a", 20)),
        ((1, "a", "b", 10), (2, "b", "c", 20)),
        ((1, "a", "b", 10), (2, "b", "a", 21)),
        ((1, "a", "b", 10), (2, "b", "a", FIN)),
        ((1, "b", "a", 10), (2, "a", "b", 20)),
        ((1, "a", "b", 10),),
        (),
    ]
    assert len({log_with(*history).event_hash() for history in histories}) == len(histories)


def test_flushing_and_asking_do_not_change_the_hash() -> None:
    log, watched = log_with(), log_with()
    for number in range(200_000):
        for each in (log, watched):
            each.trace((number, 64))
        if number % 50_000 == 0:
            watched.flush()
            watched.event_hash()
    assert log.event_hash() == watched.event_hash()


def test_kinds_and_hosts_of_records_count_and_their_fields_do_not() -> None:
    hashes = []
    for kind, host, fields in (("a", "h", {"key": "x"}), ("a", "h", {"key": "y"}), ("b", "h", {}), ("a", "i", {})):
        log = EventLog(SimClock())
        log.record(kind, host, **fields)
        hashes.append(log.event_hash())
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_subscribers_hear_of_their_kind_or_of_all() -> None:
    log = EventLog(SimClock())
    some: list[Event] = []
    every: list[Event] = []
    log.on("endpoint.ejected", some.append)
    log.on("*", every.append)
    log.record("endpoint.ejected", "web", failures=5)
    log.record("endpoint.readmitted", "web")
    assert [(event.kind, event.host, event.fields) for event in some] == [("endpoint.ejected", "web", {"failures": 5})]
    assert [event.kind for event in every] == ["endpoint.ejected", "endpoint.readmitted"]


def test_errors_are_kept_apart() -> None:
    log = EventLog(SimClock())
    log.record("fine", "web")
    log.record("broken", "web", level="error", why="disk", exception="Traceback")
    assert [event.kind for event in log.errors] == ["broken"]
    assert str(log.errors[0]) == "0.000000 web broken why=disk\nTraceback"


def test_a_closed_log_takes_nothing_more() -> None:
    log = log_with((1, "a", "b", 10))
    log.close()
    before = log.event_hash()
    log.record("late", "web")
    log.trace((2, 3))
    assert log.event_hash() == before
    assert log.events == []
