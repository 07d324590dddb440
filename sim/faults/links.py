"""Between the words of scenarios and those of the simulated network: links, latencies, and a floor under them."""

import attrs

from mesh.model.randomness import Random
from sim.network.fabric import SimNetwork
from sim.network.latency import Constant as ConstantLatency
from sim.network.latency import Drawn, Latency, Sampler
from sim.network.latency import Exponential as ExponentialLatency
from sim.network.latency import LogNormal as LogNormalLatency
from sim.network.links import Link, LinkBetween
from sim.network.links import NetworkModel as LinksOfWorld
from sim.network.rules import PASS, PROBABILITY, Action, Between, Segment, Verdict
from sim.scenario.distributions import Constant, Distribution, Exponential, LogNormal
from sim.scenario.topology import LinkModel, NetworkModel


def latency_of(distribution: Distribution) -> Latency:
    """Return a distribution as the network wants it."""
    match distribution:
        case Constant(seconds=seconds):
            return ConstantLatency(seconds)
        case Exponential(mean_s=mean_s):
            return ExponentialLatency(mean_s=mean_s)
        case LogNormal(p50_s=p50_s, p99_s=p99_s):
            return LogNormalLatency(p50_s=p50_s, p99_s=p99_s)
        case _:
            return Drawn(distribution)


def links_of(model: NetworkModel) -> LinksOfWorld:
    """Return a scenario's links as the world's."""
    return LinksOfWorld(
        default=_link_of(model.default),
        links=tuple(LinkBetween(between=link.between, link=_link_of(link.model)) for link in model.links),
    )


def _link_of(model: LinkModel) -> Link:
    return Link(
        latency=latency_of(model.latency), bandwidth_bytes_per_s=model.bandwidth or None, loss=min(model.loss, 0.999)
    )


@attrs.define(kw_only=True, eq=False)
class LatencyFloor:
    """Segments take at least a draw of `latency`: what the link itself takes is not added, but cannot be undercut.

    With a `probability` below 1, a share of them.
    """

    between: Between
    latency: Latency
    network: SimNetwork
    probability: float = attrs.field(default=1.0, validator=PROBABILITY)
    _sampler: Sampler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sampler = self.latency.sampler()

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by what the link's usual latency lacks."""
        if self.probability < 1.0 and random.random() >= self.probability:
            return PASS
        missing_ns = self._sampler(random) - self.network.path(segment.source, segment.target).nominal_ns
        return Verdict(Action.DELAY, missing_ns) if missing_ns > 0 else PASS
