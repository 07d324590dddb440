"""Header changes as lines: what goes, what comes, and in which order."""

import pytest

from mesh.policy.header_changes import PreparedChanges
from mesh.policy.routing import HeaderChanges


def test_set_and_removed_names_go_and_lines_are_complete() -> None:
    changes = PreparedChanges([HeaderChanges(set=(("a", "1"),), add=(("B", " 2 "),), remove=("C",))])
    assert changes.removes == {b"a", b"c"}
    assert changes.lines == b"a: 1\r\nb: 2\r\n"
    assert changes


def test_nothing_to_change_is_false() -> None:
    changes = PreparedChanges([])
    assert not changes
    assert (changes.removes, changes.lines) == (frozenset(), b"")


def test_a_later_set_takes_the_place_of_what_was_set_and_added_before() -> None:
    changes = PreparedChanges(
        [
            HeaderChanges(set=(("a", "1"),), add=(("b", "1"),)),
            HeaderChanges(set=(("b", "2"),), add=(("a", "2"),)),
        ]
    )
    assert changes.lines == b"a: 1\r\nb: 2\r\na: 2\r\n"
    assert changes.removes == {b"a", b"b"}


def test_removals_come_first_as_in_envoy() -> None:
    changes = PreparedChanges([HeaderChanges(add=(("a", "1"),)), HeaderChanges(remove=("a",))])
    assert (changes.removes, changes.lines) == ({b"a"}, b"a: 1\r\n")


def test_values_are_literal() -> None:
    changes = PreparedChanges([HeaderChanges(set=(("a", "%REQ(x)%"), ("b", "")))])
    assert changes.lines == b"a: %REQ(x)%\r\nb: \r\n"


@pytest.mark.parametrize("name", ["Host", "connection", "Content-Length", "transfer-encoding", "TE", "upgrade"])
def test_what_frames_a_message_cannot_be_changed(name: str) -> None:
    field = ((name, "x"),)
    for changes in (HeaderChanges(set=field), HeaderChanges(add=field), HeaderChanges(remove=(name,))):
        with pytest.raises(ValueError, match=name.lower()):
            PreparedChanges([changes])


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "\0"])
def test_a_value_cannot_smuggle_a_line(value: str) -> None:
    with pytest.raises(ValueError, match="line breaks"):
        PreparedChanges([HeaderChanges(add=(("a", value),))])


@pytest.mark.parametrize("name", ["*", "content-*", "a b", "a:", "a\r\nb", ""])
def test_a_name_is_one_header_s(name: str) -> None:
    # An asterisk at the end would take out all that begin so, the framing and the host among them.
    for changes in (HeaderChanges(add=((name, "x"),)), HeaderChanges(remove=(name,))):
        with pytest.raises(ValueError, match="not the name"):
            PreparedChanges([changes])
