"""All that entered a run's event hash, in a file: what two runs that should have been equal are compared by.

A file has the entries as the hash saw them (pairs of 64-bit numbers: virtual time and what), beside it the names that the numbers
stand for. Written only when asked for: ten minutes of a small mesh are some 50 MB.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import attrs

from sim.clock import NS_PER_S
from sim.event_log import ESTABLISHED, FIN, REFUSED, RST, SYN, SYN_ACK, EventLog

ENTRIES, NAMES = "entries.bin", "names.txt"
_CHUNK_BYTES = 1 << 20
_BYTES_PER_ENTRY = 16
_BEFORE = 5  # entries shown before a difference
_SIGNS = {SYN: "SYN", SYN_ACK: "SYN-ACK", ESTABLISHED: "handshake done", FIN: "FIN", RST: "RST", REFUSED: "refused"}


class EntryWriter:
    """Copies a log's entries into a folder while the run goes on; a context manager around the run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file: BinaryIO = (folder / ENTRIES).open("wb")
        self._log: EventLog | None = None

    def follow(self, log: EventLog) -> None:
        """Take the entries of this log."""
        self._log = log
        log.copy_to = self._file.write

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        names = self._log.names() if self._log is not None else ()
        (self._folder / NAMES).write_text("\n".join(names), encoding="utf-8")


@attrs.frozen
class Entry:
    """One entry, for people."""

    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.at_s:.9f}s  {self.what}"


@attrs.frozen(kw_only=True)
class Difference:
    """Where two runs part: the last entries that they share, and the first of each that the other has not (None: it ended)."""

    before: tuple[Entry, ...]
    first: Entry | None
    second: Entry | None


def first_difference(one: Path, other: Path) -> Difference | None:
    """Compare what two runs left in their folders; None when all entries are equal."""
    position = 0
    with (one / ENTRIES).open("rb") as left, (other / ENTRIES).open("rb") as right:
        while True:
            ours, theirs = left.read(_CHUNK_BYTES), right.read(_CHUNK_BYTES)
            if ours != theirs:
                break
            if not ours:
                return None
            position += len(ours)
    for offset in range(0, max(len(ours), len(theirs)), _BYTES_PER_ENTRY):
        end = offset + _BYTES_PER_ENTRY
        if ours[offset:end] != theirs[offset:end]:
            position += offset
            break
    before = _read(one, max(0, position - _BEFORE * _BYTES_PER_ENTRY), position)
    return Difference(
        before=tuple(before),
        first=next(_read(one, position, position + _BYTES_PER_ENTRY), None),
        second=next(_read(other, position, position + _BYTES_PER_ENTRY), None),
    )


def entries(folder: Path) -> Iterator[Entry]:
    """Read all entries of a run."""
    return _read(folder, 0, (folder / ENTRIES).stat().st_size)


def _read(folder: Path, start: int, end: int) -> Iterator[Entry]:
    names = (folder / NAMES).read_text(encoding="utf-8").split("\n")
    with (folder / ENTRIES).open("rb") as file:
        file.seek(start)
        numbers = array("q")
        numbers.frombytes(file.read(end - start))
    for at_ns, value in zip(numbers[::2], numbers[1::2], strict=True):
        yield Entry(at_ns / NS_PER_S, _describe(value, names))


def _describe(value: int, names: list[str]) -> str:
    """Say what an entry is. See `EventLog.trace_id` and `EventLog.append` for the layouts."""
    path = names[value >> 44] if value >> 44 < len(names) else ""
    if ">" in path:
        size = value & 0xFFFF_FFFF
        return f"{path} connection {value >> 32 & 0xFFF}: {_SIGNS.get(size, f'{size} bytes')}"
    return f"{names[value >> 32]}: {names[value & 0xFFFF_FFFF]}"
