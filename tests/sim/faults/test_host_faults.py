"""What all faults of hosts share: how they are read and drawn, whom they hit, whom they spare."""

import pytest
import trio

from sim.assembly import SimulatedMesh
from sim.faults.catalogue import HOSTS
from sim.faults.hosts.clock_drift import ClockDrift
from sim.faults.hosts.clock_jump import ClockJump
from sim.faults.hosts.clock_skew import ClockSkew
from sim.faults.hosts.disk_full import DiskFull
from sim.faults.hosts.disk_slow import DiskSlow
from sim.faults.hosts.disk_torn import DiskTorn
from sim.faults.hosts.host_fault import HostFault
from sim.faults.hosts.kill import Kill
from sim.faults.hosts.memory_limit import MemoryLimit
from sim.faults.hosts.pause import Pause
from sim.faults.hosts.restart import Restart
from sim.faults.hosts.slow_cpu import SlowCpu
from sim.scenario.distributions import Constant
from sim.scenario.verb import Verb
from sim.world import World
from tests.sim.faults.small_scenario import drawn_entries, refusal_of, scenario_with, small_mesh, verb_of, written


@pytest.mark.parametrize("verb", HOSTS, ids=lambda verb: verb.word)
def test_what_the_fuzzer_draws_can_be_read(verb: type[Verb]) -> None:
    entries = drawn_entries(verb)
    assert all(entries)
    for entry in entries:
        assert entry is not None
        assert len(entry) <= 4
        assert isinstance(verb_of(written(entry)), verb)


@pytest.mark.parametrize(
    ("entry", "verb"),
    [
        ("{at: 1s, kill: east, restart_after: 2s}", Kill(target="east")),
        (
            "{at: 1s, restart: shop, zone: east, how: cut, disk: wiped}",
            Restart(target="shop", zone="east", how="cut", disk="wiped"),
        ),
        ("{at: 1s, pause: control-plane, how: machine}", Pause(target="control-plane", how="machine")),
        ("{at: 1s, slow-cpu: shop-1, factor: 20}", SlowCpu(target="shop-1", factor=20.0)),
        ("{at: 1s, clock-skew: west, by: -90s, spread: true}", ClockSkew(target="west", by_s=-90.0, spread=True)),
        ("{at: 1s, clock-drift: shop, rate: -5%}", ClockDrift(target="shop", rate=-0.05)),
        ("{at: 1s, clock-drift: shop, rate: 300%}", ClockDrift(target="shop", rate=3.0)),
        ("{at: 1s, clock-jump: shop, by: 2h, every: 3s}", ClockJump(target="shop", by_s=7200.0, every_s=3.0)),
        ("{at: 1s, disk-slow: control-plane, takes: 1s}", DiskSlow(target="control-plane", takes=Constant(1.0))),
        ("{at: 1s, disk-full: shop, free: 4KiB}", DiskFull(target="shop", free_bytes=4096)),
        ("{at: 1s, disk-torn: shop, lies: true, down: 5s}", DiskTorn(target="shop", lies=True, down_s=5.0)),
        (
            "{at: 1s, memory-limit: shop, limit: 64MiB, restart_after: 2s}",
            MemoryLimit(target="shop", limit_bytes=64 << 20, restart_s=2.0),
        ),
    ],
    ids=lambda value: value.word if isinstance(value, Verb) else "",
)
def test_entries_are_read(entry: str, verb: HostFault) -> None:
    assert verb_of(entry) == verb


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{at: 1s, pause: nobody}", "unknown zone, service or instance 'nobody'"),
        ("{at: 1s, pause: east, zone: east}", "only a service has a zone to choose; 'east' is none"),
        ("{at: 1s, pause: control-plane, zone: east}", "only a service has a zone to choose"),
        ("{at: 1s, pause: shop, zone: west}", "'shop' has no instances in 'west'"),
        ("{at: 1s, pause: shop, how: sleep}", "unknown value 'sleep'"),
        ("{at: 1s, restart: shop, disk: lost}", "unknown value 'lost'"),
        ("{at: 1s, slow-cpu: shop}", "'factor' is missing"),
        ("{at: 1s, slow-cpu: shop, factor: 0.5}", "must be at least 1"),
        ("{at: 1s, clock-skew: shop, by: 0s}", "must not be 0"),
        ("{at: 1s, clock-skew: shop, by: 30}", "a span with a unit and a sign"),
        ("{at: 1s, clock-drift: shop, rate: 5}", "a percentage with its sign"),
        ("{at: 1s, clock-drift: shop, rate: 200ppm}", "is not a percentage"),
        ("{at: 1s, clock-jump: shop, by: 1h, every: 0s}", "must be longer than 0s"),
        ("{at: 1s, disk-slow: shop}", "'takes' is missing"),
        ("{at: 1s, disk-full: shop, free: 5}", "a size with a unit"),
        ("{at: 1s, memory-limit: shop}", "'limit' is missing"),
    ],
)
def test_what_is_wrong_is_said(entry: str, complaint: str) -> None:
    assert complaint in refusal_of(entry)


