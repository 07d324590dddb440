"""MeshProxyPatch: changes to Envoy's own configuration. Kept for proxies that are Envoy; ours are not."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Anything, OneOf, Text
from mesh.resources.schema import Check, Field, ListOf, MapOf, Problem, Record

_RESOURCE_OPERATIONS = ("Add", "Remove", "Patch")
_FILTER_OPERATIONS = ("Remove", "Patch", "AddFirst", "AddBefore", "AddAfter", "AddLast")

_JSON_PATCH = Record(
    {
        "op": Field(OneOf(("add", "remove", "replace", "move", "copy")), required=True),
        "path": Field(Text(what="a JSON pointer", pattern=r"(/.*)?", empty=True), required=True),
        "from": Text(what="a JSON pointer", pattern=r"(/.*)?", empty=True),
        "value": Anything(),
    }
)


def _by_operation(*, filters: bool) -> Check:
    def check(modification: dict[str, Any]) -> Iterable[Problem]:
        operation, match = modification["operation"], modification.get("match", {})
        given = [key for key in ("value", "jsonPatches") if key in modification]
        if operation == "Remove":
            if given:
                yield Problem((given[0],), f"'{given[0]}' cannot stand with operation: Remove")
        elif operation == "Patch":
            if len(given) != 1:
                yield Problem((), "needs either 'value' or 'jsonPatches'")
        elif given != ["value"]:
            yield Problem((), f"operation: {operation} needs 'value', and no 'jsonPatches'")
        if filters and operation in ("Patch", "AddBefore", "AddAfter") and "name" not in match:
            yield Problem((), "'match.name' is missing", f"operation: {operation} needs the name of a filter")
        if operation == "Add" and "match" in modification:
            yield Problem(("match",), "'match' cannot stand with operation: Add")

    return check


def _modification(operations: tuple[str, ...], *match: str, tags: str = "") -> Record:
    tagged = {tags: MapOf(Text(empty=True))} if tags else {}
    return Record(
        {
            "operation": Field(OneOf(operations), required=True),
            "match": Record({**{key: Text() for key in match}, **tagged}),
            "value": Text(what="YAML of an Envoy resource, as text", size_max=1_000_000),
            "jsonPatches": ListOf(_JSON_PATCH),
        },
        check=_by_operation(filters=operations is _FILTER_OPERATIONS),
    )


def _one(modification: dict[str, Any]) -> Iterable[Problem]:
    if len(modification) != 1:
        yield Problem((), f"needs exactly one of {', '.join(_MODIFICATIONS)}")


_FILTER = _modification(_FILTER_OPERATIONS, "name", "listenerName", "origin", tags="listenerTags")
_MODIFICATIONS = {
    "cluster": _modification(_RESOURCE_OPERATIONS, "name", "origin"),
    "listener": _modification(_RESOURCE_OPERATIONS, "name", "origin", tags="tags"),
    "networkFilter": _FILTER,
    "httpFilter": _FILTER,
    "virtualHost": _modification(_RESOURCE_OPERATIONS, "name", "origin", "routeConfigurationName"),
}

MESH_PROXY_PATCH = policy_kind(
    "MeshProxyPatch",
    path="meshproxypatches",
    short="mpp",
    whole=Record({"appendModifications": Field(ListOf(Record(_MODIFICATIONS, check=_one), size_min=1), required=True)}),
    dormant="our sidecars do not act on it: it patches Envoy's configuration, and they are not Envoy",
)
