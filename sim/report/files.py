"""Writes the files of a run into a folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from mesh.model.errors import ConfigError, Violation
from sim.report.edge_file import edge_file
from sim.report.event_lines import event_lines
from sim.report.html import page_of
from sim.report.junit import junit_of
from sim.report.material import Material
from sim.report.traces import trace_lines


def _result(material: Material) -> bytes:
    return msgspec.json.format(msgspec.json.encode(material.result.to_json()), indent=2) + b"\n"


_WRITERS: Mapping[str, Callable[[Material], bytes | Iterable[bytes]]] = {
    "result.json": _result,
    "junit.xml": lambda material: junit_of(material.result),
    "events.jsonl": event_lines,
    "edges.json": edge_file,
    "traces.otlp.jsonl": trace_lines,
    "report.html": page_of,
}


def wanted_files(names: Sequence[str]) -> tuple[str, ...]:
    """Return the files that a scenario's `save` stands for: none named, all there are."""
    return tuple(names) or tuple(_WRITERS)


def save(material: Material, folder: Path, names: Sequence[str]) -> None:
    """Write the named files into a folder, which is made. Raises: ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            content = _WRITERS[name](material)
            with (folder / name).open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
    except OSError as error:
        message = f"cannot write the run's files: {error.strerror}"
        raise ConfigError([Violation(message=message, file=str(folder))]) from error
