"""Writes the shipped JSON Schemas anew: `python tests/mesh/resources/write_schemas.py`, after a kind has changed."""

from pathlib import Path

import mesh.resources.schemas
from mesh.resources.schemas import schema_files


def main() -> None:
    folder = Path(mesh.resources.schemas.__file__).parent
    files = schema_files()
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
