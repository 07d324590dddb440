"""Reads what a service of the operator's own code is: `actor` or `asgi`, `calls`, `counts`, `settings`."""

from collections.abc import Mapping
from pathlib import PurePath

import attrs

from mesh.resources.documents import Value
from sim.scenario.code import Code, CodeError, CodeKind
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.topology import ServiceKind

_OF_CODE = ("calls", "counts", "settings")


@attrs.frozen(kw_only=True)
class OwnCode:
    """The code of one service, if it has any, and what it asks for."""

    code: Code | None = None
    calls: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    settings: Mapping[str, Value] = attrs.field(factory=dict)


def read_code(entries: dict[str, Cursor], names: Names, kind: ServiceKind, folder: PurePath) -> OwnCode:
    """Read it from the entries of a service; modules are executed once, so that what is wrong with them is seen here."""
    kinds = [kind for kind in CodeKind if kind.value in entries]
    if not kinds:
        for key in _OF_CODE:
            if key in entries:
                entries[key].refuse(f"'{key}' is of services that are your own code", "add actor: module:Class")
        return OwnCode()
    if len(kinds) == 2:
        entries["asgi"].refuse("a service is an actor or an ASGI application, not both")
    _refuse_mixed(entries, kinds[0], kind)
    return OwnCode(
        code=_code(entries[kinds[0].value], kinds[0], folder),
        calls=tuple(names.refuse_unknown_service(c) for c in entries["calls"].elements()) if "calls" in entries else (),
        counts=tuple(element.name() for element in entries["counts"].elements()) if "counts" in entries else (),
        settings=_settings(entries["settings"]) if "settings" in entries else {},
    )


def _refuse_mixed(entries: dict[str, Cursor], code: CodeKind, kind: ServiceKind) -> None:
    if "endpoints" in entries:
        entries["endpoints"].refuse(f"an {code.value} service is its own code; it has no endpoints here")
    if "autoscale" in entries and (code is CodeKind.ACTOR or _metric(entries["autoscale"]) == "cpu"):
        message = "nobody can see how much foreign code computes" if code is CodeKind.ASGI else "an actor has no places"
        entries["autoscale"].refuse(message, "metric: busy" if code is CodeKind.ASGI else "use scale in the timeline")
    if kind.is_database or (code is CodeKind.ASGI and kind is not ServiceKind.HTTP):
        allowed = "http" if code is CodeKind.ASGI else "http or tcp"
        entries["kind"].refuse(f"your own code speaks {allowed}, not {kind.value}")


def _code(cursor: Cursor, kind: CodeKind, folder: PurePath) -> Code | None:
    module, colon, name = cursor.text().partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        if isinstance(cursor.value, str):
            example = "module:Class" if kind is CodeKind.ACTOR else "module:app"
            cursor.refuse(f"'{cursor.value}' does not say what to run", f"write {kind.value}: {example}")
        return None
    code = Code(kind=kind, module=module, name=name, folder=folder)
    try:
        code.load()
    except CodeError as error:
        cursor.refuse(str(error), error.hint)
    return code


def _settings(cursor: Cursor) -> Mapping[str, Value]:
    if not isinstance(cursor.value, dict):
        cursor.refuse_type("a mapping")
        return {}
    return dict(cursor.value)


def _metric(cursor: Cursor) -> Value:
    return cursor.value.get("metric") if isinstance(cursor.value, dict) else None
