"""The JSON Schema for editors."""

import json
from pathlib import Path

from mesh.resources.documents import load_documents
from sim.faults.catalogue import VERBS
from sim.scenario.json_schema import json_schema

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples"


def violations(schema, value, whole, path="$"):
    """A naive validator of the part of JSON Schema that ours uses."""
    if schema is True:
        return []
    if "$ref" in schema:
        named = whole["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return violations({**named, **{k: v for k, v in schema.items() if k != "$ref"}}, value, whole, path)
    if "anyOf" in schema:
        if any(not violations(choice, value, whole, path) for choice in schema["anyOf"]):
            return []
        return [f"{path}: fits none"]
    if "const" in schema:
        return [] if value == schema["const"] else [f"{path}: not {schema['const']}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: not one of {schema['enum']}"]
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return [f"{path}: not {schema['type']}"]
    found = []
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{path}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, entry in value.items():
            rule = properties.get(name, others)
            found += [f"{path}.{name}: unknown"] if rule is False else violations(rule, entry, whole, f"{path}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for number, entry in enumerate(value):
            found += violations(schema["items"], entry, whole, f"{path}[{number}]")
    return found


def test_examples_fit_the_schema():
    schema = json_schema()
    files = [EXAMPLES / "retailer.yaml", EXAMPLES / "first.yaml", *sorted((EXAMPLES / "policies").glob("*.yaml"))]
    scenarios = [load_documents(path.read_text(), file=path.name)[0] for path in files]
    scenarios = [document for document in scenarios if document.data["type"] == "Scenario"]
    assert len(scenarios) > 30
    for document in scenarios:
        assert violations(schema, document.data, schema) == [], document.file


def test_schema_refuses_unknown_keys():
    schema = json_schema()
    text = (EXAMPLES / "first.yaml").read_text()
    document = load_documents(text, file="x")[0]
    assert violations(schema, {**document.data, "sevices": {}}, schema) == ["$.sevices: unknown"]


def test_schema_is_json_and_every_reference_leads_somewhere():
    text = json.dumps(json_schema())
    names = set(json_schema()["$defs"])
    for part in text.split('"#/$defs/')[1:]:
        assert part.split('"')[0] in names


def test_every_verb_has_a_section_and_its_own_word():
    sections = json_schema()["$defs"]
    assert all(verb.word in sections[verb.word]["properties"] for verb in VERBS)
    assert len({verb.word for verb in VERBS}) == len(VERBS)