def test_a_restart_lasts_a_second_where_nothing_is_said() -> None:
    assert scenario_with("{at: 1s, restart: shop}").timeline[0].for_s == 1.0
    assert scenario_with("{at: 1s, pause: shop}").timeline[0].for_s is None


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("shop", ["shop-1", "shop-2"]),
        ("shop-2", ["shop-2"]),
        ("control-plane", ["control-plane"]),
        ("east", ["control-plane", "shop-1", "shop-2"]),
        ("west", ["stock-1"]),
    ],
)
def test_a_target_names_hosts(target: str, hosts: list[str]) -> None:
    mesh = small_mesh(f"{{at: 1s, pause: {target}}}")
    verb = mesh.scenario.timeline[0].verb
    assert isinstance(verb, Pause)
    assert [host.name for host in verb.hosts(mesh) if not host.name.startswith("bank")] == hosts


def run_for_a_while(mesh: SimulatedMesh, entry: str) -> None:
    """Let a fault spare one of two hosts, then end; all goes on in a world whose mesh has just started."""
    verb = verb_of(entry)

    async def main(world: World) -> None:
        await trio.sleep(5.0)
        active = verb.begin(mesh, "fault")
        await trio.sleep(1.0)
        assert active.spare(frozenset(["shop-1"]))
        await trio.sleep(0.1)
        first, second = mesh.members["shop-1"].host, mesh.members["shop-2"].host
        assert first.alive
        assert not first.processor.paused
        assert first.date.look() == world.epoch + world.now()
        assert first.processor.gate is None
        assert not first.platter.delays
        hurt = (
            second.processor.gate is not None
            or second.date.look() != world.epoch + world.now()
            or bool(second.platter.delays)
            or not second.alive
        )
        assert hurt
        active.end()
        await trio.sleep(1.0)
        assert second.alive
        assert second.processor.gate is None
        assert second.date.look() == world.epoch + world.now()
        assert not second.platter.delays

    mesh.world.run(main, tolerate_errors=True)


@pytest.mark.parametrize(
    "entry",
    [
        "{at: 1s, kill: shop}",
        "{at: 1s, restart: shop, how: crash}",
        "{at: 1s, pause: shop}",
        "{at: 1s, pause: shop, how: machine}",
        "{at: 1s, slow-cpu: shop, factor: 10}",
        "{at: 1s, clock-skew: shop, by: 1h}",
        "{at: 1s, clock-drift: shop, rate: 5%}",
        "{at: 1s, clock-jump: shop, by: 1h}",
        "{at: 1s, disk-slow: shop, takes: 1s}",
        "{at: 1s, memory-limit: shop, limit: 1MiB, restart_after: 30s}",
    ],
)
def test_a_core_is_spared_and_the_end_heals_the_rest(entry: str) -> None:
    run_for_a_while(small_mesh(""), entry)
