"""The JSON Schema of scenario files as editors want it: all sections, with the verbs of the timeline."""

from sim.faults.catalogue import VERBS
from sim.scenario.schema import definitions
from sim.scenario.schema_parts import Schema, list_of, ref


def json_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of one `type: Scenario` document."""
    sections = definitions() | {verb.word: verb.schema() for verb in VERBS}
    scenario = dict(sections["scenario"])
    entry = {"anyOf": [ref(verb.word) for verb in VERBS]}
    scenario["properties"] = scenario["properties"] | {"timeline": list_of(entry)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of trio-mesh",
        **ref("scenario"),
        "$defs": sections | {"scenario": scenario},
    }
