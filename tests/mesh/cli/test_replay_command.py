"""`mesh replay`: events with their causes, one trace, and the verdict on a saved failure."""

import pytest

from mesh.cli.main import run
from sim.report.traces import spans_of_run
from tests.sim.report.small_run import SCENARIO, small_run


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes the small run's file, with a `replay:` section if wanted."""

    def write(replay=""):
        file = tmp_path / "small.yaml"
        file.write_text(SCENARIO.replace("seed: 3\n", f"seed: 3\n{replay}"))
        return str(file)

    return write


def test_events_are_told_up_to_a_moment_with_what_they_follow_from(saved, capsys):
    assert run(["replay", saved(), "--until", "6s"]) == 1
    lines = capsys.readouterr().out.splitlines()
    killed = next(line for line in lines if " host.killed " in line)
    assert "<- timeline.begun" in killed
    assert not any(" host.started " in line for line in lines)
    assert lines[-1].endswith("exit 1")


def test_saved_failure_is_reproduced(saved, capsys):
    event_hash = small_run().result.event_hash
    file = saved(f"replay: {{violates: quick, event_hash: {event_hash[:12]}}}\n")
    assert run(["replay", file]) == 1
    out = capsys.readouterr().out
    assert "Reproduced: quick at 5" in out
    assert "= recorded" in out


@pytest.mark.parametrize(
    ("replay", "why"),
    [
        ("replay: {violates: answered}\n", "answered holds"),
        ("replay: {violates: quick, event_hash: '00'}\n", "recorded 00"),
        ("replay: {violates: quick, seed: 4, event_hash: '%s'}\n", "event hash"),
    ],
)
def test_other_run_is_not_called_reproduced(saved, capsys, replay, why):
    file = saved(replay.replace("%s", small_run().result.event_hash))
    assert run(["replay", file]) == 4
    out = capsys.readouterr().out
    assert "Not reproduced" in out
    assert why in out


def test_trace_is_drawn(saved, capsys):
    retried = next(span for span in spans_of_run(small_run()) if span.kind == "try" and span.note)
    assert run(["replay", saved(), "--trace", retried.trace[:10]]) == 0
    out = capsys.readouterr().out
    assert f"trace {retried.trace}" in out
    assert f"try 1 -> {retried.upstream}" in out
    assert "█" in out


def test_unknown_trace_and_steps_without_a_terminal_are_refused(saved, capsys):
    assert run(["replay", saved(), "--trace", "zz"]) == 2
    assert "no trace" in capsys.readouterr().err
    assert run(["replay", saved(), "--step"]) == 2
    assert "terminal" in capsys.readouterr().err
