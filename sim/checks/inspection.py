"""What is looked at while a run goes on: the requests of each second, by everybody who wants to know.

Sidecars' records are kept for a second of virtual time and then handed out together, so that the request path pays for
one append, however many look.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from mesh.telemetry.request_record import RequestRecord

LOOK_S = 1.0


class Seen(NamedTuple):
    """One request (or connection) at one sidecar: whose, and what became of it. Times of the record are the reactor's."""

    member: str
    workload: str
    record: RequestRecord


class Observer(Protocol):
    """Somebody who looks at a run."""

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Look at the requests that ended since the last time, in the order of their ends. `now_s`: of the run."""
        ...


class Inspection:
    """Collects what sidecars record and hands it to the observers, once a second."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = list(observers)
        self.seen: list[Seen] = []  # since the last look; sidecars' sinks append to it

    def look(self, now_s: float) -> None:
        """Hand out what was seen. The list is the observers' from now on."""
        seen, self.seen = self.seen, []
        for observer in self.observers:
            observer.observe(now_s, seen)
