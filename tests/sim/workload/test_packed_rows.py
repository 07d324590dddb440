"""Packed rows read as a list of named tuples does, whatever was appended."""

import random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.workload.observations import JourneyRecord, UserLog, VisitRecord
from sim.workload.packed_rows import PackedRows

MOMENTS = st.floats(allow_nan=False, width=64)
VISITS = st.builds(
    VisitRecord,
    st.sampled_from(["GET shop/", "POST pay/charge", ""]),
    MOMENTS,
    MOMENTS,
    st.integers(0, 599),
    st.booleans(),
    st.integers(1, 50),
    st.binary(max_size=32),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(VISITS, max_size=12), st.integers(-15, 15), st.integers(-15, 15))
def test_rows_read_as_a_list_of_them(visits: list[VisitRecord], begin: int, end: int) -> None:
    rows = UserLog().visits
    for visit in visits:
        rows.append(visit)
    assert len(rows) == len(visits)
    assert list(rows) == visits == rows
    assert rows[begin:end] == visits[begin:end]
    assert rows[::-2] == visits[::-2]
    if visits:
        assert rows[-1] == visits[-1]
        assert type(rows[0]) is VisitRecord
        assert type(rows[0].request_id) is bytes
    rows.sort(key=lambda visit: visit.end_s)
    assert list(rows) == sorted(visits, key=lambda visit: visit.end_s)


def test_two_logs_are_equal_when_their_rows_are() -> None:
    first, again = UserLog().journeys, UserLog().journeys
    for rows in (first, again):
        rows.append(JourneyRecord("w", "look", 1.0, 2.0, 1.0, True))
    assert first == again
    again.append(JourneyRecord("w", "buy", 1.0, 2.0, 1.0, False))
    assert first != again


def test_a_row_takes_a_fraction_of_what_its_objects_would() -> None:
    class Row(NamedTuple):
        at_s: float
        count: int

    rows = PackedRows(Row, "dI")
    for _ in range(1000):
        rows.append(Row(random.random(), 1))
    assert len(rows._data) == 12_000
