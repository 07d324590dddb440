"""Each package of mesh lists the names of its structlog events, and logs no others; no event text is built."""

import ast
import importlib
from pathlib import Path

import pytest

MESH = Path(__file__).parents[2] / "mesh"
PACKAGES = sorted(path.parent.name for path in MESH.glob("*/events.py"))
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged(tree: ast.AST) -> list[ast.expr]:
    """Return the first argument of each call of a logger."""
    return [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and ast.unparse(node.func.value).rpartition(".")[2].lstrip("_") == "log"
        and node.args
    ]


def trees(package: str) -> dict[str, ast.Module]:
    files = [file for file in sorted((MESH / package).rglob("*.py")) if file.name != "events.py"]
    return {str(file): ast.parse(file.read_text()) for file in files}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_logged_name_is_listed(package: str) -> None:
    names = importlib.import_module(f"mesh.{package}.events").EVENT_NAMES
    for file, tree in trees(package).items():
        for argument in logged(tree):
            assert not isinstance(argument, ast.JoinedStr), f"{file}:{argument.lineno} builds its event's name"
            if isinstance(argument, ast.Constant):
                assert argument.value in names, f"{file}:{argument.lineno}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_is_used(package: str) -> None:
    names = importlib.import_module(f"mesh.{package}.events").EVENT_NAMES
    used = {
        node.value
        for tree in trees(package).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(names) <= used
    assert len(names) == len(set(names))


def test_packages_without_a_list_log_nothing() -> None:
    for package in sorted(path.name for path in MESH.iterdir() if path.is_dir() and path.name not in PACKAGES):
        for file, tree in trees(package).items():
            assert not logged(tree), file
