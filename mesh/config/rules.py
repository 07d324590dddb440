"""Inspection: what the policies among some resources come to for one proxy, and who wrote it. Pure; works on files alone.

The order and the merging are those that configurations are built with; only the settings stay JSON, as Kuma writes them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from mesh.config.dangling import left_out, without_backend, without_target
from mesh.config.destinations import Candidate, Candidates, candidates_of
from mesh.config.inbound_rules import (
    EACH_ACTS,
    EVERYBODY,
    MERGED_BY_CALLER,
    Entry,
    by_caller,
    entries_at,
    for_everybody,
)
from mesh.config.matching import MESH, TO_KINDS, Item, Section, items_in_order, listener_sections
from mesh.config.merging import merge
from mesh.config.policies import ItemIndex, PolicyIndex
from mesh.config.proxy_rules import (
    InboundPolicy,
    InboundRule,
    InboundRules,
    Matched,
    Origin,
    ProxyRules,
    RouteRules,
    ToRules,
    WholeRules,
)
from mesh.config.routes import MergedRule, in_evaluation_order, merged_rules
from mesh.model.errors import ConfigError, Violation
from mesh.policy.authorization import PeerMatch
from mesh.resources.dataplane import Dataplane
from mesh.resources.documents import suggest
from mesh.resources.policy import Conf, Policy, RouteRule
from mesh.resources.resource import Resource
from mesh.resources.writing import canonical_spec

_HTTP_ROUTE, _TCP_ROUTE = "MeshHTTPRoute", "MeshTCPRoute"
_NAMES_SHOWN_MAX = 5

Policies = tuple[Resource, ...]


def inspect_rules(resources: Iterable[Resource], proxy: str, *, mesh: str = "", shadow: bool = False) -> ProxyRules:
    """Return what the policies come to for a proxy, whose Dataplane is among the resources.

    `mesh` can be left out where only one has such a Dataplane. `shadow`: as if the shadow policies were not.
    Raises: ConfigError where there is no such Dataplane.
    """
    known = tuple(resources)
    dataplane = _find(known, proxy, mesh)
    mesh = dataplane.mesh
    own = tuple(resource for resource in known if resource.mesh == mesh)
    spec = dataplane.spec_as(Dataplane)
    index = PolicyIndex.of(own, mesh=mesh, shadow=shadow)
    matched = {kind: index.policies(kind, index.select(kind, dataplane, spec.inbounds)) for kind in sorted(index.kinds)}
    by_kind = {kind: tuple(map(_in_json, policies)) for kind, policies in matched.items() if policies}
    candidates = candidates_of(own, mesh=mesh)
    sections: tuple[Section, ...] = (*spec.inbounds, *listener_sections(spec))
    to: list[ToRules] = []
    warnings: list[Violation] = []
    for kind, policies in by_kind.items():
        items = items_in_order(policies)
        to += _to(kind, items, candidates, mesh)
        warnings += [*without_target(items, candidates), *without_backend(items, candidates)]
    return ProxyRules(
        mesh=mesh,
        name=proxy,
        matched=tuple(Matched(policy=kind, origins=_written(policies)) for kind, policies in by_kind.items()),
        to=tuple(to),
        inbound=tuple(_inbound(section, by_kind) for section in sections),
        proxy=tuple(_whole(by_kind)),
        warnings=tuple(sorted([*warnings, *(() if shadow else left_out(own))], key=lambda warning: warning.path)),
    )


def _find(resources: Policies, proxy: str, mesh: str) -> Resource:
    dataplanes = [r for r in resources if r.kind == "Dataplane" and mesh in ("", r.mesh)]
    by_mesh = {dataplane.mesh: dataplane for dataplane in dataplanes if dataplane.name == proxy}
    if len(by_mesh) == 1:
        return next(iter(by_mesh.values()))
    if by_mesh:
        message = f"Dataplane '{proxy}' is in several meshes: {', '.join(sorted(by_mesh))}"
        raise ConfigError([Violation(message=message, hint="choose one with --mesh")])
    names = sorted({dataplane.name for dataplane in dataplanes})
    shown = ", ".join(names[:_NAMES_SHOWN_MAX]) + (", ..." if len(names) > _NAMES_SHOWN_MAX else "")
    hint = suggest(proxy, names) or f"Dataplanes that are there: {shown or 'none'}"
    within = f" in mesh '{mesh}'" if mesh else ""
    raise ConfigError([Violation(message=f"there is no Dataplane '{proxy}'{within}", hint=hint)])


def _in_json(policy: Resource) -> Resource:
    """Return a policy whose settings are JSON, as Kuma writes them, in the place of parsed ones."""
    # What was read is right, so that everything parsed has its place in the document.
    written: Any = canonical_spec(policy)
    spec = policy.spec_as(Policy)
    to, rules = written.get("to") or [], written.get("rules") or []
    return attrs.evolve(
        policy,
        spec=attrs.evolve(
            spec,
            to=tuple(
                attrs.evolve(item, default=own.get("default", {}), rules=_routes(own.get("rules", [])))
                for item, own in zip(spec.to, to, strict=True)
            ),
            rules=tuple(
                attrs.evolve(rule, default=own["default"]) for rule, own in zip(spec.rules, rules, strict=True)
            ),
            default=written.get("default", {}),
        ),
    )


def _routes(rules: list[dict[str, Any]]) -> tuple[RouteRule, ...]:
    return tuple(RouteRule(matches=tuple(rule.get("matches", ())), default=rule["default"]) for rule in rules)


def _to(kind: str, items: tuple[Item, ...], candidates: Candidates, mesh: str) -> Iterator[ToRules]:
    """Yield what is said for each destination that items name, in the order of kinds, names and ports."""
    index = ItemIndex(items)
    whole = Candidate(kind=MESH, name=mesh, labels={})
    named: dict[tuple[int, str, int], Candidate] = {}
    for item in items:
        found = (whole,) if item.target.kind == MESH else candidates.meant_by(item.target.kind, item.target.labels)
        for candidate in found:
            port = candidate.port_of(item.target.section) if item.target.section else 0
            if port is not None:
                named[(TO_KINDS.index(candidate.kind), candidate.name, port)] = candidate
    for (_, name, port), candidate in sorted(named.items(), key=lambda entry: entry[0]):
        about = index.about(candidate.destination(port))
        rules = merged_rules(about)
        yield ToRules(
            policy=kind,
            kind=candidate.kind,
            name=name,
            section=candidate.section_of(port),
            conf=_to_conf(kind, about, rules),
            origins=_origins(about),
            routes=_in_turn(rules) if kind == _HTTP_ROUTE else (),
        )


def _to_conf(kind: str, items: tuple[Item, ...], rules: tuple[MergedRule, ...]) -> Conf:
    if kind == _HTTP_ROUTE:
        return {"rules": [{"matches": list(rule.matches), "default": rule.default} for rule in rules]}
    if kind == _TCP_ROUTE:
        return rules[0].default if rules else {}
    return merge(item.default for item in items)


def _in_turn(rules: tuple[MergedRule, ...]) -> tuple[RouteRules, ...]:
    return tuple(
        RouteRules(match=choice.match, default=choice.rule.default, origins=_origins(choice.rule.items))
        for choice in in_evaluation_order(rules)
    )


def _inbound(section: Section, by_kind: dict[str, Policies]) -> InboundRules:
    found = ((kind, entries_at(policies, section)) for kind, policies in by_kind.items())
    policies = tuple(_inbound_policy(kind, entries) for kind, entries in found if entries)
    return InboundRules(name=section.name, port=section.port, policies=policies)


def _inbound_policy(kind: str, entries: tuple[Entry, ...]) -> InboundPolicy:
    each = tuple(_inbound_rule(entry.match, entry.default, (entry,)) for entry in entries)
    if kind in EACH_ACTS:
        return InboundPolicy(policy=kind, rules=each)
    if kind in MERGED_BY_CALLER:
        rules = tuple(_inbound_rule(rule.match, rule.conf, rule.entries) for rule in by_caller(entries))
    else:
        merged = for_everybody(entries)
        rules = (_inbound_rule(EVERYBODY, merge(entry.default for entry in merged), merged),)
    return InboundPolicy(policy=kind, rules=rules, entries=each)


def _inbound_rule(match: PeerMatch, conf: Conf, entries: tuple[Entry, ...]) -> InboundRule:
    return InboundRule(match=None if match == EVERYBODY else match, conf=conf, origins=_origins(entries))


def _whole(by_kind: dict[str, Policies]) -> Iterator[WholeRules]:
    for kind, policies in by_kind.items():
        confs = [policy.spec_as(Policy).default for policy in policies]
        if any(confs):
            yield WholeRules(policy=kind, conf=merge(confs), origins=_written(policies))


def _origins(written: Iterable[Item | Entry]) -> tuple[Origin, ...]:
    """Return who wrote the parts, in order; a rule that counts by several of its matches is named where it counts last."""
    by_place: dict[tuple[int, int], Origin] = {}
    for part in written:
        place = (id(part.policy), part.index)
        by_place.pop(place, None)
        by_place[place] = Origin.of(part.policy, part.index)
    return tuple(by_place.values())


def _written(policies: Policies) -> tuple[Origin, ...]:
    return tuple(Origin.of(policy) for policy in policies)
