"""The JSON Schemas of all kinds, for editors: made from the kinds' definitions, and shipped beside this file."""

import json

from mesh.resources.registry import KINDS, kind_json_schema


def schema_files() -> dict[str, str]:
    """Return the shipped files: `{"MeshTimeout.json": its text}`."""
    return {f"{kind.name}.json": json.dumps(kind_json_schema(kind), indent=2) + "\n" for kind in KINDS}
