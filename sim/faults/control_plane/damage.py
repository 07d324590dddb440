"""Resources that look right and are not: what operators, generators and templates have pushed in well-known outages.

By name, made for the scenario at hand, or from a file. Each is legal: no field is unknown, no name is wrong.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mesh.resources.loading import load_resource
from mesh.resources.resource import ZONE, Resource
from sim.scenario.names import Names
from sim.scenario.policy_files import read_policy_file
from sim.scenario.verb_entry import VerbEntry

OVERSIZED = "oversized"
RULE_BYTES = 1350  # What one generated rule comes to in a caller's configuration, with timeouts and retries.
_NOT_A_ROOT = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"

Document = dict[str, Any]


@attrs.frozen(kw_only=True)
class Damage:
    """What is pushed, and its name for people."""

    name: str
    resources: tuple[Resource, ...]


def oversized(names: Names, size_bytes: int, *, mesh: str, service: str = "") -> tuple[Resource, ...]:
    """Return generated routes that add about `size_bytes` to the configuration of each proxy that calls the service.

    They lead where requests go anyway, by paths that nobody asks for: only their number is wrong.
    """
    services = [service] if service else [name for name, kind in names.kind_by_service.items() if kind == "http"]
    count = max(size_bytes // RULE_BYTES // max(len(services), 1), 1)
    return _loaded((_generated(name, count) for name in services), mesh)


def _generated(service: str, count: int) -> Document:
    target = {"kind": "MeshService", "labels": {"kuma.io/display-name": service}}
    rules = [
        {
            "matches": [{"path": {"type": "Exact", "value": f"/generated/{number:08d}/{'feature-' * 40}"}}],
            "default": {},
        }
        for number in range(count)
    ]
    return {
        "type": "MeshHTTPRoute",
        "name": f"generated-{service}",
        "spec": {"to": [{"targetRef": target, "rules": rules}]},
    }


def _unreadable_trust(names: Names) -> list[Document]:
    """A root that is a certificate to the eye alone: sidecars cannot read it, and NACK. A paste that lost some lines."""
    bundle = {"type": "Pem", "pem": {"value": _NOT_A_ROOT}}
    return [{"type": "MeshTrust", "name": "pasted", "spec": {"trustDomain": "partner.example", "caBundles": [bundle]}}]


def _impossible_identity(names: Names) -> list[Document]:
    """Identities made from a label that no proxy has: the control plane cannot build anybody's configuration."""
    provider = {"type": "Bundled", "bundled": {"autogenerate": {"enabled": True}}}
    return [
        {
            "type": "MeshIdentity",
            "name": f"by-team-{zone}",
            "spec": {
                "selector": {"dataplane": {"matchLabels": {ZONE: zone}}},
                "spiffeID": {"path": '/team/{{ label "team" }}'},
                "provider": provider,
            },
        }
        for zone in names.zones
    ]


def _deny_all(names: Names) -> list[Document]:
    """A permission that takes everybody's: accepted, live at once, and everything is refused."""
    everybody = {"spiffeID": {"type": "Prefix", "value": "spiffe://"}}
    spec = {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {"deny": [everybody]}}]}
    return [{"type": "MeshTrafficPermission", "name": "deny-all", "spec": spec}]


def _dead_route(names: Names) -> list[Document]:
    """Routes to a service that is not there: accepted, and requests have nowhere to go."""
    return [
        {
            "type": "MeshHTTPRoute",
            "name": f"moved-{service}",
            "spec": {
                "to": [
                    {
                        "targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": service}},
                        "rules": [
                            {
                                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                                "default": {
                                    "backendRefs": [{"kind": "MeshService", "name": f"{service}-v2", "port": 8080}]
                                },
                            }
                        ],
                    }
                ]
            },
        }
        for service, kind in names.kind_by_service.items()
        if kind == "http"
    ]


_BY_NAME: Mapping[str, Callable[[Names], list[Document]]] = {
    "unreadable-trust": _unreadable_trust,
    "impossible-identity": _impossible_identity,
    "deny-all": _deny_all,
    "dead-route": _dead_route,
}
DAMAGES = (*_BY_NAME, OVERSIZED)


def read_damage(entry: VerbEntry, word: str) -> Damage:
    """Read the value of a verb: the name of a damage, or a file of resources; `size` says how much is `oversized`."""
    cursor = entry.cursors[word]
    name = cursor.text()
    if "size" in entry and name != OVERSIZED:
        entry.cursors["size"].refuse(f"is about {OVERSIZED} alone")
    if name == OVERSIZED:
        size_bytes = entry.cursors["size"].size() if "size" in entry else 0
        if "size" not in entry:
            cursor.refuse("needs size", "for example size: 4MiB")
        return Damage(name=name, resources=oversized(entry.names, size_bytes, mesh=entry.mesh))
    if name in _BY_NAME:
        return Damage(name=name, resources=_loaded(_BY_NAME[name](entry.names), entry.mesh))
    if "." not in name:
        cursor.refuse(f"unknown damage '{name}'", f"a file of resources, or one of {', '.join(DAMAGES)}")
        return Damage(name=name, resources=())
    return Damage(name=name, resources=read_policy_file(cursor, entry.folder, mesh=entry.mesh))


def _loaded(documents: Any, mesh: str) -> tuple[Resource, ...]:
    return tuple(load_resource({**document, "mesh": mesh}, file="damage") for document in documents)
