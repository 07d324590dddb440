"""`mesh`: unknown words get suggestions, what fails has its exit code, and our own bugs show their traceback."""

import subprocess
import sys

import click
import pytest
from command_line import Mesh

from mesh.cli import main as main_module
from mesh.cli.failures import CommandFailed
from mesh.model.errors import ConfigError, IdentityError, Violation


def test_unknown_verb_gets_a_suggestion(mesh: Mesh) -> None:
    ended = mesh("aply")
    assert ended.code == 2
    assert "no command 'aply'. did you mean 'apply'?" in ended.stderr


def test_help_names_every_verb_but_the_hidden(mesh: Mesh) -> None:
    text = mesh("--help").stdout
    for verb in main_module.VERBS:
        assert (f"\n  {verb} " in text) is (verb not in main_module.HIDDEN)


CONFIG = ConfigError([Violation(message="wrong", hint="write it right")])


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (CONFIG, 2, "error: wrong (write it right)\n"),
        (IdentityError("who?"), 2, "error: who?\n"),
        (CommandFailed("away", hint="wait"), 1, "error: away (wait)\n"),
        (
            BaseExceptionGroup("", [CONFIG, ExceptionGroup("", [CommandFailed("away")])]),
            2,
            "error: wrong (write it right)\nerror: away\n",
        ),
        (BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()]), 130, ""),
        (KeyboardInterrupt(), 130, "\n"),
        (click.UsageError("no"), 2, "Usage: mesh schema [OPTIONS]\nTry 'mesh schema --help' for help.\n\nError: no\n"),
    ],
)
def test_each_failure_has_its_exit_code(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, stderr: str
) -> None:
    @click.command("schema")
    def failing() -> None:
        raise error

    monkeypatch.setattr("mesh.cli.schema.command", failing)
    ended = mesh("schema")
    assert (ended.code, ended.stderr) == (code, stderr)


def test_our_own_bug_is_three_with_a_traceback() -> None:
    code = (
        "import mesh.cli.schema as schema, click, mesh.cli.main as main\n"
        "@click.command('schema')\n"
        "def bug(): raise RuntimeError('a bug')\n"
        "schema.command = bug\n"
        "main.main(['schema'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "RuntimeError: a bug" in ended.stderr


def test_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m mesh schema MeshRetry | head -c 1 > /dev/null"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
