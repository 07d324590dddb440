"""What a run keeps for its files, besides its evidence: requests for traces, tables and causes, messages between hosts.

Nothing is kept, and nothing costs anything, unless a file is wanted that needs it.
"""

from collections.abc import Iterable, Sequence

from sim.checks.inspection import Observer, Seen
from sim.network.fabric import SimNetwork
from sim.network.recording import Tape, record_messages

EVENTS, TRACES, EDGES, PAGE = "events.jsonl", "traces.otlp.jsonl", "edges.json", "report.html"
RECORDS_KEPT_MAX = 300_000  # some 700 bytes each


class Capture:
    """`wanted`: names of files."""

    def __init__(self, wanted: Iterable[str] = ()) -> None:
        names = frozenset(wanted)
        self.requests = RequestKeeper() if names & {EVENTS, TRACES, EDGES, PAGE} else None
        self.tape: Tape | None = None
        self._records_messages = PAGE in names
        self.observers: tuple[Observer, ...] = () if self.requests is None else (self.requests,)

    def attach(self, network: SimNetwork) -> None:
        """Begin, before anything is connected."""
        if self._records_messages:
            self.tape = record_messages(network)


class RequestKeeper:
    """An Observer that keeps requests. Beyond RECORDS_KEPT_MAX every second trace goes, whole, and again when that is reached."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.one_in = 1  # of how many traces one is kept

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Keep what is to be kept."""
        self.seen += seen if self.one_in == 1 else self._sampled(seen)
        while len(self.seen) > RECORDS_KEPT_MAX:
            self.one_in *= 2
            self.seen = self._sampled(self.seen)

    def _sampled(self, seen: Sequence[Seen]) -> list[Seen]:
        # By the last digits of the trace id, so that all sidecars agree. Connections have no trace; they are few.
        mask = self.one_in - 1
        return [one for one in seen if not int(one.record.traceparent[27:35] or b"0", 16) & mask]
