"""What all faults between two sides share: how they are read and drawn, whom they spare, how they flap and swizzle."""

import pytest

from sim.clock import NS_PER_S
from sim.faults.catalogue import NETWORK
from sim.faults.network.bandwidth import Bandwidth
from sim.faults.network.blackhole import Blackhole
from sim.faults.network.half_open import HalfOpen
from sim.faults.network.hold import Hold
from sim.faults.network.link_fault import LinkFault
from sim.faults.network.partition import Partition
from sim.faults.network.reset import Reset
from sim.network.host import NetworkHost
from sim.network.rules import DROP, Between, InstalledRule, Kind, Segment
from sim.scenario.distributions import Constant
from tests.sim.faults.small_scenario import drawn_entries, refusal_of, scenario_with, small_mesh, verb_of, written

LINK_FAULTS = [verb for verb in NETWORK if issubclass(verb, LinkFault)]
WITHOUT_MORE = "at: 1s, partition: [east, west]"


@pytest.mark.parametrize("verb", NETWORK, ids=lambda verb: verb.word)
def test_what_the_fuzzer_draws_can_be_read(verb: type[LinkFault]) -> None:
    entries = drawn_entries(verb)
    assert all(entries)
    for entry in entries:
        assert entry is not None
        assert len(entry) <= 4
        assert isinstance(verb_of(written(entry)), verb)


@pytest.mark.parametrize(
    ("entry", "verb"),
    [
        (
            "{at: 1s, partition: [[east, stock], west], oneway: true, port: 8080, flap: 2s}",
            Partition(sides=(("east", "stock"), ("west",)), oneway=True, port=8080, flap_s=2.0),
        ),
        (
            "{at: 1s, bandwidth: [shop, dns], to: 8Mbit, queue: 64KiB, each: true}",
            Bandwidth(sides=(("shop",), ("dns",)), bytes_per_s=1e6, queue_bytes=65536, each=True),
        ),
        (
            "{at: 1s, reset: [east, control-plane], share: 1%, after: 10KiB, whole: true}",
            Reset(sides=(("east",), ("control-plane",)), share=0.01, after_bytes=10240, whole=True),
        ),
        (
            "{at: 1s, half-open: [east, west], idle: 1m, silent: true}",
            HalfOpen(sides=(("east",), ("west",)), idle_s=60.0, silent=True),
        ),
        ("{at: 1s, hold: [east, west], swizzle: 4s}", Hold(sides=(("east",), ("west",)), swizzle_s=4.0)),
    ],
)
def test_entries_are_read(entry: str, verb: LinkFault) -> None:
    assert verb_of(entry) == verb


def test_latency_takes_a_share_and_a_distribution() -> None:
    verb = verb_of("{at: 1s, latency: [east, west], add: {p50: 5ms, p99: 50ms}, share: 2%}")
    assert "0.02" in repr(verb) and "LogNormal" in repr(verb)
    assert verb_of("{at: 1s, reorder: [east, west], share: 1%, by: 80ms}").by == Constant(0.08)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (f"{{{WITHOUT_MORE}, flap: 2s, swizzle: 3s}}", "flap and swizzle exclude each other"),
        (f"{{{WITHOUT_MORE}, flap: 0s}}", "must be longer than 0s"),
        (f"{{{WITHOUT_MORE}, port: 0}}", "must be at least 1, not 0"),
        (f"{{{WITHOUT_MORE}, port: 70000}}", "must be at most 65535"),
        (f"{{{WITHOUT_MORE}, share: 3%}}", "unknown key 'share'"),
        ("{at: 1s, partition: [east, mars]}", "unknown zone, service or instance 'mars'"),
        ("{at: 1s, partition: [east, east]}", "must be two different sides"),
        ("{at: 1s, jitter: [east, west]}", "'by' is missing"),
        ("{at: 1s, bandwidth: [east, west], to: 8}", "must be a bandwidth with a unit"),
        ("{at: 1s, loss: [east, west]}", "'share' is missing"),
        ("{at: 1s, blackhole: [east, west], only: old}", "unknown value 'old'"),
        ("{at: 1s, latency: [east, west], add: 1ms, set: 1ms}", "needs either add or set"),
        ("{at: 1s, half-open: [east, west], idle: 0s}", "must be longer than 0s"),
    ],
)
def test_wrong_entries_are_refused(entry: str, complaint: str) -> None:
    assert complaint in refusal_of(entry)


