"""Two runs' entries compared: where they part is found and said in words."""

import pytest

from sim.entry_file import EntryWriter, entries, first_difference
from sim.event_log import SYN, EventLog


class Clock:
    now_ns = 0


@pytest.fixture
def recorded(tmp_path):
    def record(name, *, sizes, ended=False):
        clock = Clock()
        log = EventLog(clock)
        with EntryWriter(tmp_path / name) as writer:
            writer.follow(log)
            log.record("host.started", "web-1")
            path = log.trace_id("web-1", "stock-1", 3)
            for number, size in enumerate(sizes):
                clock.now_ns = number * 1_000_000
                log.trace((clock.now_ns, path + size))
            if ended:
                log.record("host.killed", "stock-1")
            log.close()
        return tmp_path / name

    return record


def test_equal_runs_have_no_difference(recorded):
    assert first_difference(recorded("a", sizes=[SYN, 100, 200]), recorded("b", sizes=[SYN, 100, 200])) is None


def test_first_difference_is_shown_with_what_came_before(recorded):
    difference = first_difference(recorded("a", sizes=[SYN, 100, 200, 7]), recorded("b", sizes=[SYN, 100, 201, 7]))
    assert [str(entry) for entry in difference.before] == [
        "0.000000000s  web-1: host.started",
        "0.000000000s  web-1>stock-1 connection 3: SYN",
        "0.001000000s  web-1>stock-1 connection 3: 100 bytes",
    ]
    assert str(difference.first) == "0.002000000s  web-1>stock-1 connection 3: 200 bytes"
    assert str(difference.second) == "0.002000000s  web-1>stock-1 connection 3: 201 bytes"


def test_a_run_that_went_on_differs_from_one_that_ended(recorded):
    short, long = recorded("a", sizes=[SYN]), recorded("b", sizes=[SYN], ended=True)
    assert first_difference(short, long).first is None
    assert first_difference(short, long).second.what == "stock-1: host.killed"
    assert first_difference(long, short).first.what == "stock-1: host.killed"


def test_long_runs_are_compared_whole(recorded):
    sizes = [n % 1000 for n in range(200_000)]
    one = recorded("a", sizes=sizes)
    sizes[150_000] = 4242
    other = recorded("b", sizes=sizes)
    assert len(list(entries(one))) == 200_001
    difference = first_difference(one, other)
    assert len(difference.before) == 5
    assert difference.second.what.endswith("4242 bytes")
    assert difference.first.at_s == 150.0
