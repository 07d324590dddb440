"""A schema finds everything that is wrong, with its place, what is allowed and a suggestion; and describes itself."""

from collections.abc import Iterable
from typing import Any

import pytest

from mesh.resources.documents import load_documents, wrap
from mesh.resources.scalars import Anything, Boolean, Duration, Integer, Number, OneOf, Scalar, Text
from mesh.resources.schema import (
    ByShape,
    Checking,
    Field,
    ListOf,
    MapOf,
    Problem,
    Record,
    Schema,
    check,
    json_schema,
    later,
)


def read(schema: Schema, text: str) -> tuple[Any, list[str]]:
    (document,) = load_documents(text, file="f")
    value, violations = check(document, (), schema)
    return value, [str(violation) for violation in violations]


def one(schema: Schema, text: str) -> tuple[Any, list[str]]:
    """Read `{v: text}`, and return what became of `v`."""
    value, violations = read(Record({"v": schema}), f"v: {text}")
    return value.get("v"), violations


def test_unknown_keys_get_the_allowed_ones_and_a_suggestion() -> None:
    schema = Record({"numRetries": Integer(), "backOff": Anything()})
    _, found = read(schema, "numRetrys: 1\nother: 2\n")
    assert found == [
        "f:1:1: numRetrys: unknown key 'numRetrys' (did you mean 'numRetries'? allowed: numRetries, backOff)",
        "f:2:1: other: unknown key 'other' (allowed: numRetries, backOff)",
    ]


def test_retired_keys_say_what_to_write() -> None:
    schema = Record({"rules": Anything()}, retired={"from": "write `rules`"})
    _, found = read(schema, "from: []\n")
    assert found == ["f:1:1: from: 'from' is not supported (write `rules`)"]


def test_what_has_no_effect_is_taken_with_a_warning() -> None:
    schema = Record({"a": later(Integer()), "b": OneOf(("X", "Z"), dormant={"Z": "nothing is done"})})
    (document,) = load_documents("a: 1\nb: Z\n", file="f")
    checking = Checking(document)
    assert schema.read(document.data, (), checking) == {"a": 1, "b": "Z"} and checking.violations == []
    assert [str(warning) for warning in checking.warnings] == [
        "f:1:1: a: 'a' is kept, but sidecars of this version do not act on it yet",
        "f:2:1: b: 'Z' is kept, but nothing is done",
    ]


def test_extensible_records_keep_what_they_do_not_know() -> None:
    assert read(Record({"a": Integer()}, extensible=True), "{a: 1, z: {w: 2}}") == ({"z": {"w": 2}, "a": 1}, [])


def test_confidential_records_show_nothing_of_what_stands_in_their_place() -> None:
    _, found = read(Record({"s": Record({}, confidential=True, what="a source")}), "s: hunter2")
    assert "hunter2" not in found[0] and "expects a source, got something else" in found[0]


def test_lists_are_bounded() -> None:
    assert one(ListOf(Integer(), size_max=1), "[1, 2]")[1] == ["f:1:1: v: takes at most 1 item(s), got 2"]
    assert ListOf(Integer(), size_max=1).json_schema()["maxItems"] == 1


def test_the_canonical_form_has_spans_in_gos_notation_and_keys_in_order() -> None:
    inner = Record({"weight": Field(Integer(), default=1, filled=True), "t": Duration()})
    schema = Record(
        {
            "b": Duration(),
            "a": ListOf(inner),
            "m": MapOf(Duration()),
            "either": ByShape(text=Duration(), number=Integer(), sequence=ListOf(Duration())),
        }
    )
    written: dict[str, Any] = {"m": {"x": "90s"}, "a": [{"t": "0"}, {"weight": 7}], "b": "111s", "either": ["60m"]}
    canonical = schema.canonical(written)
    assert canonical == {
        "b": "1m51s",
        "a": [{"weight": 1, "t": "0s"}, {"weight": 7}],
        "m": {"x": "1m30s"},
        "either": ["1h0m0s"],
    }
    assert isinstance(canonical, dict) and list(canonical) == ["b", "a", "m", "either"]
    assert schema.canonical({"either": 3}) == {"either": 3}


def test_missing_keys_and_defaults() -> None:
    schema = Record({"a": Field(Integer(), required=True), "b": Field(Text(), default="x"), "c": Text()})
    assert read(schema, "a: 1") == ({"a": 1, "b": "x"}, [])
    _, found = read(schema, "b: z")
    assert found == ["f:1:1: 'a' is missing (expects a whole number)"]


def test_all_violations_come_at_once_in_nested_values() -> None:
    schema = Record({"m": MapOf(ListOf(Record({"c": Field(Integer(min=1), required=True)}), size_min=1)), "t": Text()})
    _, found = read(schema, "m:\n  k: [{c: 0}, {}, 3]\n  e: []\nt: 7\n")
    assert found == [
        "f:2:8: m.k[0].c: expects a whole number, at least 1, got the number 0",
        "f:2:15: m.k[1]: 'c' is missing (expects a whole number, at least 1)",
        "f:2:19: m.k[2]: expects a mapping, got the number 3 (allowed keys: c)",
        "f:3:3: m.e: needs at least 1 item(s), got 0",
        'f:4:1: t: expects text, got the number 7 (quote it: "7")',
    ]


