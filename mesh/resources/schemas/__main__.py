"""`python -m mesh.resources.schemas [KIND]`: print the JSON Schema of one kind, or of all as `{kind: schema}`."""

import json
import sys

from mesh.resources.registry import KINDS, find_kind, kind_json_schema


def main(words: list[str]) -> None:
    if not words:
        print(json.dumps({kind.name: kind_json_schema(kind) for kind in KINDS}, indent=2))
        return
    kind = find_kind(words[0])
    if kind is None:
        raise SystemExit(f"unknown kind '{words[0]}'")
    print(json.dumps(kind_json_schema(kind), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
