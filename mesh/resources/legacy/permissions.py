"""2.14's MeshTrafficPermission: one action for the callers of an item; now three lists of callers."""

from mesh.resources.legacy.policies import rewrite_policy
from mesh.resources.legacy.rewriting import Rewriting

_LIST_BY_ACTION = {"Allow": "allow", "AllowWithShadowDeny": "allowWithShadowDeny", "Deny": "deny"}
_EVERYBODY = [{"spiffeID": {"type": "Prefix", "value": "spiffe://"}}]


def rewrite_permission(rewriting: Rewriting) -> None:
    """Rewrite actions to lists."""
    rewrite_policy(rewriting)
    _denied_to_all_but(rewriting)
    for index, rule in enumerate(rewriting.sequence(("spec", "rules"))):
        if not isinstance(rule, dict):
            continue
        callers = rule.pop("callers", _EVERYBODY)
        path = ("spec", "rules", index, "default", "action")
        name = _LIST_BY_ACTION.get(str(rewriting.at(path)))
        if name is None:
            continue
        rewriting.take(path)
        rewriting.put((*path[:-1], name), callers, origin=path)
        wins = "; a deny wins over every allow since 3.0, whatever else is written" if name == "deny" else ""
        rewriting.warn(path, "'action' is gone since Kuma 3.0", f"rewritten: the list '{name}'{wins}")


def _denied_to_all_but(rewriting: Rewriting) -> None:
    """Refuse a deny for everybody beside an allow: 2.14 followed the more specific one, 3.0 lets every deny win."""
    rules = [rule for rule in rewriting.sequence(("spec", "rules")) if isinstance(rule, dict)]
    actions = [
        (rewriting.at(("spec", "rules", index, "default", "action")), "callers" in rule)
        for index, rule in enumerate(rules)
    ]
    if not any(action in ("Allow", "AllowWithShadowDeny") for action, _ in actions):
        return
    for index, (action, some) in enumerate(actions):
        if action == "Deny" and not some:
            hint = "leave this item out: who is not allowed is denied"
            path = ("spec", "rules", index, "default", "action")
            rewriting.refuse(path, "since Kuma 3.0 a deny for everybody wins over every allow", hint)
