"""`mesh replay`: a scenario, or a saved failure, run again and told: what happened, from what, and whether it is the same."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from mesh.cli.durations import read_duration
from mesh.cli.output import say
from mesh.cli.run import ProgressLine
from sim.checks.evidence import Verdict
from sim.checks.wording import format_moment
from sim.report.capture import TRACES
from sim.report.event_lines import happenings_of_run
from sim.report.event_text import event_rows
from sim.report.material import Material
from sim.report.result import EXIT_CHECK_FAILED
from sim.report.traces import spans_of_run
from sim.report.waterfall import find_traces, waterfall_of
from sim.runner import observe_scenario
from sim.scenario.loader import load_scenario
from sim.scenario.scenario import Replay

EXIT_NOT_REPRODUCED = 4
TRACES_SHOWN_MAX = 5
HASH_SHOWN = 16


@click.command("replay")
@click.argument("scenario_file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=None, help="Another seed than the file's.")
@click.option("--variant", default=None, metavar="NAME", help="Another of the file's variants than the first.")
@click.option("--until", default=None, metavar="TIME", help="Tell what happened up to this virtual time, as 41.3s.")
@click.option("--trace", "trace_id", default=None, metavar="ID", help="Show this trace (or those whose id begins so).")
@click.option("--step", is_flag=True, help="Tell one event at a time; Enter for the next, q to stop.")
def command(
    scenario_file: Path,
    seed: int | None,
    variant: str | None,
    until: str | None,
    trace_id: str | None,
    step: bool,
) -> int:
    """Run a scenario again and tell its events, each with what it follows from.

    A file with a `replay:` section says which check breaks and which event hash its run has: both are verified. Without
    --until, what is told ends where the first check breaks. Exit code 0: all checks hold; 1: one does not, as recorded if
    something was; 2: the file is wrong; 4: not what was recorded.

    \b
    Examples:
      mesh replay failures/recovers-1.yaml
      mesh replay shop.yaml --until 41.3s --step
      mesh replay shop.yaml --trace 4bf92f35
    """
    scenario = load_scenario(scenario_file, variant=variant, seed=seed)
    recorded = scenario.replay or Replay()
    if seed is None and recorded.seed is not None:
        seed = recorded.seed
    until_s = None if until is None else read_duration(until, option="--until")
    line = ProgressLine()
    material = observe_scenario(scenario, seed=seed, wanted=(TRACES,), progress=line.show)
    line.end(material.result.virtual_s)
    if trace_id is not None:
        return _show_trace(material, trace_id)
    _tell(material, _end_s(material, recorded) if until_s is None else until_s, step=step)
    return _judge(material, recorded if scenario.replay is not None else None)


def _end_s(material: Material, recorded: Replay) -> float:
    """Return the moment that a reader wants to come to: where the check breaks that this is about, or the first one."""
    broken = [check for check in material.result.checks if not check.ok and check.first_s is not None]
    about = [check for check in broken if check.name == recorded.violates] or broken
    return min((check.first_s for check in about if check.first_s is not None), default=material.result.virtual_s)


def _tell(material: Material, until_s: float, *, step: bool) -> None:
    rows = event_rows(happenings_of_run(material), from_s=0.0, until_s=until_s)
    if step:
        _tell_stepwise(rows)
        return
    for row in rows:
        click.echo(row)


def _tell_stepwise(rows: Iterable[str]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--step asks after each event: it wants a terminal")
    for row in rows:
        click.echo(row, nl=False)
        if input().strip().lower() in ("q", "quit"):
            return


def _show_trace(material: Material, beginning: str) -> int:
    found = find_traces(spans_of_run(material), beginning)
    if not found:
        raise click.UsageError(f"no trace of this run begins with {beginning!r}")
    for spans in list(found.values())[:TRACES_SHOWN_MAX]:
        click.echo("\n".join(waterfall_of(spans)))
    if len(found) > TRACES_SHOWN_MAX:
        say(f"{len(found) - TRACES_SHOWN_MAX} more begin so")
    return 0


def _judge(material: Material, recorded: Replay | None) -> int:
    """Say how the run ended, and whether that is what was recorded."""
    result = material.result
    broken = [check for check in result.checks if not check.ok]
    if recorded is None:
        for check in broken:
            click.echo(f"FAIL  {check.name}  {check.value}  {check.detail}")
        click.echo(f"RUN   hash {result.event_hash[:HASH_SHOWN]}  seed {result.seed}  exit {result.exit_code}")
        return result.exit_code
    same = bool(recorded.event_hash) and result.event_hash.startswith(recorded.event_hash)
    violated = next((check for check in broken if check.name == recorded.violates), None)
    if (recorded.event_hash and not same) or (recorded.violates and violated is None):
        click.echo(f"Not reproduced: {_difference(material, recorded, violated)}")
        return EXIT_NOT_REPRODUCED
    hashes = f"event hash {result.event_hash[:HASH_SHOWN]}" + (" = recorded" if same else ", none was recorded")
    click.echo(f"Reproduced: {_place(violated) if violated is not None else 'the run'}, {hashes}.")
    return EXIT_CHECK_FAILED if violated is not None else result.exit_code


def _place(check: Verdict) -> str:
    at = "" if check.first_s is None else f" at {format_moment(check.first_s)}"
    return f"{check.name}{at} ({check.value})"


def _difference(material: Material, recorded: Replay, violated: Verdict | None) -> str:
    parts = []
    if recorded.violates:
        parts.append(f"{recorded.violates} {'holds' if violated is None else 'breaks, but another way'}")
    if recorded.event_hash:
        parts.append(
            f"event hash {material.result.event_hash[:HASH_SHOWN]}, recorded {recorded.event_hash[:HASH_SHOWN]}"
        )
    if recorded.tool:
        parts.append(f"recorded by version {recorded.tool}")
    return ", ".join(parts)
