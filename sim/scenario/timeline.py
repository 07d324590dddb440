"""What a scenario does to the running system, and when. Values only; `sim.faults` carries them out.

`apply` and `scale` are changes; all others are faults: they hurt, and checks can leave their time out.
"""

from typing import TypeAlias

import attrs

from mesh.resources.resource import Resource
from sim.scenario.distributions import Distribution
from sim.scenario.topology import Failure

Side: TypeAlias = tuple[str, ...]  # names of zones, services or instances


@attrs.frozen(kw_only=True)
class Apply:
    """Apply the resources of a file, as an operator would."""

    file: str
    resources: tuple[Resource, ...]


@attrs.frozen(kw_only=True)
class Scale:
    """Run this many instances of a service in each named zone."""

    service: str
    to: tuple[tuple[str, int], ...]


@attrs.frozen(kw_only=True)
class Partition:
    """Lose everything between two sides; with `oneway` only what the first sends to the second."""

    sides: tuple[Side, Side]
    oneway: bool = False


@attrs.frozen(kw_only=True)
class Kill:
    """Cut the power of a service's instances in a zone (or of one instance); back after `restart_after_s` (None: never)."""

    target: str
    zone: str = ""
    restart_after_s: float | None = None


@attrs.frozen(kw_only=True)
class Slow:
    """Multiply the work of a service, of its instances in one zone, or of one instance."""

    target: str
    zone: str = ""
    factor: float = 1.0


@attrs.frozen(kw_only=True)
class Fail:
    """Answer with errors instead of working: a service, its instances in one zone, or one instance."""

    target: str
    zone: str = ""
    failures: tuple[Failure, ...]


@attrs.frozen(kw_only=True)
class Latency:
    """Change the latency between two sides, both ways: add to it, or replace it."""

    sides: tuple[Side, Side]
    add: Distribution | None = None
    replace: Distribution | None = None


@attrs.frozen(kw_only=True)
class Loss:
    """Lose a share of the segments between two sides, both ways."""

    sides: tuple[Side, Side]
    share: float


@attrs.frozen(kw_only=True)
class ControlPlaneDown:
    """Cut the power of the control plane's host."""


Change: TypeAlias = Apply | Scale
Fault: TypeAlias = Partition | Kill | Slow | Fail | Latency | Loss | ControlPlaneDown
Verb: TypeAlias = Change | Fault

VERB_BY_TYPE: dict[type[Verb], str] = {
    Apply: "apply",
    Scale: "scale",
    Partition: "partition",
    Kill: "kill",
    Slow: "slow",
    Fail: "fail",
    Latency: "latency",
    Loss: "loss",
    ControlPlaneDown: "control-plane",
}


@attrs.frozen(kw_only=True)
class TimelineEntry:
    """One thing done at `at_s` seconds of the run. `for_s`: how long a fault stays, None to the end."""

    at_s: float
    verb: Verb
    for_s: float | None = None
    name: str = ""

    @property
    def word(self) -> str:
        return VERB_BY_TYPE[type(self.verb)]

    @property
    def is_fault(self) -> bool:
        return not isinstance(self.verb, Apply | Scale)

    def title(self) -> str:
        """Name it for people: `slow accounts-db`, `partition eu-1|eu-2`."""
        match self.verb:
            case Apply(file=file):
                return f"apply {file}"
            case Partition(sides=sides) | Latency(sides=sides) | Loss(sides=sides):
                return f"{self.word} {'|'.join('+'.join(side) for side in sides)}"
            case Scale(service=target) | Kill(target=target) | Slow(target=target) | Fail(target=target):
                return f"{self.word} {target}"
            case ControlPlaneDown():
                return "control-plane down"

    def end_s(self, run_end_s: float) -> float:
        """Return when a fault is over, at most the end of the run."""
        if isinstance(self.verb, Kill):
            span_s = self.verb.restart_after_s
        else:
            span_s = self.for_s
        return run_end_s if span_s is None else min(run_end_s, self.at_s + span_s)
