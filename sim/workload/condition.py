"""What is wrong with one instance at the moment. Faults set it, services look at it; it outlives restarts of the instance.

Each ailment is added and lifted by itself, so that faults may overlap: what is left is what the others do.
"""

from collections.abc import Callable

import attrs

from mesh.model.randomness import Random
from mesh.protocol.http1 import RequestHead
from mesh.runtime.pump import Signal
from sim.scenario.topology import Failure


@attrs.frozen(kw_only=True, eq=False)
class Slowness:
    """All work takes so many times as long."""

    factor: float


@attrs.frozen(kw_only=True, eq=False)
class Greyness:
    """Work takes so many times as long for some: the named callers (none: all), and of theirs a share of the requests."""

    factor: float
    callers: tuple[str, ...] = ()
    share: float = 1.0

    def concerns(self, caller: str, random: Random) -> bool:
        if self.callers and caller not in self.callers:
            return False
        return self.share >= 1.0 or random.random() < self.share


@attrs.frozen(kw_only=True, eq=False)
class Failing:
    """A share of the requests is answered with errors: in their turn, or (`at_once`) before they queue for a place."""

    failures: tuple[Failure, ...]
    at_once: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Stuck:
    """Whoever gets a place stays in it."""


Ailment = Slowness | Greyness | Failing | Stuck


class Condition:
    """See the module's text. `ailing` false: `factor` is 1 and nothing else is to be asked."""

    def __init__(self) -> None:
        self.ailing = False
        self.factor = 1.0
        self.greys: tuple[Greyness, ...] = ()
        self.failures: tuple[Failure, ...] = ()
        self.failures_at_once: tuple[Failure, ...] = ()
        self.stuck = False
        self.touched = 0  # requests that were slow for a grey caller, failed at once or got stuck
        self._ailments: list[Ailment] = []
        self._freed: Callable[[], None] | None = None  # wakes who is stuck in the instance that runs

    def add(self, ailment: Ailment) -> Callable[[], None]:
        """Let something be wrong from now on; return how to lift it."""
        self._ailments.append(ailment)
        self._change()

        def lift() -> None:
            self._ailments.remove(ailment)
            self._change()

        return lift

    def _change(self) -> None:
        ailments = self._ailments
        self.ailing = bool(ailments)
        self.factor = 1.0
        for ailment in ailments:
            if isinstance(ailment, Slowness):
                self.factor *= ailment.factor
        failing = [ailment for ailment in ailments if isinstance(ailment, Failing)]
        self.greys = tuple(ailment for ailment in ailments if isinstance(ailment, Greyness))
        self.failures = tuple(failure for one in failing if not one.at_once for failure in one.failures)
        self.failures_at_once = tuple(failure for one in failing if one.at_once for failure in one.failures)
        self.stuck = any(isinstance(ailment, Stuck) for ailment in ailments)
        if not self.stuck and self._freed is not None:
            self._freed()

    # For the instance.

    def attach(self, freed: Callable[[], None]) -> None:
        """Say who is to be told, from now on, that nothing is stuck any more: an instance that has just started."""
        self._freed = freed

    def factor_for(self, caller: str, random: Random) -> float:
        """Return how many times as long as for others work takes for this request."""
        factor = 1.0
        for grey in self.greys:
            if grey.concerns(caller, random):
                factor *= grey.factor
                self.touched += 1
        return factor


async def wait_while_stuck(condition: Condition, freed: Signal) -> None:
    """From a pump: stay until nothing is stuck any more. `freed` is woken then."""
    while condition.stuck:
        condition.touched += 1
        await freed.wait()


def draw_failure(failures: tuple[Failure, ...], random: Random) -> Failure | None:
    """Draw whether, and how, a request fails."""
    if not failures:
        return None
    left = random.random()
    for failure in failures:
        left -= failure.share
        if left < 0:
            return failure
    return None


def caller_of(head: RequestHead) -> str:
    """Return the workload that a sidecar says has called, "" where there is no mutual TLS. Envoy's form: `By=...;URI=spiffe://...`."""
    told = head.header(b"x-forwarded-client-cert") or b""
    return told.rpartition(b"/")[2].decode("latin-1")