def test_dns_as_a_side_means_every_zones_resolver() -> None:
    mesh = small_mesh("{at: 1s, partition: [shop, dns]}")
    verb = mesh.scenario.timeline[0].verb
    assert isinstance(verb, LinkFault)
    assert verb.between(mesh) == Between(source=("shop-1", "shop-2"), target=("dns-east", "dns-west"))


def crosses(mesh_rules: tuple[InstalledRule, ...], source: NetworkHost, target: NetworkHost, now_ns: int) -> bool:
    """Say whether a segment gets through."""
    segment = Segment(
        kind=Kind.DATA,
        source=source,
        target=target,
        size=1,
        position=0,
        server_port=8080,
        connection=1,
        opened_ns=0,
        quiet_since_ns=0,
        now_ns=now_ns,
    )
    concerned = [rule for rule in mesh_rules if rule.rule.between.crosses(source, target)]
    return all(rule.judge(segment) is not DROP for rule in concerned)


def open_moments(
    entry: str, source: str, target: str, *, core: frozenset[str] = frozenset()
) -> tuple[list[bool], bool]:
    """Begin a fault, look every half second for ten seconds, end it; return when segments get through, and whether it bit."""
    mesh = small_mesh(entry)
    network, hosts = mesh.world.network, mesh.world.hosts
    active = mesh.scenario.timeline[0].verb.begin(mesh, "fault")
    if core:
        assert active.spare(core)
    seen: list[bool] = []

    async def look(_: object) -> None:
        import trio

        for _ in range(20):
            await trio.sleep(0.5)
            ends = hosts[source].network_host, hosts[target].network_host
            seen.append(crosses(network._rules, *ends, now_ns=network.clock.now_ns))
        active.end()
        assert network._rules == ()
        await trio.sleep(10.0)
        assert network._rules == ()

    mesh.world.run(look, tolerate_errors=True)
    return seen, active.bit()


def test_a_flapping_fault_comes_and_goes() -> None:
    seen, bit = open_moments("{at: 1s, partition: [shop, stock], flap: 2s}", "shop-1", "stock-1")
    assert seen[:12] == [False] * 3 + [True] * 4 + [False] * 4 + [True]
    assert bit


def test_a_flapping_fault_spares_the_core_in_every_turn() -> None:
    core = frozenset(["shop-1", "stock-1"])
    entry = "{at: 1s, partition: [shop, stock], flap: 1s}"
    assert all(open_moments(entry, "shop-1", "stock-1", core=core)[0])
    assert not all(open_moments(entry, "shop-2", "stock-1", core=core)[0])


def test_a_swizzled_fault_takes_hosts_one_by_one() -> None:
    entry = "{at: 1s, partition: [east, west], swizzle: 4s}"
    first, _ = open_moments(entry, "shop-1", "stock-1")
    second, _ = open_moments(entry, "shop-2", "stock-1")
    assert not all(first) and not all(second)
    assert first != second
    assert all(first[16:]) and all(second[16:])  # All over after 8 s.


def test_a_rule_spares_what_goes_between_two_hosts_of_the_core() -> None:
    entry = "{at: 1s, blackhole: [east, west]}"
    assert all(open_moments(entry, "shop-1", "stock-1", core=frozenset(["shop-1", "stock-1"]))[0])
    assert not any(open_moments(entry, "shop-1", "stock-1", core=frozenset(["shop-1"]))[0])


def test_a_fault_of_one_port_leaves_others_alone() -> None:
    assert all(open_moments("{at: 1s, partition: [east, west], port: 9999}", "shop-1", "stock-1")[0])
    seen, bit = open_moments("{at: 1s, partition: [east, west], port: 9999}", "shop-1", "stock-1")
    assert all(seen) and not bit


def test_half_open_forgets_what_was_open_when_it_began() -> None:
    mesh = small_mesh("{at: 1s, half-open: [east, west]}")
    mesh.world.clock.now_ns = 7 * NS_PER_S
    verb = mesh.scenario.timeline[0].verb
    assert isinstance(verb, HalfOpen)
    assert verb.rule(mesh, verb.between(mesh)).opened_before_ns == 7 * NS_PER_S


def test_every_link_fault_has_the_common_keys_in_its_schema() -> None:
    for verb in LINK_FAULTS:
        assert {"at", "for", "name", "oneway", "port", "flap", "swizzle", verb.word} <= set(verb.allowed_keys())
        assert set(verb.schema()["properties"]) == set(verb.allowed_keys())


def test_titles_name_both_sides() -> None:
    entry = scenario_with("{at: 1s, blackhole: [[east, stock], west], only: new}").timeline[0]
    assert entry.title() == "blackhole east+stock|west"
    assert isinstance(entry.verb, Blackhole)
