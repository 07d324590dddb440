"""Each policy of the mesh in a scenario that shows it: its checks hold, and do not hold without what it shows.

A file names the resources that it shows in its first line: `# shows: MeshRetry/again`.
"""

from pathlib import Path

import attrs
import pytest

from mesh.cli.main import run
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

ROOT = Path(__file__).parents[2]
SHOWS = "# shows: "
FILES = [
    path
    for path in sorted((ROOT / "scenarios" / "examples" / "policies").glob("*.yaml"))
    if path.read_text().startswith(SHOWS)
]
# What a run adds by itself when it says nothing about its policies.
VOID = ("mesh-ready", "warm-up", "no-errors")


# One of each sort; all together take half a minute.
QUICK = (
    "circuit-breaker",
    "fault-injection",
    "health-check",
    "http-route-match",
    "lb-maglev",
    "locality-aware",
    "mtls-permissive",
    "outlier-detection",
    "permission-deny",
    "rate-limit-requests",
    "retry-budget",
    "tcp-route",
    "timeout-request",
)


def marks_of(path: Path) -> list[pytest.MarkDecorator]:
    return [] if path.stem in QUICK else [pytest.mark.slow]


def shown_by(path: Path) -> list[str]:
    """Return the resources that a file shows, as Kind/name."""
    return path.read_text().splitlines()[0].removeprefix(SHOWS).split()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem, marks=marks_of(path)) for path in FILES])
def test_policy_does_what_its_scenario_shows(path: Path) -> None:
    scenario = load_scenario(path)
    result = run_scenario(scenario)
    assert result.ok, result.to_text()
    assert not result.notes

    shown = shown_by(path)
    others = tuple(r for r in scenario.resources if f"{r.kind}/{r.name}" not in shown)
    assert len(others) == len(scenario.resources) - len(shown)
    without = run_scenario(attrs.evolve(scenario, resources=others))
    broken = [check.name for check in without.checks if not check.ok]
    assert broken, f"its checks hold without {shown}, too:\n{without.to_text()}"
    assert not set(broken) & set(VOID), without.to_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_check_finds_nothing_wrong_with_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--strict", str(path)])
    assert code == 0, capsys.readouterr().out


def test_every_scenario_says_what_it_is_and_is_named_as_its_file() -> None:
    assert len(FILES) > 30
    assert set(QUICK) <= {path.stem for path in FILES}
    for path in FILES:
        assert load_scenario(path).name == path.stem
        assert path.read_text().splitlines()[1].startswith("# ")
