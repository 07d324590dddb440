from collections.abc import Sequence

import pytest
import trio

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from sim.network.cuts import Hold, Partition
from sim.network.delays import Duplicate, Reorder
from sim.network.dns import RECURSION_NS, resolver_name
from sim.network.latency import Constant
from sim.network.names import Answer, Code, NameFault
from sim.network.rules import Between
from tests.sim.kernel.simulated_pair import MS, PORT, SimulatedPair, make_pair, round_trip

NAME = "api.example.com"
ROUND_TRIP_S = 2 * MS
RECURSION_S = RECURSION_NS / 1e9
TO_RESOLVER = Between(source=("client",), target=(resolver_name("zone-1"),), port=53)


async def resolve(pair: SimulatedPair, name: str = NAME) -> tuple[Sequence[str], float]:
    """Return a name's addresses and how long that took."""
    began = trio.current_time()
    return await pair.client.environment.network.resolve(name), trio.current_time() - began


async def failure(pair: SimulatedPair, name: str = NAME) -> tuple[str, float]:
    """Return why a name cannot be resolved, and how long that took."""
    began = trio.current_time()
    with pytest.raises(ConnectFailed) as caught:
        await pair.client.environment.network.resolve(name)
    assert caught.value.reason == "dns resolution failure"
    return str(caught.value.__cause__), trio.current_time() - began


def test_the_resolver_of_the_zone_is_asked_and_remembers_the_answer() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.world.network.set_name(NAME, ["10.0.0.7", "10.0.0.8"], ttl_s=10.0)
        found, took_s = await resolve(pair)
        assert found == ("10.0.0.7", "10.0.0.8")
        assert took_s == pytest.approx(ROUND_TRIP_S + RECURSION_S)
        assert (await resolve(pair))[1] == pytest.approx(ROUND_TRIP_S)

    make_pair().run(body)


def test_a_change_is_seen_when_the_ttl_is_over() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"], ttl_s=10.0)
        await resolve(pair)
        network.set_name(NAME, ["10.0.0.8"], ttl_s=10.0)
        assert (await resolve(pair))[0] == ("10.0.0.7",)
        await trio.sleep(10.0)
        assert (await resolve(pair))[0] == ("10.0.0.8",)

    make_pair().run(body)


def test_that_a_name_does_not_exist_is_remembered_too() -> None:
    async def body(pair: SimulatedPair) -> None:
        why, _ = await failure(pair)
        assert why.endswith(f"{NAME}: nxdomain")
        pair.world.network.set_name(NAME, ["10.0.0.7"])
        await trio.sleep(29.0)
        await failure(pair)
        await trio.sleep(2.0)
        assert (await resolve(pair))[0] == ("10.0.0.7",)

    make_pair().run(body)


def test_addresses_and_the_hosts_own_name_need_no_resolver() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.world.network.add_rule(Partition(between=TO_RESOLVER))
        for name, address in (("localhost", "127.0.0.1"), ("client", pair.client.address), ("10.9.9.9", "10.9.9.9")):
            assert await resolve(pair, name) == ((address,), 0.0)

    make_pair().run(body)


def test_connecting_to_a_name_resolves_it_first() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.client.environment.network
        await round_trip(await network.connect(Address("server", PORT)))
        assert trio.current_time() == pytest.approx(ROUND_TRIP_S + RECURSION_S + 2 * ROUND_TRIP_S)
        with pytest.raises(ConnectFailed, match="dns"):
            await network.connect(Address("nobody", PORT))

    make_pair().run(body)


def test_a_lost_question_is_asked_again_after_five_seconds_and_given_up_after_ten() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        with network.add_rule(Partition(between=TO_RESOLVER)) as rule:
            why, took_s = await failure(pair)
            assert (rule.hits, took_s) == (2, pytest.approx(10.0))
            assert why.endswith("silence")
        rule = network.add_rule(Partition(between=TO_RESOLVER))
        pair.world.clock.push(pair.world.clock.now_ns + 10**9, lambda _: rule.remove(), None)
        assert (await resolve(pair))[1] == pytest.approx(5.0 + ROUND_TRIP_S + RECURSION_S)

    make_pair().run(body)


def test_a_held_question_is_answered_when_it_is_released() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        rule = network.add_rule(Hold(between=TO_RESOLVER))
        pair.world.clock.push(2 * 10**9, lambda _: rule.remove(), None)
        assert (await resolve(pair))[1] == pytest.approx(2.0 + ROUND_TRIP_S + RECURSION_S)

    make_pair().run(body)


