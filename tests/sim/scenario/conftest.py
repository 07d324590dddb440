"""A small scenario that every loader test starts from."""

from pathlib import Path

import pytest

from mesh.model.errors import ConfigError
from sim.scenario.loader import parse_scenario

BASE = """\
type: Scenario
format: 1
name: small
duration: 60s
zones: [a, b]
services:
  web:
    instances: {a: 1, b: 1}
    endpoints:
      GET /: {steps: [{work: 1ms}, {call: stock POST /take}, {call: db SELECT things}]}
  stock:
    instances: {a: 1}
    endpoints:
      POST /take: {counts: taken}
  db: {kind: postgresql, instances: {a: 1}, work: 1ms}
workload:
  users:
    rate: [{to: 10/s, over: 10s}, {hold: 20s, as: plateau}, {to: 50/s, over: 5s, as: peak}]
    journeys: {look: [GET web/]}
"""


class Loader:
    """Reads a variation of the small scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, more="", *, replace=(), settings=()):
        text = BASE
        for old, new in replace:
            assert old in text, old
            text = text.replace(old, new)
        return parse_scenario(text + more, file="small.yaml", folder=self.folder, settings=settings)

    def complaints(self, more="", *, replace=(), settings=()):
        """Return what is refused, as lines of text."""
        with pytest.raises(ConfigError) as refused:
            self.read(more, replace=replace, settings=settings)
        return [str(violation) for violation in refused.value.violations]


@pytest.fixture
def loader(tmp_path):
    return Loader(tmp_path)
