"""A host as load balancing sees it, and chance that does as it is told."""

import math
import random
from collections.abc import Sequence

import attrs
from hypothesis import Phase, settings

from mesh.policy.load_balancing import EndpointSelector, LoadBalancing, PeakEwma

# For machines that run against a planted bug: the same examples each time, and no need for the shortest.
UNTIL_FOUND = settings(derandomize=True, database=None, max_examples=100, deadline=None, phases=[Phase.generate])


@attrs.define(eq=False)
class BalancedHost:
    name: str
    weight: int = 1
    active: int = 0
    usable: bool = True
    priority: int = 0
    locality: str = ""
    locality_weight: int = 0
    healthy_since: float = -math.inf
    latency: PeakEwma | None = None

    @property
    def label(self) -> str:
        return f"{self.name}:80"


class ScriptedRandom(random.Random):
    """Draws what it was told to, then fails."""

    def __init__(self, *draws: float) -> None:
        super().__init__(0)
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0)


def hosts_of(*weights: int) -> list[BalancedHost]:
    return [BalancedHost(f"u{index}", weight) for index, weight in enumerate(weights)]


def is_usable(host: BalancedHost) -> bool:
    return host.usable


def selector_over(
    hosts: Sequence[BalancedHost],
    config: LoadBalancing | None = None,
    *,
    seed: int = 1,
    now: float = 0.0,
    previous: EndpointSelector[BalancedHost] | None = None,
) -> EndpointSelector[BalancedHost]:
    return EndpointSelector(
        config or LoadBalancing(), hosts, is_usable, random.Random(seed), now=now, previous=previous
    )
