"""`mesh run --check-determinism`: the same run in another process with other hashes of strings, compared entry by entry."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from mesh.cli.output import say
from mesh.model.errors import ConfigError, Violation
from sim.entry_file import Difference, EntryWriter, first_difference
from sim.report.result import RunResult

EXIT_DIFFERENT = 4
_HASHSEED_MAX = 4_294_967_295


class SecondRun:
    """The other process. It runs beside the first; `compare` waits for it."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.first = EntryWriter(folder / "first")
        self._folder = folder
        command = [sys.executable, "-m", "mesh", "run", *arguments, "--entries", str(folder / "second"), "-o", "json"]
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONHASHSEED": _other_hash_seed()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def compare(self, event_hash: str) -> int:
        """Say whether both runs were the same and return the exit code: 0, or EXIT_DIFFERENT. Raises: ConfigError."""
        printed, complaints = self._process.communicate()
        try:
            other_hash = msgspec.json.decode(printed)["event_hash"]
        except (msgspec.DecodeError, KeyError, TypeError):
            message = f"the second run gave no result: {complaints.decode(errors='replace').strip()[-500:]}"
            raise ConfigError([Violation(message=message, path="--check-determinism")]) from None
        if other_hash == event_hash:
            say(f"  deterministic: {event_hash[:16]} in two processes with different PYTHONHASHSEEDs")
            return 0
        say(f"error: not deterministic: {event_hash[:16]} and {other_hash[:16]}")
        difference = first_difference(self._folder / "first", self._folder / "second")
        for line in _lines(difference):
            click.echo(line)
        return EXIT_DIFFERENT

    def end(self) -> None:
        """Do not leave the process behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def compare_runs(arguments: Sequence[str], run: Callable[[EntryWriter], RunResult]) -> int:
    """Run here and, with `arguments` of `mesh run`, in another process; return the exit code. Raises: ConfigError."""
    with TemporaryDirectory(prefix="mesh-determinism-") as folder:
        second = SecondRun(Path(folder), arguments)
        try:
            with second.first:
                result = run(second.first)
            return second.compare(result.event_hash) or result.exit_code
        finally:
            second.end()


def _other_hash_seed() -> str:
    """Return a seed for the hashes of strings that is not this process's."""
    mine = os.environ.get("PYTHONHASHSEED", "")
    return str((int(mine) + 1) % _HASHSEED_MAX) if mine.isdecimal() else "1"


def _lines(difference: Difference | None) -> Iterator[str]:
    if difference is None:
        yield "all entries are equal, but their names came in another order"
        return
    yield "the last entries that both have:"
    yield from (f"    {entry}" for entry in difference.before)
    yield "the first that differs, and what caused it is above it:"
    yield f"  here   {difference.first or 'nothing more happened'}"
    yield f"  there  {difference.second or 'nothing more happened'}"
