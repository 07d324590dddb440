"""Header matchers, and numbers in headers."""

import pytest

from mesh.policy.header_match import any_matches, header_test
from mesh.policy.header_value import unsigned
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from tests.mesh.policy.heads import request


@pytest.mark.parametrize(
    ("kind", "wanted", "value", "matches"),
    [
        (ValueMatchKind.EXACT, "blue", "blue", True),
        (ValueMatchKind.EXACT, "blue", "blues", False),
        (ValueMatchKind.EXACT, "blue", None, False),
        (ValueMatchKind.EXACT, "", "", True),
        (ValueMatchKind.PREFIX, "bl", "blue", True),
        (ValueMatchKind.PREFIX, "bl", "able", False),
        (ValueMatchKind.PREFIX, "", None, False),
        (ValueMatchKind.REGULAR_EXPRESSION, "b.*e", "blue", True),
        (ValueMatchKind.REGULAR_EXPRESSION, "b.*e", "blues", False),  # the whole value has to match
        (ValueMatchKind.REGULAR_EXPRESSION, ".*", None, False),
        (ValueMatchKind.PRESENT, "", "", True),
        (ValueMatchKind.PRESENT, "", None, False),
        (ValueMatchKind.ABSENT, "", None, True),
        (ValueMatchKind.ABSENT, "", "blue", False),
    ],
)
def test_one_match(kind: ValueMatchKind, wanted: str, value: str | None, matches: bool) -> None:
    test = header_test(HeaderMatch(name="x-color", kind=kind, value=wanted))
    assert test(request() if value is None else request(x_color=value)) is matches


def test_one_of_several_is_enough_and_none_matches_nothing() -> None:
    tests = [header_test(HeaderMatch(name=name, value="1")) for name in ("x-a", "x-b")]
    assert any_matches(tests, request(x_b="1"))
    assert not any_matches(tests, request(x_c="1"))
    assert not any_matches([], request(x_a="1"))


def test_refused_expressions_say_why() -> None:
    with pytest.raises(ValueError, match="missing"):
        header_test(HeaderMatch(name="x", kind=ValueMatchKind.REGULAR_EXPRESSION, value="(a"))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"0", 0),
        (b"0012", 12),
        (b" 7\t", 7),
        (b"+7", 7),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", None),
        (b"0" * 21, None),
        (b"", None),
        (b"+", None),
        (b"++1", None),
        (b"-0", None),
        (b"1_000", None),
        (b"1 0", None),
        (b"0x10", None),
        ("٣".encode(), None),
        (None, None),
    ],
)
def test_numbers_are_read_strictly(value: bytes | None, number: int | None) -> None:
    assert unsigned(value) == number


def test_a_number_above_the_most_is_none() -> None:
    assert (unsigned(b"999", most=999), unsigned(b"1000", most=999)) == (999, None)
