"""The sidecar's name resolver against the simulated DNS: what a lost packet, an outage and a move do to it."""

import trio

from mesh.proxy.name_resolution import NameResolver
from sim.network.cuts import Partition
from sim.network.names import Code, NameFault
from sim.network.rules import Between
from tests.sim.kernel.simulated_pair import SimulatedPair, make_pair

NAME = "api.example.com"


class Watched:
    """A sidecar's resolver on the client, and when each answer became known."""

    def __init__(self, pair: SimulatedPair) -> None:
        self.resolver = NameResolver(pair.client.environment, self._changed)
        self.known: list[tuple[float, tuple[str, ...]]] = []
        self.resolver.want([NAME])

    def _changed(self, name: str) -> None:
        self.known.append((round(trio.current_time(), 1), self.resolver.addresses_by_name[name]))


def test_one_lost_packet_costs_five_seconds_and_no_error() -> None:
    """Sidecars gave up after 5 s, just when the system's resolver asks again: the name was unknown for ten."""

    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        rule = network.add_rule(Partition(between=Between(source=("client",), port=53)))
        watched = Watched(pair)
        await trio.sleep(1.0)
        rule.remove()
        await trio.sleep(10.0)
        assert watched.known == [(5.0, ("10.0.0.7",))]

    make_pair().run(body)


def test_an_outage_leaves_the_addresses_that_are_known() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"], ttl_s=1.0)
        watched = Watched(pair)
        await trio.sleep(1.0)
        for code in (Code.NXDOMAIN, Code.SERVFAIL, Code.SILENCE):
            fault = network.add_name_fault(NameFault(code=code), name=code.value)
            await trio.sleep(30.0)
            assert fault.hits > 0
            fault.remove()
        assert [addresses for _, addresses in watched.known] == [("10.0.0.7",)]

    make_pair().run(body)


def test_a_move_is_followed_within_ttl_and_refresh() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"], ttl_s=10.0)
        watched = Watched(pair)
        await trio.sleep(20.0)
        network.set_name(NAME, ["10.0.0.8"], ttl_s=10.0)
        await trio.sleep(20.0)
        (_, before), (moved_s, after) = watched.known
        assert (before, after) == (("10.0.0.7",), ("10.0.0.8",))
        assert 20.0 < moved_s <= 20.0 + 10.0 + 5.5

    make_pair().run(body)
