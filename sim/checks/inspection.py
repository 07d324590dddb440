"""What is looked at while a run goes on: the requests of each second and how sidecars stand, by everybody who wants to know.

Sidecars' records are kept for a second of virtual time and then handed out together, so that the request path pays for
one append, however many look. How sidecars stand is read once a look, for all.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from mesh.telemetry.request_record import RequestRecord
from sim.checks.plans import Plans
from sim.checks.views import ProxyView

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
    """Collects what sidecars record and show, and hands it to the observers, once a second.

    `proxies`: how the sidecars of hosts with power stood at the last look; `plans`: what their configurations allow.
    """

    def __init__(
        self,
        observers: Iterable[Observer],
        *,
        take_views: Callable[[], tuple[ProxyView, ...]] = lambda: (),
    ) -> None:
        self.observers = list(observers)
        self.seen: list[Seen] = []  # since the last look; sidecars' sinks append to it
        self.proxies: tuple[ProxyView, ...] = ()
        self._before: dict[str, ProxyView] = {}
        self.plans = Plans()
        self._take_views = take_views

    def look(self, now_s: float) -> None:
        """Hand out what was seen. The list is the observers' from now on."""
        seen, self.seen = self.seen, []
        self._before = {view.member: view for view in self.proxies}
        self.proxies = self._take_views()
        self.plans.look(self.proxies)
        for observer in self.observers:
            observer.observe(now_s, seen)

    def before(self, view: ProxyView) -> ProxyView | None:
        """Return how a sidecar stood at the look before, if it was in the same life then and under the same configuration."""
        before = self._before.get(view.member)
        return before if before is not None and before.snapshot is view.snapshot and before.life == view.life else None
