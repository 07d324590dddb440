"""Tables fit, names are never cut, colours stay out of pipes; YAML that is printed is read back the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.cli import tables
from mesh.cli.tables import Cell, Column, Columns, Row, age, count, table, to_yaml, to_yaml_stream
from mesh.resources.documents import load_documents


def test_columns_are_aligned_and_empty_ones_left_out() -> None:
    text = table(["NAME", "NOTE", Column("AGE", right=True)], [["a", "", "3d"], ["long-name", "", "12m"]])
    assert text.splitlines() == ["NAME       AGE", "a           3d", "long-name  12m"]
    assert table(["NAME", "AGE"], []) == "NAME  AGE"


def test_only_columns_that_may_be_cut_are_cut_to_fit() -> None:
    name = "n" * 70
    text = table(["NAME", Column("LABELS", cut=True), "END"], [[name, "l" * 60, "yes"]])
    header, line = text.splitlines()
    assert len(line) == 100
    assert name in line and line.endswith("l…  yes")
    assert len(header) <= 100
    # What is longer than the line by its names alone stays whole: it can be found again.
    assert "n" * 150 in table(["NAME", Column("LABELS", cut=True)], [["n" * 150, "l" * 60]])


def test_what_matters_least_is_cut_first() -> None:
    columns: Columns = ["KIND", Column("FROM", cut=True), Column("CONF", cut=True, first=True)]
    line = table(columns, [["MeshTimeout", "f" * 60, "c" * 40]]).splitlines()[1]
    assert len(line) == 100
    assert "f" * 60 in line


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [[Cell("live", "green"), "b"]]
    assert "\x1b" not in table(["STATE", "NAME"], rows)
    monkeypatch.setenv("FORCE_COLOR", "1")
    painted = table(["STATE", "NAME"], rows)
    assert "\x1b[32mlive\x1b[0m   b" in painted
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in table(["STATE", "NAME"], rows)


def test_a_terminal_of_another_width_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "72")
    assert tables.width() == 72
    assert max(map(len, table(["A", Column("B", cut=True)], [["a", "b" * 200]]).splitlines())) == 72


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86400, "1d"), (1e7, "115d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_counts() -> None:
    assert [count(1, "proxy"), count(2, "proxy"), count(0, "part"), count(1, "part")] == [
        "1 proxy",
        "2 proxies",
        "0 parts",
        "1 part",
    ]


TEXTS = st.one_of(
    st.sampled_from(
        ["", "1e3", "012", "on", "No", "1:30", "~", "null", "0x1F", "2024-01-01", ".5", "- a", "a: b", "#"]
    ),
    st.text(
        st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029\ufeff"), max_size=20
    ),
    st.sampled_from(["-----BEGIN-----\nabc\n-----END-----\n", "a\n\nb", "trailing \nspace", "\n", " lead\nx"]),
)
VALUES = st.recursive(
    TEXTS | st.integers(-(10**9), 10**9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text("abcdef", min_size=1), VALUES, min_size=1, max_size=4))
def test_what_is_printed_as_yaml_is_read_back_the_same(value: dict[str, Any]) -> None:
    (document,) = load_documents(to_yaml(value), file="printed")
    assert document.data == value


def test_a_stream_is_read_as_many_documents() -> None:
    values = [{"type": "Mesh", "name": "a"}, {"type": "Mesh", "name": "b"}]
    assert [document.data for document in load_documents(to_yaml_stream(values), file="printed")] == values
    assert to_yaml({"pem": "a\nb\n", "list": ["x"]}) == "pem: |\n  a\n  b\nlist:\n- x\n"
