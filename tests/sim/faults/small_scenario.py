"""A scenario of two zones, two services and one outside the mesh, with a timeline of one's own."""

from pathlib import Path

import attrs

from mesh.model.errors import ConfigError
from mesh.resources.documents import Document, Value, parse_documents
from sim.assembly import SimulatedMesh
from sim.checks.evidence import Evidence
from sim.faults.links import links_of
from sim.scenario.draw import STRENGTH_MAX, Draw
from sim.scenario.loader import parse_scenario
from sim.scenario.names import Names
from sim.scenario.scenario import Scenario
from sim.scenario.verb import Verb
from sim.workload.observations import ServiceTally, UserLog
from sim.world import World

TEXT = """
type: Scenario
format: 1
name: small
duration: 60s
zones: [east, west]
network: {default: {latency: 1ms}}
services:
  shop: {instances: {east: 2}, endpoints: {POST /order: {steps: [{call: bank POST /charge}]}}}
  stock: {instances: {west: 1}, endpoints: {GET /: {steps: [{work: 2ms}]}}}
  bank: {external: api.bank.example, instances: {west: 1}, endpoints: {POST /charge: {steps: [{work: 2ms}]}}}
timeline: [TIMELINE]
"""


def scenario_with(entry: str) -> Scenario:
    """Return the scenario with one entry of a timeline, as YAML. Raises: ConfigError."""
    return parse_scenario(TEXT.replace("TIMELINE", entry), file="small.yaml", folder=Path())


def verb_of(entry: str) -> Verb:
    """Read one entry."""
    return scenario_with(entry).timeline[0].verb


def refusal_of(entry: str) -> str:
    """Return what is said against an entry."""
    try:
        scenario_with(entry)
    except ConfigError as error:
        return "\n".join(str(violation) for violation in error.violations)
    raise AssertionError(f"{entry} was read")


def small_mesh(entry: str) -> SimulatedMesh:
    """Build the mesh; nothing runs."""
    scenario = scenario_with(entry)
    world = World(seed=1, network=links_of(scenario.network))
    return SimulatedMesh(
        scenario, world, Evidence(scenario=scenario, ended_s=60.0, users=UserLog(), services=ServiceTally())
    )


def drawn_entries(verb: type[Verb], *, without: str = "") -> list[dict[str, Value] | None]:
    """Return what the fuzzer gets for every strength and some places; `without`: a service that is not there."""
    documents, _ = parse_documents(TEXT.replace("TIMELINE", ""), file="small.yaml")
    data = _data(documents)
    services = data["services"]
    assert isinstance(services, dict)
    services.pop(without, None)
    names = Names.of(data)
    return [
        verb.drawn(Draw(names=names, place=place, strength=strength))
        for strength in range(STRENGTH_MAX + 1)
        for place in range(4)
    ]


def _data(documents: list[Document]) -> dict[str, Value]:
    data = documents[0].data
    assert isinstance(data, dict)
    return data


def written(keys: dict[str, Value]) -> str:
    """Return the entry that the fuzzer's keys make, as YAML (JSON is YAML)."""
    parts = [f"{key}: {_yaml(value)}" for key, value in {"at": "1s", **keys}.items()]
    return "{" + ", ".join(parts) + "}"


def _yaml(value: Value) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(element) for element in value) + "]"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def with_fields(verb: Verb, **fields: object) -> Verb:
    """Return a verb with other fields."""
    return attrs.evolve(verb, **fields)  # type: ignore[misc]  # every verb is an attrs value