def test_checks_see_parsed_values_and_run_only_on_right_ones() -> None:
    seen = []

    def order(value: dict[str, Any]) -> Iterable[Problem]:
        seen.append(value)
        if value["low"] > value["high"]:
            yield Problem(("low",), "'low' is above 'high'", "swap them")

    schema = Record(
        {"low": Field(Duration(), required=True), "high": Field(Duration(), required=True)},
        check=order,
        build=lambda value: (value["low"], value["high"]),
    )
    assert read(schema, "low: 1s\nhigh: 2s\n") == ((1.0, 2.0), [])
    assert read(schema, "low: 3s\nhigh: 2s\n")[1] == ["f:1:1: low: 'low' is above 'high' (swap them)"]
    read(schema, "low: x\nhigh: 2s\n")
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (Boolean(), "true", True),
        (Text(empty=True), '""', ""),
        (OneOf(("A", "B")), "B", "B"),
        (Integer(min=0, max=5), "5", 5),
        (Number(min=0), "2.5", 2.5),
        (Number(text=True), '"1.9"', 1.9),
        (Duration(), "1m30s", 90.0),
        (Duration(), "0", 0.0),
        (ByShape(text=Text(), number=Integer(), sequence=ListOf(Integer())), "7", 7),
        (ByShape(text=Text(), number=Integer(), sequence=ListOf(Integer())), "[7]", (7,)),
        (ByShape(text=Text(), mapping=Record({"p50": Duration()})), "{p50: 2ms}", {"p50": 0.002}),
    ],
)
def test_right_values_are_parsed(schema: Schema, text: str, value: object) -> None:
    assert one(schema, text) == (value, [])


@pytest.mark.parametrize(
    ("schema", "text", "violation"),
    [
        (Boolean(), '"true"', "expects true or false, got 'true'"),
        (Boolean(), "1", "expects true or false, got the number 1"),
        (Text(), "", "expects text, got nothing"),
        (Text(), '""', "expects text, got nothing"),
        (Text(), "true", 'expects text, got true (quote it: "true")'),
        (Text(size_max=2), "abc", "takes at most 2 characters, got 3"),
        (Text(what="a name", pattern="[a-z]+"), "A1", "expects a name, got 'A1'"),
        (
            OneOf(("Strict", "Permissive")),
            "strict",
            "expects one of Strict, Permissive, got 'strict' (did you mean 'Strict'?)",
        ),
        (OneOf(("A",), unsupported={"B": "is not supported yet"}), "B", "'B' is not supported yet (expects one of A)"),
        (Integer(min=1, max=9), "10", "expects a whole number from 1 to 9, got the number 10"),
        (Integer(), "1.0", "expects a whole number, got the number 1.0"),
        (Integer(), "true", "expects a whole number, got true"),
        (Number(max=1), "x", "expects a number, at most 1, got 'x'"),
        (Number(text=True), '"1,9"', "expects a number, got '1,9'"),
        (
            Duration(),
            "5",
            "expects a duration such as 250ms, 2s or 1m30s, got the number 5 (give the number a unit: 5ms, 5s)",
        ),
        (Duration(), "5x", "expects a duration such as 250ms, 2s or 1m30s, got '5x' (units: ns, us, ms, s, m, h)"),
        (Duration(), "-5s", "expects a duration such as 250ms, 2s or 1m30s, got '-5s'"),
        (Duration(positive=True), "0s", "expects a duration such as 250ms, 2s or 1m30s, above 0s, got '0s'"),
        (Duration(min_s=60), "1s", "expects a duration such as 250ms, 2s or 1m30s, at least 1m0s, got '1s'"),
        (ListOf(Integer()), "{}", "expects a list, each item a whole number, got a mapping"),
        (MapOf(Integer(), what="a mapping of counts"), "[]", "expects a mapping of counts, got a list"),
        (ByShape(text=Text(), number=Integer()), "[]", "expects text or a whole number, got a list"),
        (ByShape(text=Text(), number=Integer()), "true", "expects text or a whole number, got true"),
    ],
)
def test_wrong_values_say_what_is_allowed(schema: Schema, text: str, violation: str) -> None:
    assert one(schema, text)[1] == [f"f:1:1: v: {violation}"]


def parse_rate(value: str | int | float) -> float:
    count, slash, unit = str(value).partition("/")
    if not slash or unit != "s":
        raise ValueError
    if float(count) > 100:
        raise ValueError("too fast")
    return float(count)


def test_a_scalar_is_added_by_a_parse_function() -> None:
    rate = Scalar("a rate such as 60/s", parse_rate)
    assert one(rate, "60/s") == (60.0, [])
    assert one(rate, "60")[1] == ["f:1:1: v: expects a rate such as 60/s, got the number 60"]
    assert one(rate, "600/s")[1] == ["f:1:1: v: too fast (expects a rate such as 60/s)"]
    assert one(rate, "[]")[1] == ["f:1:1: v: expects a rate such as 60/s, got a list"]


def test_values_without_a_file_have_paths_only() -> None:
    _, violations = check(wrap({"a": -1}, file="store"), (), Record({"a": Integer(min=0)}))
    assert str(violations[0]) == "store: a: expects a whole number, at least 0, got the number -1"


def test_a_schema_describes_itself() -> None:
    schema = Record(
        {
            "n": Field(Integer(min=1), required=True),
            "mode": Field(OneOf(("A", "B")), default="A"),
            "list": ListOf(Text(), size_min=1),
            "map": MapOf(Number(text=True)),
            "either": ByShape(text=Duration(), mapping=Record({"on": Boolean()})),
        }
    )
    described = json_schema(schema, title="T")
    assert described["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert described["required"] == ["n"] and described["additionalProperties"] is False
    properties = described["properties"]
    assert properties["n"] == {"type": "integer", "minimum": 1}
    assert properties["mode"] == {"enum": ["A", "B"], "default": "A"}
    assert properties["list"] == {"type": "array", "items": {"type": "string"}, "minItems": 1}
    assert properties["map"]["additionalProperties"]["anyOf"][0] == {"type": "number"}
    assert properties["either"]["anyOf"][1]["properties"] == {"on": {"type": "boolean"}}