def test_a_doubled_question_is_answered_twice_and_heard_once() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        watched = network.add_name_fault(NameFault(delay=Constant(0.0)), name="count answers")
        with network.add_rule(Duplicate(between=TO_RESOLVER, probability=1.0)):
            assert (await resolve(pair))[0] == ("10.0.0.7",)
        await trio.sleep(1.0)
        assert watched.hits == 2

    make_pair().run(body)


def test_a_late_answer_to_the_first_question_is_overtaken_by_none_and_ignored_after_the_end() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        between = Between(source=(resolver_name("zone-1"),), target=("client",), both_ways=False)
        rule = network.add_rule(Reorder(between=between, probability=1.0, detour=Constant(7.0)))
        pair.world.clock.push(6 * 10**9, lambda _: rule.remove(), None)
        # Asked again after 5 s: both answers are under way, and the first, though late, is good.
        assert (await resolve(pair))[1] == pytest.approx(7.0 + ROUND_TRIP_S + RECURSION_S)
        assert (await resolve(pair))[1] == pytest.approx(ROUND_TRIP_S)
        await trio.sleep(20.0)

    make_pair().run(body)


@pytest.mark.parametrize(
    ("code", "took_s"),
    [
        (Code.NXDOMAIN, ROUND_TRIP_S + RECURSION_S),
        (Code.SERVFAIL, 2 * ROUND_TRIP_S + RECURSION_S),  # asked twice, at once
        (Code.SILENCE, 10.0),
    ],
)
def test_resolvers_can_fail(code: Code, took_s: float) -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        fault = network.add_name_fault(NameFault(names=(NAME,), code=code), name="outage")
        why, measured_s = await failure(pair)
        assert (why.endswith(code.value), measured_s) == (True, pytest.approx(took_s))
        assert fault.hits > 0
        fault.remove()
        assert (await resolve(pair))[0] == ("10.0.0.7",)

    make_pair().run(body)


def test_resolvers_can_be_slow_in_one_zone() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        network.add_name_fault(NameFault(delay=Constant(3.0), zones=("zone-1",)), name="slow")
        assert (await resolve(pair))[1] == pytest.approx(3.0 + ROUND_TRIP_S + RECURSION_S)
        began = trio.current_time()
        await pair.server.environment.network.resolve(NAME)
        assert trio.current_time() - began < 1.0

    make_pair().run(body)


def test_an_outage_of_the_domain_is_hidden_for_a_ttl_and_outlives_itself() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"], ttl_s=20.0)
        await resolve(pair)
        fault = network.add_name_fault(NameFault(authority=True, code=Code.NXDOMAIN), name="domain")
        await trio.sleep(15.0)
        await resolve(pair)
        await trio.sleep(10.0)
        await failure(pair)
        fault.remove()
        await trio.sleep(25.0)
        await failure(pair)
        await trio.sleep(6.0)
        await resolve(pair)

    make_pair().run(body)


def test_stale_answers_are_told_until_the_fault_is_over() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"], ttl_s=1.0)
        past = {NAME: network.names.truth(NAME)}
        fault = network.add_name_fault(NameFault(names=(NAME,), past=past), name="stale")
        network.set_name(NAME, ["10.0.0.8"], ttl_s=1.0)
        await trio.sleep(60.0)
        assert (await resolve(pair))[0] == ("10.0.0.7",)
        fault.remove()
        assert (await resolve(pair))[0] == ("10.0.0.8",)
        assert past[NAME] == Answer(Code.FOUND, ("10.0.0.7",), 1.0)

    make_pair().run(body)


def test_spared_hosts_get_good_answers_but_not_from_the_domain() -> None:
    async def body(pair: SimulatedPair) -> None:
        network = pair.world.network
        network.set_name(NAME, ["10.0.0.7"])
        fault = network.add_name_fault(NameFault(code=Code.NXDOMAIN), name="outage")
        assert fault.spare(frozenset(["client"]))
        await resolve(pair)
        assert not network.add_name_fault(NameFault(authority=True), name="domain").spare(frozenset(["client"]))

    make_pair().run(body)


def test_a_host_without_power_hears_no_answer() -> None:
    async def body(pair: SimulatedPair) -> None:
        pair.world.network.set_name(NAME, ["10.0.0.7"])
        pair.client.spawn("ask", resolve, pair)
        await trio.sleep(MS)
        pair.client.kill()
        await trio.sleep(20.0)

    make_pair().run(body)
