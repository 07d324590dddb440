"""Trace context: what we write we read, what W3C calls invalid starts a new trace."""

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol.trace_context import TraceContext, child, parse, request_id, span_id, start

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALUE = b"00-" + TRACE + b"-" + PARENT + b"-01"


def test_traceparent_is_read() -> None:
    context = parse(VALUE)
    assert context == TraceContext(TRACE, PARENT, 1)
    assert context.sampled
    assert parse(VALUE[:-1] + b"2") == TraceContext(TRACE, PARENT, 2)


def test_later_version_may_say_more() -> None:
    assert parse(b"cc" + VALUE[2:] + b"-what-comes") == TraceContext(TRACE, PARENT, 1)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        VALUE[:-1],
        VALUE + b"0",
        VALUE + b"-more",
        b"cc" + VALUE[2:] + b".more",
        b"ff" + VALUE[2:],
        VALUE.upper(),
        VALUE.replace(b"-", b"_"),
        b" " + VALUE,
        VALUE + b"\n",
        VALUE.replace(TRACE, b"0" * 32),
        VALUE.replace(PARENT, b"0" * 16),
        VALUE + b", " + VALUE,
    ],
)
def test_invalid_traceparent_is_none(value: bytes) -> None:
    assert parse(value) is None


@given(st.integers(), st.booleans())
def test_started_trace_and_its_children_share_the_trace_id(seed: int, sampled: bool) -> None:
    chance = random.Random(seed)
    first = parse(start(chance, sampled))
    assert first is not None
    second = parse(child(first, chance))
    assert second is not None
    assert (second.trace_id, second.flags) == (first.trace_id, first.flags)
    assert second.parent_id != first.parent_id
    assert first.sampled == sampled


def test_unknown_flags_end_here() -> None:
    assert child(TraceContext(TRACE, PARENT, 0xFF), random.Random(1)).endswith(b"-03")


@given(st.integers())
def test_request_id_is_a_version_4_uuid(seed: int) -> None:
    text = request_id(random.Random(seed)).decode()
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_ids_follow_the_seed_alone() -> None:
    assert request_id(random.Random(7)) == request_id(random.Random(7)) != request_id(random.Random(8))


class Zeros(random.Random):
    """Draws zeros first."""

    draws = 0

    def getrandbits(self, k: int, /) -> int:
        self.draws += 1
        return 0 if self.draws == 1 else super().getrandbits(k)


def test_ids_are_never_zero() -> None:
    assert span_id(Zeros()) == b"%016x" % 1
    assert parse(start(Zeros(), True)) is not None
