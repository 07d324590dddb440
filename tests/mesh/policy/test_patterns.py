"""Operators' patterns: RE2's, bounded, whatever the pattern and the text."""

import random
import resource

import pytest

from mesh.policy.patterns import PROGRAM_SIZE_MAX, TOGETHER_BYTES_MAX, PatternSet, compile_pattern

CATASTROPHES = [r"(a+)+$", r"(a|aa)+", r"(a*)*b", r"(.*a){12}", r"(x+x+)+y", r"(.*)*(.*)*(.*)*x", r"(a|b)*a(a|b){200}"]
TEXTS = [
    b"a" * 100_000,
    b"a" * 100_000 + b"!",
    bytes(random.Random(1).choice(b"ab") for _ in range(100_000)),
    "é".encode() * 50_000,
    b"\xff" * 100_000,
]


@pytest.mark.parametrize("text", CATASTROPHES)
def test_patterns_that_hang_others_do_not_hang(text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pattern = compile_pattern(text)
    together = PatternSet([text, "a*"])
    for subject in TEXTS:
        assert (0 in together.matching(subject)) == pattern.fullmatch(subject)
    # In KiB; a match may use a few MiB, a DFA without bounds would use all there is.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.parametrize("text", ["x{1000}{1000}", "(a{1,100}){1,100}", r"[\pL\pN]{300}", ".{1000}", "(" * 2000])
def test_what_would_compile_to_very_much_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        compile_pattern(text)


def test_the_reason_is_said() -> None:
    with pytest.raises(ValueError, match=r"missing \): \(a"):
        compile_pattern("(a")
    with pytest.raises(ValueError, match="invalid perl operator"):
        compile_pattern("(?=a)b")
    with pytest.raises(ValueError, match=f"more than {PROGRAM_SIZE_MAX}"):
        compile_pattern("[a-z]{600}")


def test_all_of_the_value_has_to_match() -> None:
    pattern = compile_pattern("/a|/b")
    assert [pattern.fullmatch(value) for value in (b"/a", b"/b", b"/ab", b"x/a", b"")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_flag_of_one_pattern_in_a_set_is_its_own() -> None:
    assert PatternSet(["(?i)/a", "/A", "/a"]).matching(b"/A") == [0, 1]


def test_an_empty_set_matches_nothing() -> None:
    assert PatternSet([]).matching(b"/") == []


class _OutOfMemory:
    """What RE2's sets look like when their memory is gone: nothing matches, and nothing is said."""

    def Match(self, _: bytes) -> None:
        return None


def test_a_set_without_memory_is_asked_one_by_one() -> None:
    patterns = PatternSet(["/a.*", "/b", "/.b"])
    patterns._sets = [(start, size, _OutOfMemory()) for start, size, _ in patterns._sets]
    assert patterns.matching(b"/ab") == [0, 2]


def test_a_long_text_is_matched_with_each_pattern_alone() -> None:
    """Together, states combine: 300 such patterns need seconds for 60 KB, and alone each of them has a handful."""
    patterns = PatternSet([f"/.*/edit{number % 7}/.*/x{number}(/.*)?" for number in range(300)])
    choose = random.Random(3).choice
    words = [f"edit{number}" for number in range(7)] + [f"x{number}" for number in range(300)]
    text = ("/" + "/".join(choose(words) for _ in range(10_000))).encode()
    together = patterns._sets
    patterns._sets = []
    assert patterns.matching(text) == list(range(300))
    patterns._sets = together
    short = b"/a/edit3/b/x3/" + b"c" * (TOGETHER_BYTES_MAX - 14)
    assert patterns.matching(short) == patterns.matching(short + b"c") == [3]


def test_a_set_too_large_for_its_memory_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.policy.patterns.SET_MEMORY_BYTES_MAX", 64 * 1024)
    patterns = PatternSet([f"/{number}/[a-z]+/[0-9]+" for number in range(1000)])
    assert len(patterns._sets) > 1
    assert patterns.matching(b"/777/abc/1") == [777]
