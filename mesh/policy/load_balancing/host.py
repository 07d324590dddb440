"""Hosts and balancers: what the parts of load balancing ask of one another."""

from typing import Protocol, TypeVar

from mesh.policy.load_balancing.peak_ewma import PeakEwma


class Host(Protocol):
    """One endpoint as load balancing sees it.

    `weight` is 1 or more. `label` ("ip:port") is what rings and tables place. `healthy_since`, in seconds of the caller's
    clock, is when slow start began; -inf: it always was healthy. A host without a `locality_weight` where others have one
    gets nothing.
    """

    latency: PeakEwma | None  # set by the selector where the balancer is PeakEWMA

    @property
    def active(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def locality(self) -> str: ...
    @property
    def locality_weight(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def healthy_since(self) -> float: ...


H = TypeVar("H")
HostT = TypeVar("HostT", bound=Host)
PickedT_co = TypeVar("PickedT_co", covariant=True)


class LoadBalancer(Protocol[PickedT_co]):
    """Chooses among the hosts that it was made for. It does not count the request: that is the caller's."""

    def pick(self, now: float, /) -> PickedT_co: ...
