"""Policies: which proxies (`targetRef`), towards what (`to`) or by whom called (`rules`), and the settings (`default`).

A `default` is a mapping of what was written and nothing else, since policies are merged before defaults count; spans
in it are seconds, Kuma's IntOrString is a number. Source: Kuma `pkg/core/resources/apis/mesh/validators.go`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from mesh.policy.authorization import PeerMatch
from mesh.resources.peer_match import peer_match
from mesh.resources.resource import Kind
from mesh.resources.schema import Field, ListOf, Problem, Record, Schema
from mesh.resources.target_ref import ANY_DESTINATION, TargetRef, target_ref

Conf = Mapping[str, Any]

GATEWAYS_ONLY = "'to' is kept, but it is for delegated gateways, and sidecars do not act on it"


@attrs.frozen(kw_only=True)
class RouteRule:
    """One route: the requests that it is for (none: all), as they were written, and what becomes of them."""

    matches: tuple[Conf, ...] = ()
    default: Conf


@attrs.frozen(kw_only=True)
class ToItem:
    """Settings for what the selected proxies send to `target`; route kinds have `rules` in the place of `default`."""

    target: TargetRef
    default: Conf = attrs.field(factory=dict)
    rules: tuple[RouteRule, ...] = ()


@attrs.frozen(kw_only=True)
class Rule:
    """Settings for what the selected inbounds receive from callers that fit one of `matches` (none: from everybody)."""

    matches: tuple[PeerMatch, ...] = ()
    default: Conf


@attrs.frozen(kw_only=True)
class Policy:
    """The spec of every policy kind. `default` are the settings of those that concern a proxy as a whole."""

    target: TargetRef = TargetRef()
    to: tuple[ToItem, ...] = ()
    rules: tuple[Rule, ...] = ()
    default: Conf = attrs.field(factory=dict)


PolicyCheck = Callable[[Policy], Iterable[Problem]]


def policy_kind(
    name: str,
    *,
    path: str,
    short: str,
    to: Schema | None = None,
    to_kinds: tuple[str, ...] = ANY_DESTINATION,
    routes: Record | None = None,
    routes_max: int = 0,
    retired_in_to: Mapping[str, str] | None = None,
    rules: Schema | None = None,
    matches: Field | None = None,
    whole: Schema | None = None,
    top_kinds: tuple[str, ...] = ("Mesh", "Dataplane"),
    exclusive: bool = True,
    check: PolicyCheck | None = None,
    dormant: str = "",
) -> Kind:
    """Define a policy by what may stand in its parts.

    `to`: the settings of its `to` items, which may be about `to_kinds`; `routes`: one rule of such an item instead,
    of which there may be `routes_max` (0: any number).
    `rules`: the settings of its inbound rules; `matches`: who is meant by one, see `peers`. `whole`: its `default`.
    `exclusive`: Kuma wants `to` and `rules` in two policies.
    """
    fields: dict[str, Schema | Field] = {"targetRef": target_ref(top_kinds, section=rules is not None, top=True)}
    destination = Field(target_ref(to_kinds, section=True), required=True)
    if to is not None:
        fields["to"] = ListOf(Record({"targetRef": destination, "default": Field(to, required=True)}, build=_to_item))
    if routes is not None:
        several = Field(ListOf(routes, size_max=routes_max), required=True)
        item = Record({"targetRef": destination, "rules": several}, build=_to_item, retired=retired_in_to or {})
        fields["to"] = ListOf(item)
    if rules is not None:
        who = {} if matches is None else {"matches": matches}
        fields["rules"] = ListOf(Record({**who, "default": Field(rules, required=True)}, build=_rule))
    if whole is not None:
        fields["default"] = Field(whole, required=True)
    parts = [part for part in ("to", "rules") if part in fields]

    def consistent(spec: dict[str, Any]) -> Iterable[Problem]:
        policy = _policy(spec)
        if parts and not policy.to and not policy.rules:
            yield Problem((), f"a {name} needs at least one item in {' or '.join(parts)}")
        if exclusive and policy.to and policy.rules:
            # As Kuma; some of its own examples of merging have both, and then each part counts by itself.
            yield Problem(("rules",), "'to' and 'rules' exclude each other", "write two policies", tolerable=True)
        if policy.to and policy.target.section:
            yield Problem(("targetRef", "sectionName"), "'sectionName' selects inbounds: it cannot stand with 'to'")
        yield from check(policy) if check else ()

    return Kind(
        name=name,
        path=path,
        short=short,
        spec=Record(fields, check=consistent, build=_policy, retired=_RETIRED, what="the policy's spec"),
        policy=True,
        has_to="to" in fields,
        has_rules="rules" in fields,
        dormant=dormant,
    )


def peers() -> Field:
    """Return the `matches` of a rule: whom it is about."""
    return Field(ListOf(peer_match()))


_RETIRED = {"from": "write `rules`; callers are matched by SPIFFE ID"}


def _to_item(entry: dict[str, Any]) -> ToItem:
    return ToItem(target=entry["targetRef"], default=entry.get("default", {}), rules=entry.get("rules", ()))


def _rule(entry: dict[str, Any]) -> Rule:
    return Rule(matches=entry.get("matches", ()), default=entry["default"])


def _policy(spec: dict[str, Any]) -> Policy:
    return Policy(
        target=spec.get("targetRef", TargetRef()),
        to=spec.get("to", ()),
        rules=spec.get("rules", ()),
        default=spec.get("default", {}),
    )
