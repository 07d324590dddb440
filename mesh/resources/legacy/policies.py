"""2.14's policies: `from` items, which are rules now, and references in all of their parts."""

import copy
from typing import Any

from mesh.resources.documents import Path
from mesh.resources.legacy.references import SERVICE, rewrite_destination, rewrite_top
from mesh.resources.legacy.rewriting import Rewriting
from mesh.resources.resource import DISPLAY_NAME

_SPEC: Path = ("spec",)
_FROM: Path = ("spec", "from")
_RULES: Path = ("spec", "rules")
_TOP: Path = ("spec", "targetRef")
# Kinds in which `to` and `rules` exclude each other, though `to` and `from` did not.
_EXCLUSIVE = ("MeshTimeout", "MeshAccessLog", "MeshRateLimit")

# Stands for callers that were refused, so that the rest can be checked.
_SOMEBODY = [{"spiffeID": {"type": "Exact", "value": "spiffe://somebody"}}]


def rewrite_policy(rewriting: Rewriting) -> None:
    """Rewrite what all policies share."""
    _proxy_types(rewriting)
    rewrite_top(rewriting, _TOP)
    _from(rewriting)
    for index, item in enumerate(rewriting.sequence(("spec", "to"))):
        if isinstance(item, dict):
            rewrite_destination(rewriting, ("spec", "to", index, "targetRef"))
            _backends(rewriting, ("spec", "to", index, "rules"))


def _proxy_types(rewriting: Rewriting) -> None:
    """Leave out proxy types that leave nobody out: gateways have no inbounds."""
    types = rewriting.mapping(_TOP).get("proxyTypes")
    if not isinstance(types, list) or "Sidecar" not in types:
        return
    if "Gateway" in types or "to" not in rewriting.mapping(_SPEC):
        rewriting.take((*_TOP, "proxyTypes"))
        rewriting.warn((*_TOP, "proxyTypes"), "'proxyTypes' is gone since Kuma 3.0", "rewritten: left out")


def _from(rewriting: Rewriting) -> None:
    items = rewriting.at(_FROM)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return
    if "rules" in rewriting.mapping(_SPEC):
        return
    rules: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        rule = {key: value for key, value in item.items() if key != "targetRef"}
        callers = _callers(rewriting, index, item.get("targetRef"))
        if callers and rewriting.kind != "MeshTrafficPermission":
            rule["matches"] = callers
        elif callers:
            rule["callers"] = callers  # Its lists name callers: see `permissions`.
        rules.append(rule)
    rewriting.take(_FROM)
    rewriting.put(_RULES, rules, origin=_FROM)
    rewriting.warn(_FROM, "'from' is gone since Kuma 3.0", "rewritten: rules")
    if rewriting.kind == "MeshRateLimit" and rewriting.mapping(_TOP).get("kind", "Mesh") == "Mesh":
        rewriting.put(_TOP, {"kind": "Dataplane"}, origin=_TOP)
        rewriting.warn(_TOP, "rules of a MeshRateLimit select Dataplanes", "rewritten: targetRef: {kind: Dataplane}")
    if rewriting.kind in _EXCLUSIVE and rewriting.sequence(("spec", "to")):
        _split(rewriting)


def _callers(rewriting: Rewriting, index: int, ref: Any) -> list[dict[str, Any]]:
    """Return the matches that mean 2.14's callers; none: everybody. What cannot be said so is refused."""
    if not isinstance(ref, dict) or ref.get("kind", "Mesh") == "Mesh":
        return []
    tags = ref.get("tags") or {}
    service = ref.get("name") or (tags.get(SERVICE) if isinstance(tags, dict) and set(tags) == {SERVICE} else None)
    known = isinstance(service, str) and "_" not in service
    if known and rewriting.mesh in rewriting.mtls_meshes:
        # The identities that `mtls` is rewritten to are 2.14's own.
        return [{"spiffeID": {"type": "Exact", "value": f"spiffe://{rewriting.mesh}/{service}"}}]
    match = f"{{spiffeID: {{type: Exact, value: spiffe://TRUST-DOMAIN/workload/{service if known else 'NAME'}}}}}"
    lists = rewriting.kind == "MeshTrafficPermission"
    example = (
        f"rules: [{{default: {{allow: [{match}]}}}}]" if lists else f"rules: [{{matches: [{match}], default: ...}}]"
    )
    rewriting.refuse(
        (*_FROM, index, "targetRef"),
        "callers are matched by SPIFFE ID, which cannot be told from this",
        f"write {example}",
    )
    return _SOMEBODY if lists else []


def _split(rewriting: Rewriting) -> None:
    """Move the rules to a policy of their own, which ranks as this one does: by its display name."""
    beside = copy.deepcopy(rewriting.data)
    rewriting.take(_RULES)
    beside["spec"].pop("to")
    beside["name"] = f"{rewriting.name}-rules"
    beside["labels"] = {**(beside.get("labels") or {}), DISPLAY_NAME: rewriting.name}
    rewriting.add_beside(
        beside, {("name",): ("name",), ("labels", DISPLAY_NAME): ("name",), _RULES: _FROM}, copied=True
    )
    rewriting.warn(_FROM, "'to' and 'rules' exclude each other", f"rewritten: a second policy '{beside['name']}'")


def _backends(rewriting: Rewriting, path: Path) -> None:
    for index, rule in enumerate(rewriting.sequence(path)):
        place = (*path, index, "default")
        if not isinstance(rule, dict):
            continue
        for number, _ in enumerate(rewriting.sequence((*place, "backendRefs"))):
            rewrite_destination(rewriting, (*place, "backendRefs", number))
        for number, _ in enumerate(rewriting.sequence((*place, "filters"))):
            rewrite_destination(rewriting, (*place, "filters", number, "requestMirror", "backendRef"))
