"""Joining the settings of several policies into one: what comes later wins, part by part. Pure.

Source: RFC 7396 (JSON Merge Patch) on each policy's `default`, as Kuma merges: mappings are merged, scalars and lists
replaced; nulls, which would remove, cannot be written. Lists under keys that start with `append` are joined.
It works alike on parsed settings, whose lists are tuples, and on JSON. Routes are merged in `mesh.config.routes`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.policy.authorization import PeerMatch, Permissions
from mesh.resources.policy import Conf

_JOINED_PREFIX = "append"


def merge(confs: Iterable[Conf]) -> Conf:
    """Merge settings from first to last; the given ones stay as they are."""
    merged: dict[str, Any] = {}
    for conf in confs:
        merged = _patched(merged, conf)
    return merged


def permissions(rules: Iterable[tuple[str, Conf]]) -> Permissions:
    """Join permissions, which are not merged: whoever is denied by one rule is denied, whatever others allow.

    Each rule comes with the name of its policy, which its entries carry on; "" leaves them as they were written.
    """
    lists: dict[str, list[PeerMatch]] = {"deny": [], "allowWithShadowDeny": [], "allow": []}
    for origin, conf in rules:
        for name, peers in lists.items():
            peers += (attrs.evolve(peer, origin=origin) for peer in conf.get(name, ()))
    return Permissions(
        deny=tuple(lists["deny"]),
        allow_with_shadow_deny=tuple(lists["allowWithShadowDeny"]),
        allow=tuple(lists["allow"]),
    )


def _patched(target: Conf, patch: Conf) -> dict[str, Any]:
    result = dict(target)
    for key, value in patch.items():
        before = result.get(key)
        if isinstance(value, Mapping):
            result[key] = _patched(before if isinstance(before, Mapping) else {}, value)
        elif key.startswith(_JOINED_PREFIX) and isinstance(before, tuple | list):
            result[key] = type(before)([*before, *value])
        else:
            result[key] = value
    return result
