"""The recording: what a real Envoy did in each case, as facts, kept beside the cases so that most runs need no Envoy."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.envoy.facts import Facts

PATH = Path(__file__).parent / "recorded.json"


def load() -> dict[str, Facts]:
    """Return {case: facts}; empty before the first recording."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def save(recorded: Mapping[str, Facts]) -> None:
    """Write the recording, sorted, one fact a line: a change shows in a diff."""
    PATH.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
