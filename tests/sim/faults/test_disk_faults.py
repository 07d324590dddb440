"""The promises about durable things hold whatever disks do: nothing acknowledged is lost, nothing torn is taken for whole."""

from pathlib import Path

import attrs
import pytest
import trio

from mesh.config.snapshot import ProxyPart, Snapshot
from mesh.discovery.encoding import EncodedSnapshot, PartEncoder
from mesh.discovery.last_good import LastGood
from sim.faults.hosts.disk_torn import DiskTorn
from sim.host import Host
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario, parse_scenario
from sim.world import World

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples" / "faults"


def numbered(number: int) -> EncodedSnapshot:
    """Make a configuration, the larger the higher its number."""
    labels = tuple((f"label-{n}", "x" * 100) for n in range(number))
    return PartEncoder().encode(Snapshot.of(ProxyPart(mesh="default", name=f"version-{number}", labels=labels)))


VERSIONS = [numbered(number) for number in range(12)]


def kept_after_a_power_cut(seed: int, *, lies: bool) -> tuple[int, EncodedSnapshot | None]:
    """Keep one version after another until the power goes; return how many are safe, and what is found afterwards."""
    safe, found = -1, None

    async def boot(host: Host) -> None:
        nonlocal safe, found
        last_good = LastGood(host.environment, "sidecar")
        if host.network_host.incarnation:
            found, _ = await last_good.load()
            return
        for number, version in enumerate(VERSIONS):
            await last_good.keep(version, None)
            safe = number
            await trio.sleep(0.001)

    async def main(world: World) -> None:
        random = world.randomness.fresh("moment")
        if lies:
            host.platter.lies = True
        await trio.sleep(random.uniform(0.0, 0.03))
        host.kill(spares_writes=False)
        host.platter.lies = False
        host.start()
        await trio.sleep(1.0)

    world = World(seed=seed)
    host = world.add_host("web", boot=boot)
    world.run(main)
    return safe, found


def test_a_sidecar_finds_the_configuration_that_it_kept_or_the_next_one() -> None:
    torn = 0
    for seed in range(60):
        safe, found = kept_after_a_power_cut(seed, lies=False)
        versions = [version.version for version in VERSIONS[max(safe, 0) : safe + 2]]
        assert (found is None and safe < 0) or (found is not None and found.version in versions)
        torn += found is not None and found.version == VERSIONS[safe].version
    assert torn


def test_a_sidecar_on_a_disk_that_lies_finds_something_whole_or_nothing() -> None:
    whole = {version.version for version in VERSIONS}
    found = [kept_after_a_power_cut(seed, lies=True)[1] for seed in range(60)]
    assert None in found
    assert all(each is None or each.version in whole for each in found)


CLOSING = """
type: Scenario
format: 1
name: disk
duration: 30s
warmup: 5s
zones: [here]
services: {stock: {instances: {here: 1}, endpoints: {GET /: {}}}}
workload: {visitors: {rate: 20/s, journeys: {look: [GET stock/]}, timeout: 1s}}
timeline: [TIMELINE]
checks: [CHECKS]
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_control_plane_torn_in_a_commit_comes_back_whole_and_takes_the_change(seed: int) -> None:
    text = CLOSING.replace(
        "TIMELINE", "{at: 8s, for: 15s, disk-torn: control-plane}, {at: 10s, apply: applied/shop-fails.yaml}"
    ).replace(
        "CHECKS",
        "{name: open, expect: success(look) == 100%, when: between 5s and 9s},"
        "{name: closed, expect: success(look) == 0%, when: between 25s and 30s}",
    )
    scenario = parse_scenario(text, file="disk.yaml", folder=EXAMPLES)
    result = run_scenario(attrs.evolve(scenario, seed=seed))
    assert result.ok, result.to_text()
    assert not any("touched nothing" in note for note in result.notes), result.to_text()


def test_a_sidecar_whose_disk_is_full_goes_on_and_after_a_crash_starts_with_what_it_could_keep() -> None:
    """The change is in force, then forgotten with the process: the control plane is away when it comes back."""
    text = CLOSING.replace(
        "TIMELINE",
        "{at: 6s, disk-full: stock}, {at: 8s, apply: applied/shop-fails.yaml},"
        "{at: 14s, control-plane: down}, {at: 15s, for: 1s, restart: stock, how: crash}",
    ).replace(
        "CHECKS",
        "{name: closed, expect: success(look) == 0%, when: between 10s and 14s},"
        "{name: open, expect: success(look) == 100%, when: between 20s and 30s}",
    )
    result = run_scenario(parse_scenario(text, file="disk.yaml", folder=EXAMPLES))
    assert result.ok, result.to_text()
    assert not any("touched nothing" in note for note in result.notes), result.to_text()


def test_who_does_not_write_keeps_its_power() -> None:
    scenario = load_scenario(EXAMPLES / "disk-torn.yaml")
    quiet = tuple(entry for entry in scenario.timeline if isinstance(entry.verb, DiskTorn))
    result = run_scenario(attrs.evolve(scenario, timeline=quiet, duration_s=25.0, checks=()))
    assert "disk-torn stock: touched nothing" in result.notes
    assert result.totals.journeys_ok == result.totals.journeys
