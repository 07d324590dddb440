"""What each verb loads: help is quick, and one verb does not pay for another."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
from command_line import Mesh

from mesh.cli.main import SECTIONS, VERBS

SLOW = (
    *("trio", "attrs", "cryptography", "structlog", "msgspec", "yaml", "jwt", "rich", "starlette", "hypercorn", "apsw"),
    *("http.client", "ssl", "mesh.model.errors", "mesh.resources", "mesh.runtime", "mesh.control", "sim"),
)
CLIENTS = ("apply", "audit", "config", "delete", "diff", "export", "get", "inspect", "schema", "status")


def modules_after(*arguments: str, imports: Sequence[str] = ("sys",)) -> set[str]:
    code = (
        f"import json, sys, {', '.join(imports)}\n"
        "from mesh.cli.main import run\n"
        "assert run(json.loads(sys.argv[1])) == 0\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(ended.stderr))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_nothing_slow(arguments: list[str]) -> None:
    assert not modules_after(*arguments).intersection(SLOW)


def test_help_is_quick() -> None:
    """Measured against an interpreter that imports click alone: a loaded machine is slow at both."""

    def fastest_s(*arguments: str) -> float:
        spans = []
        for _ in range(5):
            began = time.monotonic()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            spans.append(time.monotonic() - began)
        return min(spans)

    assert fastest_s("-m", "mesh", "--help") < 2 * fastest_s("-c", "import click")


@pytest.mark.parametrize("verb", ["run", "up", "control-plane", "sidecar", "generate"])
def test_verb_loads_no_other_verb(verb: str) -> None:
    others = {module for module, _ in VERBS.values()}
    loaded = modules_after(verb, "--help")
    assert loaded.intersection(others) == {f"mesh.cli.{verb.replace('-', '_')}"}
    assert ("sim" in loaded) is (verb in ("run", "up"))


def test_verbs_that_only_ask_load_neither_actors_nor_cryptography() -> None:
    loaded = modules_after("inspect", "dataplanes", "--help", imports=[f"mesh.cli.{verb}" for verb in CLIENTS])
    slow = {"trio", "structlog", "cryptography", "starlette", "hypercorn", "mesh.control", "mesh.runtime", "sim"}
    assert not loaded.intersection(slow)


@pytest.mark.parametrize("verb", [verb for section in SECTIONS.values() for verb in section])
def test_every_verb_says_what_it_is_for(mesh: Mesh, verb: str) -> None:
    ended = mesh(verb, "--help")
    assert ended.code == 0
    assert "Example" in ended.stdout
