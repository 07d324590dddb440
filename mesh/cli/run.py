"""`mesh run`: one run of a scenario in simulation, judged."""

import sys
import time
from pathlib import Path

import click
import msgspec

from mesh.cli.durations import read_duration
from mesh.cli.output import say
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
@click.option("--until", default=None, metavar="TIME", help="Stop at this virtual time, as 3m.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), default=None, help="Where result files go.")
@click.option("-o", "form", type=click.Choice(["table", "json"]), default="table", help="How the result is printed.")
def command(
    scenario_file: Path, seed: int | None, settings: tuple[str, ...], until: str | None, out_dir: Path | None, form: str
) -> int:
    """Run a scenario in simulation and judge its checks.

    Same file and seed, same event hash. Exit code 0: all checks hold; 1: one does not; 2: the file is wrong.

    \b
    Examples:
      mesh run shop.yaml
      mesh run shop.yaml --seed 7 --until 40s -o json
    """
    until_s = None if until is None else read_duration(until, option="--until")
    scenario = load_scenario(scenario_file, settings=settings, seed=seed)
    line = ProgressLine()
    result = run_scenario(scenario, until_s=until_s, out_dir=out_dir, progress=line.show)
    line.end(result.virtual_s)
    if form == "json":
        click.echo(msgspec.json.encode(result.to_json()))
    else:
        click.echo(result.to_text())
    return result.exit_code


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
