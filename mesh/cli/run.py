"""`mesh run`: one run of a scenario in simulation, judged."""

import sys
import time
from pathlib import Path

import click
import msgspec

from mesh.cli.determinism import compare_runs
from mesh.cli.durations import read_duration
from mesh.cli.output import say
from sim.entry_file import EntryWriter
from sim.report.result import RunResult
from sim.runner import Progress, run_scenario
from sim.scenario.loader import load_scenario

PROGRESS_INTERVAL_S = 0.2
BAR_WIDTH = 24


@click.command("run")
@click.argument("scenario_file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=None, help="Another seed than the file's.")
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE", help="Override one value, as services.web.queue=64."
)
@click.option("--variant", default=None, metavar="NAME", help="Another of the file's variants than the first.")
@click.option(
    "--on",
    "world",
    type=click.Choice(["sim", "local"]),
    default="sim",
    help="Simulated (default), or real processes, sockets and TLS on this machine.",
)
@click.option("--allow-missing", is_flag=True, help="With --on local: leave out what cannot be done there.")
@click.option("--until", default=None, metavar="TIME", help="Stop at this virtual time, as 3m.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), default=None, help="Where result files go.")
@click.option("--check-determinism", "twice", is_flag=True, help="Run twice, in two processes, and compare.")
@click.option("--entries", "entries_dir", type=click.Path(path_type=Path), default=None, hidden=True)
@click.option("-o", "form", type=click.Choice(["table", "json"]), default="table", help="How the result is printed.")
def command(
    scenario_file: Path,
    seed: int | None,
    settings: tuple[str, ...],
    variant: str | None,
    world: str,
    allow_missing: bool,
    until: str | None,
    out_dir: Path | None,
    twice: bool,
    entries_dir: Path | None,
    form: str,
) -> int:
    """Run a scenario and judge its checks: in simulation, or with --on local on real processes of this machine.

    Same file and seed, same event hash. Exit code 0: all checks hold; 1: one does not; 2: the file is wrong; 4: two runs with
    --check-determinism differ.

    \b
    Examples:
      mesh run shop.yaml
      mesh run shop.yaml --seed 7 --until 40s -o json
      mesh run retry-storm.yaml --variant fixed
      mesh run shop.yaml --on local --out real/
    """
    until_s = None if until is None else read_duration(until, option="--until")
    scenario = load_scenario(scenario_file, variant=variant, settings=settings, seed=seed)
    line = ProgressLine()
    if world == "local":
        if twice:
            raise click.UsageError(
                "--check-determinism is for simulated runs: real processes are never the same twice."
            )
        from mesh.cli.run_on_local import run_on_local
        from sim.local.runner import LocalOptions

        options = LocalOptions(until_s=until_s, out_dir=out_dir, overrides=settings, allow_missing=allow_missing)
        result = run_on_local(scenario, options, line.show)
        line.end_at_once()
        click.echo(msgspec.json.encode(result.to_json()) if form == "json" else result.to_text())
        return result.exit_code

    def run(entries: EntryWriter | None) -> RunResult:
        result = run_scenario(scenario, until_s=until_s, out_dir=out_dir, progress=line.show, entries=entries)
        line.end(result.virtual_s)
        click.echo(msgspec.json.encode(result.to_json()) if form == "json" else result.to_text())
        return result

    if twice:
        same = [*(f"--set={setting}" for setting in settings), *(["--variant", variant] if variant else [])]
        same += [*(["--until", until] if until else []), "--seed", str(scenario.seed)]
        return compare_runs([str(scenario_file), *same], run)
    if entries_dir is not None:
        with EntryWriter(entries_dir) as entries:
            return run(entries).exit_code
    return run(None).exit_code


class ProgressLine:
    """One line on standard error: redrawn on a terminal while the run goes on, and left there when it has ended."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._drawn_at = 0.0
        self._terminal = sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        """Redraw if it is time."""
        now = time.monotonic()
        if self._terminal and now - self._drawn_at >= PROGRESS_INTERVAL_S:
            self._drawn_at = now
            sys.stderr.write(f"\r\x1b[2K{self._text(progress)}")
            sys.stderr.flush()

    def end(self, virtual_s: float) -> None:
        """Leave a last line: the whole run."""
        wall_s = max(time.monotonic() - self._began, 1e-3)
        ended = f"  {_clock(virtual_s)} of virtual time in {wall_s:.1f}s, {virtual_s / wall_s:.0f}x real time"
        say(("\r\x1b[2K" if self._terminal else "") + ended)

    def end_at_once(self) -> None:
        """Leave nothing."""
        if self._terminal:
            sys.stderr.write("\r\x1b[2K")

    def _text(self, progress: Progress) -> str:
        done = min(1.0, progress.now_s / progress.duration_s)
        wall_s = max(time.monotonic() - self._began, 1e-3)
        bar = ("━" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "─")
        text = f"  {_clock(progress.now_s)} / {_clock(progress.duration_s)} {bar} {progress.now_s / wall_s:5.0f}x real time"
        text += f"  {progress.journeys} journeys"
        return text + (f"  ! {', '.join(progress.active)}" if progress.active else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"
