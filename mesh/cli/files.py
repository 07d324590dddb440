"""Reading what operators hand over as files and folders: each failure names the file and what to do."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mesh.cli.inputs import Inputs
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import parse_documents
from mesh.resources.loading import load_resources
from mesh.resources.resource import Resource

STDIN = Path("-")
STDIN_NAME = "<stdin>"
RESOURCE_SUFFIXES = (".yaml", ".yml", ".json")

_MAPPING = re.compile(r"^[^#\n]*[:{]", re.MULTILINE)


def read_text(path: Path, *, what: str, hint: str = "") -> str:
    """Return a file's text. Raises: ConfigError, with `hint` on where to get the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot read {what}: {error.strerror}"
        raise ConfigError([Violation(file=str(path), message=message, hint=hint)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Violation(file=str(path), message=f"cannot read {what}: not UTF-8 text", hint=hint)]
        ) from error


def check_data_folder(path: Path, *, option: str = "--data") -> Path:
    """Return a folder that is there or can be made. Raises: ConfigError when a file stands in its place."""
    for place in (path, *path.parents):
        if place.exists():
            if place.is_dir():
                break
            raise ConfigError(
                [Violation(path=option, message=f"{place} is a file, not a folder", hint="name a folder or a new one")]
            )
    return path


def read_resources(paths: Sequence[Path]) -> list[Resource]:
    """Read resources from files, and from the YAML and JSON files of folders. Raises: ConfigError with all violations.

    Nothing in a file or a folder is a violation: a file cut short by accident would switch off everybody's mutual TLS.
    """
    inputs = Inputs()
    texts = gather_texts(inputs, paths)
    if not paths:
        inputs.refuse([_holds_no_resource("--resources")])
    resources = inputs.read(load_resources, texts)
    inputs.check()
    return resources.value


def gather_texts(inputs: Inputs, paths: Sequence[Path]) -> dict[str, str]:
    """Return `{file: text}` of files, of the YAML and JSON files of folders, and of standard input for `-`.

    What cannot be read, or holds nothing, is noted in `inputs`.
    """
    texts: dict[str, str] = {}
    for path in paths:
        files = inputs.read(_files_of, path)
        if not files.is_right:
            continue
        read = {_name_of(file): inputs.read(_read_resource_text, file) for file in files.value}
        if all(text.is_right and _is_empty(text.value) for text in read.values()):
            why = f"no {', '.join(RESOURCE_SUFFIXES)} file in it" if not read else ""
            inputs.refuse([_holds_no_resource(_name_of(path), why)])
        texts |= {file: text.value for file, text in read.items() if text.is_right}
    return texts


def read_dataplane(path: Path) -> tuple[Resource, dict[str, Any]]:
    """Read the one Dataplane of a file: checked, and as the JSON document that is sent. Raises: ConfigError."""
    resources = load_resources({str(path): read_text(path, what="the Dataplane")})
    if len(resources) != 1 or resources[0].kind != "Dataplane":
        kinds = ", ".join(resource.kind for resource in resources) or "nothing"
        raise ConfigError(
            [Violation(file=str(path), line=1, column=1, message=f"expects one Dataplane, found {kinds}")]
        )
    document: dict[str, Any] = json.loads(json.dumps(resources[0].written))
    return resources[0], document


def _files_of(path: Path) -> list[Path]:
    """Return the file itself, or the files of a folder that hold resources. Raises: ConfigError."""
    if str(path).startswith(("http:/", "https:/")):
        hint = "pipe it in: curl -sf URL | mesh apply -f -"
        url = str(path).replace(":/", "://", 1)  # A path has lost one slash.
        raise ConfigError([Violation(file=url, message="this is a URL, not a file", hint=hint)])
    if not path.is_dir():
        return [path]
    try:
        return sorted(file for file in path.iterdir() if file.suffix in RESOURCE_SUFFIXES)
    except OSError as error:
        raise ConfigError(
            [Violation(file=str(path), message=f"cannot read the resources: {error.strerror}")]
        ) from error


def _name_of(path: Path) -> str:
    return STDIN_NAME if path == STDIN else str(path)


def _read_resource_text(path: Path) -> str:
    if path != STDIN:
        return read_text(path, what="the resources")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigError([Violation(file=STDIN_NAME, message="cannot read the resources: not UTF-8 text")]) from error


def _is_empty(text: str) -> bool:
    """Is there no document in it: comments and separators alone?"""
    # A line like that of a mapping is enough: large files are not to be parsed twice.
    return not _MAPPING.search(text) and parse_documents(text, file="") == ([], [])


def _holds_no_resource(file: str, why: str = "") -> Violation:
    hint = "write at least one, as {type: Mesh, name: default}"
    return Violation(file=file, message=f"holds no resource{f': {why}' if why else ''}", hint=hint)
