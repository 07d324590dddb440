"""ProxyRules: all that policies say for one proxy, merged, with who said it: what `mesh inspect rules` and the API show.

Values only; `mesh.config.rules` finds them. Settings are as Kuma writes them (spans as 1m51s), in JSON.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from mesh.model.errors import Violation
from mesh.policy.authorization import PeerMatch
from mesh.resources.policy import Conf
from mesh.resources.resource import Resource


@attrs.frozen(kw_only=True)
class Origin:
    """Where settings were written: a policy, and the place in its `to` or `rules` (None: its `default`)."""

    resource: Resource = attrs.field(eq=False, repr=False)
    kind: str
    mesh: str
    name: str
    index: int | None = None

    @classmethod
    def of(cls, policy: Resource, index: int | None = None) -> "Origin":
        return cls(resource=policy, kind=policy.kind, mesh=policy.mesh, name=policy.name, index=index)

    def as_json(self) -> dict[str, Any]:
        place = {} if self.index is None else {"index": self.index}
        return {"kind": self.kind, "mesh": self.mesh, "name": self.name, **place}


@attrs.frozen(kw_only=True)
class RouteRules:
    """One way in which a request can be matched, and what happens then."""

    match: Conf
    default: Conf
    origins: tuple[Origin, ...]

    def as_json(self) -> dict[str, Any]:
        return {"match": self.match, "default": self.default, "origins": _json(self.origins)}


@attrs.frozen(kw_only=True)
class ToRules:
    """What a kind of policy says for one destination that policies name: a service, a port of it (`section`), a route
    or the mesh. A destination without an entry has that of its service, and else that of the mesh.

    `routes` are a MeshHTTPRoute's rules split by match, in the order in which they are tried; `conf` is as Kuma keeps it.
    """

    policy: str
    kind: str
    name: str
    section: str = ""
    conf: Conf
    origins: tuple[Origin, ...]
    routes: tuple[RouteRules, ...] = ()

    def as_json(self) -> dict[str, Any]:
        names = {"policy": self.policy, "kind": self.kind, "name": self.name, "section": self.section}
        routes = {"routes": _json(self.routes)} if self.routes else {}
        return {**names, "conf": self.conf, "origins": _json(self.origins), **routes}


@attrs.frozen(kw_only=True)
class InboundRule:
    """Settings for callers that match (None: everybody)."""

    match: PeerMatch | None
    conf: Conf
    origins: tuple[Origin, ...]

    def as_json(self) -> dict[str, Any]:
        matches = [] if self.match is None else [_peer_json(self.match)]
        return {"matches": matches, "conf": self.conf, "origins": _json(self.origins)}


@attrs.frozen(kw_only=True)
class InboundPolicy:
    """What a kind of policy says at one inbound.

    `rules` are what counts: of a kind that is merged by caller the first that matches, of others each that does.
    `entries` are what they were merged from, where they were: one a match, the most specific first.
    """

    policy: str
    rules: tuple[InboundRule, ...]
    entries: tuple[InboundRule, ...] = ()

    def as_json(self) -> dict[str, Any]:
        entries = {"entries": _json(self.entries)} if self.entries else {}
        return {"policy": self.policy, "rules": _json(self.rules), **entries}


@attrs.frozen(kw_only=True)
class InboundRules:
    """One inbound or listener of the proxy."""

    name: str
    port: int
    policies: tuple[InboundPolicy, ...]

    def as_json(self) -> dict[str, Any]:
        return {"inbound": {"name": self.name, "port": self.port}, "policies": _json(self.policies)}


@attrs.frozen(kw_only=True)
class WholeRules:
    """What a kind of policy says for the proxy as a whole."""

    policy: str
    conf: Conf
    origins: tuple[Origin, ...]

    def as_json(self) -> dict[str, Any]:
        return {"policy": self.policy, "conf": self.conf, "origins": _json(self.origins)}


@attrs.frozen(kw_only=True)
class Matched:
    """The policies of one kind that apply to the proxy, in the order in which they are merged: the last wins."""

    policy: str
    origins: tuple[Origin, ...]

    def as_json(self) -> dict[str, Any]:
        return {"policy": self.policy, "origins": _json(self.origins)}


@attrs.frozen(kw_only=True)
class ProxyRules:
    """All that policies say for one proxy; `warnings` tell of policies that mean nothing that is there."""

    mesh: str
    name: str
    matched: tuple[Matched, ...] = ()
    to: tuple[ToRules, ...] = ()
    inbound: tuple[InboundRules, ...] = ()
    proxy: tuple[WholeRules, ...] = ()
    warnings: tuple[Violation, ...] = ()

    def towards(self, policy: str, kind: str, name: str, section: str = "") -> ToRules | None:
        """Return what counts for a destination: its port's entry, or else its service's, or else the mesh's."""
        by_place = {(rules.kind, rules.name, rules.section): rules for rules in self.to if rules.policy == policy}
        places = ((kind, name, section), (kind, name, ""), ("Mesh", self.mesh, ""))
        return next((by_place[place] for place in places if place in by_place), None)

    def as_json(self) -> dict[str, Any]:
        """Return it as a document, everything in a fixed order."""
        return {
            "dataplane": {"mesh": self.mesh, "name": self.name},
            "policies": _json(self.matched),
            "to": _json(self.to),
            "inbound": _json(self.inbound),
            "proxy": _json(self.proxy),
            "warnings": [str(warning) for warning in self.warnings],
        }


def _json(values: "tuple[Any, ...]") -> list[dict[str, Any]]:
    return [value.as_json() for value in values]


def _peer_json(match: PeerMatch) -> Mapping[str, Any]:
    who = {"type": match.spiffe_id_kind.value, "value": match.spiffe_id}
    return {
        **({"spiffeID": who} if match.spiffe_id else {}),
        **({"sni": {"type": "Exact", "value": match.sni}} if match.sni else {}),
    }
