"""`mesh run`: what it prints where."""

import json
from pathlib import Path

from command_line import Mesh

FIRST = Path(__file__).parents[3] / "scenarios" / "examples" / "first.yaml"


def test_json_is_alone_on_standard_output(mesh: Mesh, tmp_path: Path) -> None:
    ended = mesh("run", FIRST, "--until", "12s", "-o", "json", "--out", tmp_path)
    result, end = json.JSONDecoder().raw_decode(ended.stdout)
    assert isinstance(result, dict)
    assert ended.stdout[end:] == "\n"
    assert ended.code in (0, 1)
    assert "of virtual time" in ended.stderr


def test_wrong_file_leaves_standard_output_empty(mesh: Mesh, tmp_path: Path) -> None:
    ended = mesh("run", tmp_path / "none.yaml", "-o", "json")
    assert (ended.code, ended.stdout) == (2, "")
    assert str(tmp_path / "none.yaml") in ended.errors[0]
