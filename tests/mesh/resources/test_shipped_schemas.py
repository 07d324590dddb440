"""The shipped JSON Schemas are those of the kinds as they are now."""

import json
from pathlib import Path

import pytest

import mesh.resources.schemas
from mesh.resources.registry import KINDS
from mesh.resources.schemas import schema_files
from mesh.resources.schemas.__main__ import main


def test_the_shipped_files_are_not_stale() -> None:
    folder = Path(mesh.resources.schemas.__file__).parent
    shipped = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert sorted(shipped) == sorted(schema_files())
    stale = [name for name, text in schema_files().items() if shipped[name] != text]
    assert not stale, "write them anew: python tests/mesh/resources/write_schemas.py"


def test_one_schema_or_all_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["mt"])
    assert json.loads(capsys.readouterr().out)["title"] == "MeshTimeout"
    main([])
    assert list(json.loads(capsys.readouterr().out)) == [kind.name for kind in KINDS]
    with pytest.raises(SystemExit, match="unknown kind 'zebra'"):
        main(["zebra"])
