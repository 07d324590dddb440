"""Two runs side by side, read from the files that they left."""

import json
from pathlib import Path

import pytest

from mesh.cli.diff_runs import diff_runs
from mesh.model.errors import ConfigError
from sim.comparison import compare, read_run


def leave_run(folder: Path, *, p50_s: float = 0.1, tries: int = 100, success: float = 1.0, ok: bool = True) -> Path:
    folder.mkdir()
    edge = {"caller": "web", "service": "db", "requests": 100, "success": success, "tries": tries}
    edge |= {"statuses": {"200": 100}, "p50_s": p50_s, "p90_s": 0.2, "p99_s": 0.3}
    (folder / "edges.json").write_text(json.dumps({"scenario": "shop", "one_in": 1, "edges": [edge]}))
    check = {"name": "works", "ok": ok, "value": "99%", "detail": "", "always": False}
    (folder / "result.json").write_text(json.dumps({"scenario": "shop", "seed": 1, "checks": [check]}))
    return folder


def compared(tmp_path: Path, **second: object) -> object:
    return compare(read_run(leave_run(tmp_path / "a")), read_run(leave_run(tmp_path / "b", **second)))


@pytest.mark.parametrize(
    ("second", "alike"),
    [
        ({}, True),
        ({"p50_s": 0.109}, True),
        ({"p50_s": 0.111}, False),
        ({"p50_s": 0.089}, False),
        ({"tries": 102}, False),
        ({"success": 0.99}, False),
        ({"ok": False}, False),
    ],
)
def test_runs_are_alike_within_tolerances(tmp_path: Path, second: dict[str, object], alike: bool) -> None:
    assert compared(tmp_path, **second).alike is alike


def test_what_one_run_lacks_differs(tmp_path: Path) -> None:
    first, second = leave_run(tmp_path / "a"), leave_run(tmp_path / "b")
    (second / "edges.json").write_text(json.dumps({"scenario": "shop", "one_in": 1, "edges": []}))
    comparison = compare(read_run(first), read_run(second))
    assert not comparison.alike
    assert comparison.edges[0].second is None


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"result\.json.*mesh run FILE --out"):
        read_run(tmp_path)


def test_the_table_shows_edges_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = leave_run(tmp_path / "a"), leave_run(tmp_path / "b", p50_s=0.15, ok=False)
    assert not diff_runs(first, second, form="table")
    shown = capsys.readouterr().out
    assert "web -> db" in shown
    assert "100.0 -> 150.0ms (+50%)" in shown
    assert "ok 99%" in shown and "FAIL 99%" in shown
    assert "p50 within 10% on 0, same verdict on 0 of 1 checks" in shown


def test_json_holds_both_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diff_runs(leave_run(tmp_path / "a"), leave_run(tmp_path / "b"), form="json")
    told = json.loads(capsys.readouterr().out)
    assert told["alike"] is True
    assert told["edges"][0]["first"]["tries"] == 100
