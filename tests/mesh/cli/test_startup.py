"""What each verb loads: help is quick, and one verb does not pay for another."""

import json
import subprocess
import sys

import pytest

SLOW = ("trio", "cryptography", "structlog", "msgspec", "yaml", "mesh.runtime", "mesh.control", "sim")


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import json, sys\n"
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


@pytest.mark.parametrize("verb", ["run", "up", "control-plane", "sidecar", "generate"])
def test_verb_loads_no_other_verb(verb: str) -> None:
    others = {f"mesh.cli.{other}" for other in ("run", "up", "control_plane", "sidecar", "generate", "service")}
    loaded = modules_after(verb, "--help")
    assert loaded.intersection(others) == {f"mesh.cli.{verb.replace('-', '_')}"}
    assert ("sim" in loaded) is (verb in ("run", "up"))
