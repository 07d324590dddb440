"""YAML and JSON become plain values with places; what could be misread is refused, all of it at once."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import format_path, load_documents, parse_documents, suggest


def violations_of(text: str) -> list[Violation]:
    with pytest.raises(ConfigError) as caught:
        load_documents(text, file="f.yaml")
    return list(caught.value.violations)


def test_documents_hold_plain_values_with_places() -> None:
    text = "a:\n  b: [1, 2.5, true, null, x]\n---\n- {c: '1', d: 1e3}\n"
    first, second = load_documents(text, file="f.yaml")
    assert first.data == {"a": {"b": [1, 2.5, True, None, "x"]}}
    assert second.data == [{"c": "1", "d": 1000.0}]
    assert first.position(("a", "b")) == (2, 3)
    assert first.position(("a", "b", 1)) == (2, 10)
    assert second.position((0, "d")) == (4, 12)


def test_a_place_that_was_not_written_is_that_of_what_surrounds_it() -> None:
    (document,) = load_documents("a:\n  b: {}\n", file="f.yaml")
    violation = document.violation(("a", "b", "missing", 0), "what", "how")
    assert str(violation) == "f.yaml:2:3: a.b.missing[0]: what (how)"


def test_numbers_as_keys_are_text() -> None:
    (document,) = load_documents("errors: {503: 0.2%, reset: 1%}", file="f.yaml")
    assert document.data == {"errors": {"503": "0.2%", "reset": "1%"}}
    assert document.position(("errors", "503")) == (1, 10)


@pytest.mark.parametrize(
    ("scalar", "hint"),
    [
        ("on", 'write true, or "on" for the text'),
        ("Off", 'write false, or "Off" for the text'),
        ("yes", 'write true, or "yes" for the text'),
        ("NO", 'write false, or "NO" for the text'),
        ("y", 'write true, or "y" for the text'),
        ("n", 'write false, or "n" for the text'),
        ("1:30", 'write a span as 90s or 1m30s, or "1:30" for the text'),
        ("10:20:30.5", 'write a span as 90s or 1m30s, or "10:20:30.5" for the text'),
        ("0123", 'write a number without the leading zero, or "0123" for the text'),
        ("-012", 'write a number without the leading zero, or "-012" for the text'),
        ("0o17", 'write a number in decimal, or "0o17" for the text'),
        ("0x1F", 'write a number in decimal, or "0x1F" for the text'),
        ("0b11", 'write a number in decimal, or "0b11" for the text'),
        ("1_000", 'write a number without underscores, or "1_000" for the text'),
        ("2026-08-21", 'write "2026-08-21" for the text'),
        ("2026-08-21T10:00:00Z", 'write "2026-08-21T10:00:00Z" for the text'),
        (".inf", 'write a finite number, or ".inf" for the text'),
        ("-.Inf", 'write a finite number, or "-.Inf" for the text'),
        (".nan", 'write a finite number, or ".nan" for the text'),
        ("1e999", "write a smaller number, or quote the text"),
        ("9" * 41, "write at most 40, or quote the text"),
    ],
)
def test_a_scalar_that_could_mean_two_things_is_refused(scalar: str, hint: str) -> None:
    (violation,) = violations_of(f"a:\n  b: {scalar}\n")
    assert (violation.file, violation.line, violation.column, violation.path) == ("f.yaml", 2, 6, "a.b")
    assert violation.hint == hint
    (document,) = load_documents(f'a: "{scalar}"', file="f.yaml")
    assert document.data == {"a": scalar}


@pytest.mark.parametrize("text", ["127.0.0.1:5000", "10.0.0.5", "1m30s", "0.2%", "60/s", "1.2.3", "-x", "+", "onto"])
def test_ordinary_text_stays_text(text: str) -> None:
    (document,) = load_documents(f"a: {text}\n", file="f.yaml")
    assert document.data == {"a": text}


@pytest.mark.parametrize(("key", "shown"), [("on", "on"), ("no", "no"), ("1.5", "1.5"), ("true", "true"), ("~", "~")])
def test_a_key_that_is_not_text_is_refused(key: str, shown: str) -> None:
    (violation,) = violations_of(f"{key}: 1\n")
    assert violation.hint == f'quote it: "{shown}"'
    assert (violation.line, violation.column) == (1, 1)


def test_a_key_written_twice_names_the_first_line() -> None:
    (violation,) = violations_of("a: 1\nb:\n  c: 1\n  c: 2\n")
    assert str(violation) == "f.yaml:4:3: b.c: duplicate key 'c' (first written in line 3)"


def test_everything_wrong_in_a_stream_is_said_at_once() -> None:
    text = "a: [1,\n---\nb: on\nb: 2\n---\n@x: 1\n--- {c: !!str 1, d: *x, <<: {}}\n---\n? [k]\n: v\n"
    found = violations_of(text)
    assert [(v.line, v.message) for v in found] == [
        (2, "while parsing a flow node, did not find expected node content"),
        (3, "on would be true to some YAML readers"),
        (4, "duplicate key 'b'"),
        (6, "text cannot start with @"),
        (7, "the tag !!str is not supported"),
        (7, "alias *x names no anchor before it"),
        (7, "merge keys (<<) are not supported"),
        (9, "a key must be plain text"),
    ]


def test_documents_beside_a_broken_one_are_handed_back() -> None:
    documents, violations = parse_documents("a: 1\n---\nb: {\n---\nc: 3\n", file="f")
    assert [document.data for document in documents] == [{"a": 1}, {"c": 3}]
    assert documents[1].position(("c",)) == (5, 1)
    assert len(violations) == 1


def test_a_tab_for_indentation_is_named() -> None:
    (violation,) = violations_of("a:\n\tb: 1\n")
    assert str(violation) == "f.yaml:2:1: a tab where YAML wants spaces (indent with spaces)"


def test_an_unquoted_colon_gets_a_hint() -> None:
    (violation,) = violations_of("a: GET x: y\n")
    assert violation.hint == "quote text that contains ': '"


@pytest.mark.parametrize("character", ["\x01", "\ud800", "\x7f"])
def test_a_character_that_yaml_does_not_know_is_refused(character: str) -> None:
    (violation,) = violations_of(f"a: 1\nb: x{character}\n")
    assert (violation.line, violation.column, violation.hint) == (2, 5, "remove it")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_before_it_costs_anything(opening: str) -> None:
    (violation,) = violations_of(opening * 100_000)
    assert violation.message == "nested more than 64 deep"


def test_aliases_repeat_what_they_name() -> None:
    (document,) = load_documents("a: &x {k: 1}\nb: *x\n", file="f")
    assert document.data == {"a": {"k": 1}, "b": {"k": 1}}


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    found = violations_of("\n".join(lines))
    assert found[0].message == "aliases repeat more than 10,000 values"


def test_an_alias_cannot_stand_inside_its_own_anchor() -> None:
    (violation,) = violations_of("a: &a [*a]\n")
    assert violation.message == "alias *a names no anchor before it"


def test_byte_order_mark_line_ends_and_empty_documents_are_taken() -> None:
    documents = load_documents("\ufeffa: 1\r\nb: 2\r\n---\r\n---\r\nc: 3", file="f")
    assert [document.data for document in documents] == [{"a": 1, "b": 2}, {"c": 3}]
    assert documents[1].position(("c",)) == (5, 1)
    assert load_documents("", file="f") == []


def test_json_is_read_the_same_way() -> None:
    value = {"type": "X", "n": [1, -2.5, True, None, "a\tb"], "on": "yes"}
    (document,) = load_documents(json.dumps(value, indent="\t"), file="f.json")
    assert document.data == value


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii")), plain_values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_json_comes_back_as_it_was(value: dict[str, object]) -> None:
    (document,) = load_documents(json.dumps(value), file="f.json")
    assert document.data == value


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_raises_only_config_errors(text: str) -> None:
    parse_documents(text, file="f")


@given(st.text(alphabet="-[]{}:&*a1 \n\t#'\"|>!%@?,.", max_size=80))
@settings(max_examples=100, deadline=None)
def test_garbage_of_yaml_raises_only_config_errors(text: str) -> None:
    for violation in parse_documents(text, file="f")[1]:
        assert violation.line >= 1 and violation.column >= 1


def test_paths_read_like_the_document() -> None:
    assert format_path(("services", "web", "endpoints", "GET /a", 0)) == "services.web.endpoints[GET /a][0]"
    assert format_path(("labels", "kuma.io/zone")) == "labels[kuma.io/zone]"
    assert format_path(()) == ""


def test_the_nearest_word_is_suggested() -> None:
    assert suggest("perTryTimout", ["numRetries", "perTryTimeout"]) == "did you mean 'perTryTimeout'?"
    assert suggest("strict", ["Strict", "Permissive"]) == "did you mean 'Strict'?"
    assert suggest("zebra", ["Strict"]) == ""
