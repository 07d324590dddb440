"""Routes: joining the rules of several route policies towards one destination, and the order in which they are tried.

Source: Kuma merges MeshHTTPRoute's `rules` by equal `matches`; the order is the Gateway API's (HTTPRouteRule). Pure.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import attrs

from mesh.config.matching import Item
from mesh.config.merging import merge
from mesh.resources.policy import Conf, RouteRule
from mesh.resources.resource import Resource

_PATH_RANK = {"Exact": 0, "PathPrefix": 1, "RegularExpression": 2}


@attrs.frozen(kw_only=True)
class MergedRule:
    """A rule merged from all those with equal matches; `items` are where they were written, the strongest last."""

    matches: tuple[Conf, ...]
    default: Conf
    items: tuple[Item, ...] = attrs.field(eq=False, repr=False)

    @property
    def route(self) -> Resource:
        """Return the policy that it is called after: settings for a MeshHTTPRoute are those of its strongest writer."""
        return self.items[-1].policy


@attrs.frozen(kw_only=True)
class RouteChoice:
    """One way to be matched, and the rule that acts then. Requests go by the first choice that matches."""

    match: Conf
    rule: MergedRule


def merged_rules(items: Iterable[Item]) -> tuple[MergedRule, ...]:
    """Merge the rules of items, which are in order, by their matches.

    Among rules the first wins while among policies the last does: so each list is gone through backwards, an equal
    rule takes the later place, and the result is turned round.
    """
    by_matches: dict[Hashable, list[tuple[Item, RouteRule]]] = {}
    for item in items:
        for rule in reversed(item.rules):
            key = _hashable(rule.matches)
            by_matches[key] = [*by_matches.pop(key, ()), (item, rule)]
    return tuple(_merged(written) for written in reversed(by_matches.values()))


def in_evaluation_order(rules: Iterable[MergedRule]) -> tuple[RouteChoice, ...]:
    """Split rules by their matches and sort them as the Gateway API asks; of equal ones the earlier rule comes first.

    Exact paths before prefixes, longer ones first, before regular expressions; then those with a method, with more
    headers, with more query parameters.
    """
    choices = [RouteChoice(match=match, rule=rule) for rule in rules for match in (rule.matches or ({},))]
    return tuple(sorted(choices, key=lambda choice: _precedence(choice.match)))


def _merged(written: list[tuple[Item, RouteRule]]) -> MergedRule:
    # An item may say the same twice; it wrote the rule once.
    items = tuple({id(item): item for item, _ in written}.values())
    return MergedRule(matches=written[0][1].matches, default=merge(rule.default for _, rule in written), items=items)


def _precedence(match: Conf) -> tuple[int, int, int, int, int]:
    path = match.get("path", {})
    kind = path.get("type", "")
    return (
        _PATH_RANK.get(kind, len(_PATH_RANK)),
        0 if kind == "Exact" else -len(path.get("value", "")),
        0 if "method" in match else 1,
        -len(match.get("headers", ())),
        -len(match.get("queryParams", ())),
    )


def _hashable(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, tuple | list):
        return tuple(_hashable(item) for item in value)
    hashable: Hashable = value
    return hashable
