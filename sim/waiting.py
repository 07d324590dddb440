"""Say what waits for what, for the report of a deadlock."""

import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import trio

from sim.host import Host

_SHOWN_MAX = 40
_FOLDER = Path(__file__).parent
_KERNEL = tuple(str(_FOLDER / name) for name in ("network", "reactor.py", "host.py", "world.py", "clock.py", "disk.py"))
_PARKING = (str(Path(trio.__file__).parent), str(_FOLDER.parent / "mesh" / "runtime" / "pump.py"), *_KERNEL)


def name_what_waits(nursery: trio.Nursery | None, hosts: Iterable[Host]) -> str:
    """Return a line for each task and pump, with the innermost place in the program that it waits at."""
    lines = [] if nursery is None else [f"  task {name} at {place}" for name, place in _tasks(nursery)]
    for host in hosts:
        if host.life is not None and host.life.alive:
            lines += [
                f"  pump {host.name}/{pump.name} at {_pump_place(pump.coroutine)}" for pump in host.life.reactor.pumps
            ]
    # Trio keeps tasks in sets.
    lines.sort()
    if len(lines) > _SHOWN_MAX:
        lines[_SHOWN_MAX:] = [f"  and {len(lines) - _SHOWN_MAX} more"]
    return "\n".join(["waiting:", *lines]) if lines else "nothing waits"


def _tasks(nursery: trio.Nursery) -> Iterator[tuple[str, str]]:
    for task in nursery.child_tasks:
        places = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in task.iter_await_frames()]
        if any(not _is_parking(filename) for filename, _, _ in places):
            yield task.name, _innermost(places)
        for child in task.child_nurseries:
            yield from _tasks(child)


def _pump_place(coroutine: Any) -> str:
    places = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if not isinstance(frame, types.FrameType):
            break
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return _innermost(places)


def _innermost(places: list[tuple[str, int, str]]) -> str:
    outside = [place for place in places if not _is_parking(place[0])] or places
    if not outside:
        return "its beginning"
    filename, line, function = outside[-1]
    return f"{filename}:{line} in {function}"


def _is_parking(filename: str) -> bool:
    return filename.startswith(_PARKING)
