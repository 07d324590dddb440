"""`mesh faults` and `mesh schema Scenario`: what a timeline can do, from the verbs themselves."""

import json

import pytest

from mesh.cli.main import run
from sim.faults.catalogue import VERBS


def test_every_verb_is_listed(capsys):
    assert run(["faults", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {entry["verb"] for entry in listed} == {verb.word for verb in VERBS}
    assert run(["faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(VERBS) + 1
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.word)
def test_every_verb_explains_itself(verb, capsys):
    assert run(["faults", verb.word]) == 0
    told = capsys.readouterr().out
    assert f"`{verb.word}" in told.splitlines()[0]
    assert len(told.splitlines()) >= 5
    assert verb.reach.value in told


def test_unknown_verb_is_refused_with_a_suggestion(capsys):
    assert run(["faults", "partitoin"]) == 2
    assert "did you mean 'partition'?" in capsys.readouterr().err


def test_schema_of_scenarios_is_printed(capsys):
    assert run(["schema", "Scenario"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "partition" in schema["$defs"]
