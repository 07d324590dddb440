"""`--set path=value`: change a scenario before it is judged, as if the file had said so.

What is set is there, or one of the keys that its section may have. A path is written like the paths of error messages:
`services.payment.concurrency`, `workload.shoppers.rate[0].to`;
a rate stage may be called by its name: `workload.shoppers.rate.peak`, or `shoppers.peak` for short.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path, Value, load_documents, suggest
from sim.scenario.schema import keys

_PART = re.compile(r"\.?([^.\[\]]+)|\[([^\[\]]+)\]")


def override(document: Document, settings: Iterable[str], violations: list[Violation]) -> Document:
    """Return the document with `path=value` settings carried out; what is wrong with a setting is noted."""
    data = document.data
    for setting in settings:
        place, equals, text = setting.partition("=")
        where = f"--set {place}"
        if not equals or not place:
            violations.append(_violation(f"--set {setting}", "write --set path=value"))
            continue
        path = resolve(data, place, refuse=partial(_refuse, violations, where))
        if path is not None:
            data = replaced(data, path, _value(text, where))
    return Document(document.file, data, document.positions, document.origins)


def _value(text: str, where: str) -> Value:
    """Read a value as the file would be read. Raises: ConfigError (YAML traps)."""
    documents = load_documents(text, file=where)
    return documents[0].data if documents else None


def resolve(data: Value, place: str, *, refuse: Callable[[str, str], None], adds: bool = False) -> Path | None:
    """Return the path of a value, or refuse what does not exist: with a message and a hint.

    A key that a section of settings may have need not be there; with `adds` no key need be that ends the path.
    """
    parts = [match[1] or match[2] for match in _PART.finditer(place)]
    if "".join(match[0] for match in _PART.finditer(place)) != place:
        refuse("is not a path", "write it like services.web.queue or rate[0].to")
        return None
    if isinstance(data, dict) and parts[0] not in data and parts[0] in _keys(data.get("workload")):
        parts = ["workload", parts[0], "rate", *parts[1:]]
    path: list[str | int] = []
    value = data
    # Keys may hold dots and slashes (`GET /a.b` in brackets), so parts are looked up one by one.
    for number, part in enumerate(parts):
        step = _step(value, part)
        if step is None:
            allowed = _allowed_keys(tuple(path))
            if isinstance(value, dict) and (adds or part in allowed) and number == len(parts) - 1:
                return (*path, part)
            known = [*_keys(value), *(key for key in allowed if key not in _keys(value))]
            hint = suggest(part, known) or (f"there: {', '.join(known)}" if known else "")
            refuse(f"there is no '{part}'", hint)
            return None
        path += step
        for key in step:
            value = value[key]  # type: ignore[index]  # `_step` took the keys from the value
    return tuple(path)


def _step(value: Value, part: str) -> Path | None:
    if isinstance(value, dict) and part in value:
        return (part,)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return (int(part),)
    if isinstance(value, list):
        for index, element in enumerate(value):
            if isinstance(element, dict) and element.get("as") == part and "to" in element:
                return (index, "to")
            if isinstance(element, dict) and element.get("name") == part:
                return (index,)
    return None


def _allowed_keys(path: Path) -> tuple[str, ...]:
    """Return the keys that a section of settings may have, written or not."""
    match path:
        case ():
            return keys("scenario")
        case ("services", _):
            return keys("service")
        case ("services", _, "endpoints", _):
            return keys("endpoint")
        case ("workload", _):
            return tuple(dict.fromkeys((*keys("open"), *keys("closed"))))
        case ("network", "default"):
            return keys("link_model")
        case ("control_plane",):
            return keys("control_plane")
        case ("phases",):
            return keys("phases")
        case _:
            return ()


def _keys(value: Value) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, list):
        return [str(index) for index in range(len(value))]
    return []


def replaced(value: Value, path: Path, new: Value) -> Value:
    """Return a value with another one in the place of what is at `path` in it, or should be."""
    if not path:
        return new
    if isinstance(value, dict):
        assert isinstance(path[0], str)
        return {**value, path[0]: replaced(value.get(path[0]), path[1:], new)}
    assert isinstance(value, list)
    return [replaced(old, path[1:], new) if index == path[0] else old for index, old in enumerate(value)]


def _refuse(violations: list[Violation], where: str, message: str, hint: str) -> None:
    violations.append(_violation(where, message, hint))


def _violation(where: str, message: str, hint: str = "") -> Violation:
    return Violation(message=message, path=where, hint=hint)
