"""What cannot be done on real processes is known before the start, and left out when that is wanted."""

from pathlib import Path

import pytest

from sim.faults.catalogue import VERB_BY_WORD, VERBS
from sim.local.links import ProcessLinks
from sim.local.places import Place
from sim.local.reach import DONE_ON_PROCESSES, lacking_of, without
from sim.local.steered import LinksOfMesh
from sim.local.steered_verb import steer
from sim.scenario.loader import load_scenario, parse_scenario
from sim.scenario.verb import Reach
from sim.workload.deployment import edges_of, instances_of
from tests.sim.local.linked_processes import two_hosts

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples"
LINK_WORDS = [verb.word for verb in VERBS if verb.reach is Reach.LINKS]
MIXED = """
type: Scenario
format: 1
name: mixed
duration: 60s
zones: [here]
control_plane: {zone: here, push_delay: 1s}
services:
  shop: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: {mean: 2ms}}]}}}
workload:
  visitors: {rate: 5/s, journeys: {look: [GET shop/]}, timeout: 2s}
timeline:
  - {at: 10s, for: 5s, clock-skew: shop-1, by: 5s}
  - {at: 20s, for: 5s, partition: [shop-1, shop-2]}
  - {at: 30s, kill: shop-1, restart_after: 5s}
"""


def test_everything_that_cannot_be_done_is_named_with_its_reason() -> None:
    scenario = parse_scenario(MIXED, file="mixed.yaml", folder=EXAMPLES)
    assert [str(one) for one in lacking_of(scenario)] == [
        "clock-skew shop-1 at 10s: `clock-skew` can be done in simulation only",
        "control_plane.push_delay: a real control plane sends at once",
    ]


def test_the_rest_is_left_with_notes_and_the_numbers_of_its_file() -> None:
    scenario = steer(parse_scenario(MIXED, file="mixed.yaml", folder=EXAMPLES))
    left = without(scenario, lacking_of(scenario))
    assert [entry.word for entry in left.timeline] == ["partition", "kill"]
    assert sum("left out" in note for note in left.notes) == 2
    assert left.timeline[0].verb._entry == 1  # as in the file, where the processes look it up


def test_verbs_that_are_done_exist_and_claim_it() -> None:
    assert all(VERB_BY_WORD[word].reach is Reach.PROCESSES for word in DONE_ON_PROCESSES)


@pytest.mark.parametrize("word", LINK_WORDS)
async def test_each_fault_of_links_begins_and_ends_on_the_links_of_a_process(word: str) -> None:
    scenario = load_scenario(EXAMPLES / "faults" / f"{word}.yaml")
    async with two_hosts() as two:
        links: ProcessLinks = two.links
        mesh = LinksOfMesh(scenario, links.network)
        members = (*instances_of(scenario), *edges_of(scenario))
        places = [Place(name="control-plane", zone=scenario.zones[0], address="127.10.255.1")]
        places += [Place(name=m.name, zone=m.zone, address=f"127.10.8.{n + 1}") for n, m in enumerate(members)]
        mesh.places.update((place.name, place) for place in places)
        links.know(places)
        for entry in scenario.timeline:
            if entry.verb.reach is Reach.LINKS:
                active = entry.verb.begin(mesh, entry.title())
                assert not active.bit()
                active.end()
