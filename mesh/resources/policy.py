"""Policies: which proxies (`targetRef`), towards what (`to`) or by whom called (`rules`), and the settings (`default`).

A `default` is a mapping of what was written and nothing else, since policies are merged before defaults count; spans
in it are seconds, Kuma's IntOrString is a number. Source: Kuma `pkg/core/resources/apis/mesh/validators.go`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.resources.resource import LABELS, Kind
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record, Schema

Conf = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class TargetRef:
    """What a policy or one of its items is about. `section`: the name or number of a port or inbound."""

    kind: str = "Mesh"
    labels: Mapping[str, str] = attrs.field(factory=dict)
    section: str = ""


@attrs.frozen(kw_only=True)
class ToItem:
    """Settings for what the selected proxies send to `target`."""

    target: TargetRef
    default: Conf


@attrs.frozen(kw_only=True)
class Rule:
    """Settings for what the selected inbounds receive."""

    default: Conf


@attrs.frozen(kw_only=True)
class Policy:
    """The spec of every policy kind."""

    target: TargetRef = TargetRef()
    to: tuple[ToItem, ...] = ()
    rules: tuple[Rule, ...] = ()


_RETIRED_REF = {
    "name": "write labels: {kuma.io/display-name: NAME}",
    "namespace": "select by labels",
    "tags": "select by labels",
    "mesh": "a policy is about its own mesh",
    "proxyTypes": "select by labels",
}
_RETIRED_SPEC = {"from": "write `rules`; callers are matched by SPIFFE ID"}
_RETIRED_KINDS = {
    "MeshSubset": "is gone: write kind: Dataplane with labels",
    "MeshServiceSubset": "is gone: write kind: Dataplane with labels",
    "MeshGateway": "is gone: write kind: Dataplane with labels",
}
_NOT_YET = "is not supported yet"


def target_ref(kinds: tuple[str, ...], *, refused: Mapping[str, str], section: bool) -> Record:
    """Return the schema of a reference to one of `kinds`; `section`: whether one port or inbound can be meant."""

    def rules(ref: dict[str, Any]) -> Iterable[Problem]:
        kind, allows_section = ref["kind"], section and ref["kind"] != "Mesh"
        if kind == "Mesh" and ref.get("labels"):
            yield Problem(
                ("labels",), "'labels' cannot stand with kind: Mesh", "leave them out, or choose another kind"
            )
        if ref.get("sectionName") and not allows_section:
            yield Problem(
                ("sectionName",), "'sectionName' cannot stand here", "it names one port of a service or inbound"
            )
        if kind == "MeshService" and not ref.get("labels"):
            yield Problem((), "a MeshService is chosen by 'labels'", "write labels: {kuma.io/display-name: NAME}")

    return Record(
        {
            "kind": Field(OneOf(kinds, unsupported={**_RETIRED_KINDS, **refused}), required=True),
            "labels": LABELS,
            "sectionName": Text(what="the name or number of a port, as text"),
        },
        check=rules,
        build=lambda ref: TargetRef(kind=ref["kind"], labels=ref.get("labels", {}), section=ref.get("sectionName", "")),
        retired=_RETIRED_REF,
        what="a targetRef",
    )


def peer_match() -> Record:
    """Return the schema of a match on who calls."""
    spiffe_id = Record(
        {
            "type": Field(OneOf(tuple(kind.value for kind in MatchKind)), required=True),
            "value": Field(Text(what="a SPIFFE ID, or how one begins", pattern=r"spiffe://\S*"), required=True),
        }
    )
    sni = Record({"type": Field(OneOf(("Exact",)), required=True), "value": Field(Text(), required=True)})

    def build(match: dict[str, Any]) -> PeerMatch:
        who = match.get("spiffeID")
        return PeerMatch(
            spiffe_id_kind=MatchKind(who["type"]) if who else MatchKind.EXACT,
            spiffe_id=who["value"] if who else "",
            sni=match["sni"]["value"] if "sni" in match else "",
        )

    def some(match: dict[str, Any]) -> Iterable[Problem]:
        if not match:
            yield Problem((), "a match needs 'spiffeID' or 'sni'", "leave the match out to mean everybody")

    return Record({"spiffeID": spiffe_id, "sni": sni}, check=some, build=build)


def policy_kind(
    name: str,
    *,
    path: str,
    short: str,
    to: Record | None = None,
    rules: Record | None = None,
    exclusive: bool = True,
    check: Callable[[Policy], Iterable[Problem]] | None = None,
) -> Kind:
    """Define a policy by the settings of its `to` items, its `rules`, or both (`exclusive`: not both in one policy)."""
    fields: dict[str, Schema | Field] = {
        "targetRef": target_ref(
            ("Mesh", "Dataplane"),
            refused={"MeshService": "is gone at the top: select the proxies with kind: Dataplane and labels"},
            section=rules is not None,
        )
    }
    if to is not None:
        destination = target_ref(
            ("Mesh", "MeshService"),
            refused=dict.fromkeys(("MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"), _NOT_YET),
            section=True,
        )
        item = Record(
            {"targetRef": Field(destination, required=True), "default": Field(to, required=True)},
            build=lambda entry: ToItem(target=entry["targetRef"], default=entry["default"]),
        )
        fields["to"] = ListOf(item)
    if rules is not None:
        rule = Record(
            {"default": Field(rules, required=True)},
            build=lambda entry: Rule(default=entry["default"]),
            not_yet=("matches",),
        )
        fields["rules"] = ListOf(rule)

    def consistent(spec: dict[str, Any]) -> Iterable[Problem]:
        policy = _policy(spec)
        if not policy.to and not policy.rules:
            yield Problem((), f"a {name} needs at least one item in {' or '.join(list(fields)[1:])}")
        if exclusive and policy.to and policy.rules:
            yield Problem(("rules",), "'to' and 'rules' exclude each other", "write two policies")
        if policy.to and policy.target.section:
            yield Problem(("targetRef", "sectionName"), "'sectionName' selects inbounds: it cannot stand with 'to'")
        yield from check(policy) if check else ()

    spec = Record(fields, check=consistent, build=_policy, retired=_RETIRED_SPEC, what="the policy's spec")
    return Kind(name=name, path=path, short=short, spec=spec)


def _policy(spec: dict[str, Any]) -> Policy:
    return Policy(target=spec.get("targetRef", TargetRef()), to=spec.get("to", ()), rules=spec.get("rules", ()))
