"""What happened in a run: records for people and checks, and the event hash that two equal runs share.

The hash covers times, hosts, kinds and sizes, never payload bytes: keys and masks in them may differ from run to run.
Segments only enter the hash; records (`record`, and log lines of level info and above) are kept as well.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from sim.clock import NS_PER_S, SimClock

EVENTS_KEPT_MAX = 2_000_000
FLUSH_ENTRIES = 1 << 16

# Sizes that stand for what is not data. Real segments are far smaller.
SYN, SYN_ACK, ESTABLISHED, FIN, RST, REFUSED = (0xFFFF_FFFF - n for n in range(6))


@attrs.frozen(kw_only=True)
class Event:
    """One record. `level` is structlog's: an event of level error fails the run.

    `number` counts the events of a run; `cause` is the number of the event that this one follows from, where that is certain.
    """

    number: int = 0
    cause: int | None = None
    at_ns: int
    host: str
    kind: str
    level: str = "info"
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def at_s(self) -> float:
        """Seconds of virtual time."""
        return self.at_ns / NS_PER_S

    def __str__(self) -> str:
        fields = " ".join(f"{name}={value}" for name, value in self.fields.items() if name != "exception")
        text = f"{self.at_s:.6f} {self.host} {self.kind} {fields}".rstrip()
        return f"{text}\n{self.fields['exception']}" if "exception" in self.fields else text


class EventLog:
    """Owns the events of one run and their hash."""

    def __init__(self, clock: SimClock) -> None:
        self.events: list[Event] = []
        self.errors: list[Event] = []
        self.events_dropped = 0  # beyond EVENTS_KEPT_MAX; they are hashed and seen by subscribers nevertheless
        self._clock = clock
        self._number = 0
        self._cause: int | None = None  # of what is recorded right now
        self._hash = hashlib.blake2b(digest_size=16)
        self._entries: list[int] = []
        # The cheap way in, for segments: `trace((now_ns, log_id + size))`, with log_id from `trace_id`.
        self.trace = self._entries.extend
        self._id_by_name: dict[str, int] = {}
        self._subscribers: dict[str, list[Callable[[Event], None]]] = {}
        self._final: str | None = None
        self.copy_to: Callable[[bytes], object] | None = None  # gets every entry that the hash sees, in order

    def trace_id(self, source: str, target: str, connection: int) -> int:
        """Return what to add a size to, to make the entry of one connection's direction. Layout: path, connection, size."""
        return self._intern(f"{source}>{target}") << 44 | (connection & 0xFFF) << 32

    def record(self, kind: str, host: str, *, level: str = "info", **fields: Any) -> int:
        """Keep an event of now, hash its kind and host, and tell the subscribers; return its number."""
        return self.append(kind, host, level, fields)

    def append(self, kind: str, host: str, level: str, fields: Mapping[str, Any], *, at_ns: int | None = None) -> int:
        """Do what `record` does, for fields of any name. `at_ns`: when it happened, where that is not now."""
        if self._final is not None:
            return self._number
        number = self._number = self._number + 1
        event = Event(
            number=number,
            cause=self._cause,
            at_ns=self._clock.now_ns if at_ns is None else at_ns,
            host=host,
            kind=kind,
            level=level,
            fields=fields,
        )
        self.trace((event.at_ns, self._intern(host) << 32 | self._intern(kind)))
        if level in ("error", "critical"):
            self.errors.append(event)
        if len(self.events) < EVENTS_KEPT_MAX:
            self.events.append(event)
        else:
            self.events_dropped += 1
        for subscribed in (kind, "*"):
            for callback in self._subscribers.get(subscribed, ()):
                callback(event)
        return number

    @contextmanager
    def because(self, cause: int | None) -> Iterator[None]:
        """Let what is recorded at once, within this context, name an event as its cause. Causes are not hashed."""
        before, self._cause = self._cause, cause
        try:
            yield
        finally:
            self._cause = before

    def on(self, kind: str, callback: Callable[[Event], None]) -> None:
        """Call back for each event of this kind, at its virtual time; `*` for all kinds."""
        self._subscribers.setdefault(kind, []).append(callback)

    def flush(self) -> None:
        """Fold what was traced into the hash. Called now and then; it bounds the memory, not the result."""
        if len(self._entries) >= FLUSH_ENTRIES:
            self._fold()

    def event_hash(self) -> str:
        """Return the hash of all that happened so far, in hexadecimal."""
        if self._final is not None:
            return self._final
        self._fold()
        whole = self._hash.copy()
        # Names enter in the order of first use, so that the small numbers above mean the same in every run.
        whole.update("\x1f".join(self._id_by_name).encode())
        return whole.hexdigest()

    def close(self) -> None:
        """Ignore what happens from now on: the clean-up of a run that has ended is not part of it."""
        self._final = self.event_hash()

    def names(self) -> tuple[str, ...]:
        """Return what the numbers in entries stand for, in their order."""
        return tuple(self._id_by_name)

    def _intern(self, name: str) -> int:
        return self._id_by_name.setdefault(name, len(self._id_by_name))

    def _fold(self) -> None:
        # Whole entries only, whenever it is called: the batches must not show in the hash, and blake2b streams.
        folded = array("q", self._entries).tobytes()
        self._hash.update(folded)
        if self.copy_to is not None:
            self.copy_to(folded)
        self._entries.clear()
