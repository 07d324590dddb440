"""What a scenario says about load: workloads, their journeys and how often those start. Values only."""

import enum
from typing import TypeAlias

import attrs

from sim.scenario.distributions import Distribution
from sim.scenario.headers import Header
from sim.scenario.retries import Retries
from sim.scenario.topology import Operation


class Arrivals(enum.Enum):
    """How starts are spread around the rate."""

    POISSON = "poisson"
    CONSTANT = "constant"


@attrs.frozen(kw_only=True)
class RateStage:
    """From the rate before (0 at the start) to `to` starts per second, linearly over `span_s`; `to` None: keep the rate."""

    to: float | None
    span_s: float
    name: str = ""


@attrs.frozen(kw_only=True)
class Think:
    """A pause of the user."""

    time: Distribution


@attrs.frozen(kw_only=True)
class Visit:
    """One request of a user; good when it is answered with 2xx or 3xx and the `expected` headers."""

    operation: Operation
    headers: tuple[Header, ...] = ()
    expected: tuple[Header, ...] = ()
    body: str = ""


JourneyStep: TypeAlias = Think | Visit


@attrs.frozen(kw_only=True)
class Journey:
    """What one user does, step by step; it ends with the first visit that fails."""

    name: str
    steps: tuple[JourneyStep, ...]


@attrs.frozen(kw_only=True)
class OpenModel:
    """Users arrive at a rate whatever the system does. `trace_s`: the starts themselves, instead of a rate."""

    arrivals: Arrivals = Arrivals.POISSON
    stages: tuple[RateStage, ...] = ()
    trace_s: tuple[float, ...] | None = None


@attrs.frozen(kw_only=True)
class ClosedModel:
    """A fixed number of users, each of whom thinks between journeys."""

    users: int
    think: Distribution


@attrs.frozen(kw_only=True)
class Workload:
    """A group of users. `timeout_s` is their patience with one try of a request; `zones` where they are, by weight.

    `headers` are those of a user, on all requests of a journey: closed users have their own for good, the others draw anew.
    `labels` are of their sidecars' Dataplanes.
    """

    name: str
    model: OpenModel | ClosedModel
    journeys: tuple[Journey, ...]
    mix: tuple[tuple[str, float], ...]  # (journey, weight)
    zones: tuple[tuple[str, float], ...]  # (zone, weight)
    timeout_s: float = 0.0
    headers: tuple[Header, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    retries: Retries | None = None

    def entry_services(self) -> tuple[str, ...]:
        """Return the services that its users call, sorted."""
        names = {s.operation.service: None for j in self.journeys for s in j.steps if isinstance(s, Visit)}
        return tuple(sorted(names))
