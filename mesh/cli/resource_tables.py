"""What a table says of a resource: a line that tells it from its neighbours, chosen by its kind. Pure.

Resources come as the API's JSON; what an unknown or later version leaves out shows as nothing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mesh.cli.tables import Column, age, table
from mesh.resources.resource import DISPLAY_NAME, Kind

Item = Mapping[str, Any]
Cells = Callable[[Item], list[str]]

DETAIL = Column("LABELS", cut=True)


def resource_table(kind: Kind, items: Sequence[Item]) -> str:
    """Lay out resources of one kind, with their age."""
    titles, cells = _LAYOUTS.get(kind.name) or (_POLICY if kind.policy else _PLAIN)
    mesh: list[Column | str] = ["MESH"] if kind.mesh_scoped else []
    columns = [*mesh, "NAME", *titles, Column("AGE", right=True)]
    now = time.time()
    rows = []
    for item in items:
        own_mesh = [str(item.get("mesh") or "")] if kind.mesh_scoped else []
        rows.append([*own_mesh, str(item.get("name")), *cells(item), age_of(item, now)])
    return table(columns, rows)


def age_of(item: Item, now: float) -> str:
    """Return how long ago a resource was changed."""
    for key in ("modificationTime", "creationTime"):
        if (instant := instant_of(item.get(key))) is not None:
            return age(now - instant)
    return ""


def instant_of(text: Any) -> float | None:
    """Read a date of the API as seconds since the epoch."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Write labels as selectors are written, without those that the control plane adds."""
    shown = {key: value for key, value in (labels or {}).items() if not _is_added(key)}
    return ",".join(f"{key}={value}" for key, value in sorted(shown.items()))


def target_text(target: Mapping[str, Any] | None) -> str:
    """Write a targetRef on one line: `Dataplane app=web http`; none is the whole mesh."""
    if not target:
        return "Mesh"
    labels = dict(target.get("labels") or {})
    name = target.get("name") or labels.pop(DISPLAY_NAME, "")
    rest = ",".join(f"{key}={value}" for key, value in labels.items())
    section = target.get("sectionName") or ""
    return " ".join(part for part in (str(target.get("kind", "")), name, rest, section) if part)


def _is_added(label: str) -> bool:
    return label.startswith(("kuma.io/", "k8s.kuma.io/")) and label != "kuma.io/workload"


def _spec(item: Item) -> Mapping[str, Any]:
    return item.get("spec") or {}


def _plain(item: Item) -> list[str]:
    return [labels_text(item.get("labels"))]


def _policy(item: Item) -> list[str]:
    spec = _spec(item)
    to = [target_text(entry.get("targetRef")) for entry in spec.get("to") or []]
    parts = [f"to {', '.join(to)}"] if to else []
    parts += ["rules"] if spec.get("rules") else []
    parts += ["default"] if spec.get("default") else []
    effect = "shadow " if (item.get("labels") or {}).get("kuma.io/effect") == "shadow" else ""
    return [target_text(spec.get("targetRef")), effect + "; ".join(parts)]


def _dataplane(item: Item) -> list[str]:
    networking = item.get("networking") or {}
    inbounds = [f"{one.get('port')}/{one.get('protocol', 'tcp')}" for one in networking.get("inbound") or []]
    inbounds += [f"{one.get('port')}/{one.get('type')}" for one in networking.get("listeners") or []]
    inbounds += ["gateway"] if networking.get("gateway") else []
    return [str(networking.get("address") or ""), ",".join(inbounds), labels_text(item.get("labels"))]


def _ports(spec: Mapping[str, Any]) -> str:
    return ",".join(
        f"{port.get('port')}/{port.get('appProtocol') or port.get('protocol') or 'tcp'}"
        for port in spec.get("ports") or []
    )


def _mesh_service(item: Item) -> list[str]:
    status = item.get("status") or {}
    proxies = status.get("dataplaneProxies") or {}
    ready = f"{proxies.get('healthy', 0)}/{proxies.get('total', 0)}" if proxies else ""
    return [str(_spec(item).get("state") or ""), _ports(_spec(item)), ready, hostnames_text(item)]


def hostnames_text(item: Item) -> str:
    """Return the hostnames of a service, and its addresses where it has no names."""
    status = item.get("status") or {}
    names = [str(address.get("hostname")) for address in status.get("addresses") or []]
    return ",".join(names or [str(vip.get("ip")) for vip in status.get("vips") or []])


def _external_service(item: Item) -> list[str]:
    spec = _spec(item)
    match = spec.get("match") or {}
    endpoints = [f"{one.get('address')}:{one.get('port', '')}".rstrip(":") for one in spec.get("endpoints") or []]
    tls = "TLS" if (spec.get("tls") or {}).get("enabled") else ""
    port = f"{match.get('port')}/{match.get('protocol') or 'tcp'}"
    return [port, ",".join(endpoints), tls, hostnames_text(item)]


def _multi_zone_service(item: Item) -> list[str]:
    return [_ports(_spec(item)), hostnames_text(item)]


def _hostname_generator(item: Item) -> list[str]:
    spec = _spec(item)
    selectors = spec.get("selector") or {}
    selector = [f"{kind} {labels_of((choice or {}).get('matchLabels'))}".strip() for kind, choice in selectors.items()]
    return [str(spec.get("template") or ""), ", ".join(selector)]


def labels_of(labels: Mapping[str, str] | None) -> str:
    """Write all labels of a selector."""
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())


def _identity(item: Item) -> list[str]:
    spec = _spec(item)
    selector = ((spec.get("selector") or {}).get("dataplane") or {}).get("matchLabels")
    selects = "nobody" if selector is None else labels_of(selector) or "every Dataplane"
    spiffe = spec.get("spiffeID") or {}
    return [selects, str(spiffe.get("trustDomain") or ""), str((spec.get("provider") or {}).get("type") or "")]


def _trust(item: Item) -> list[str]:
    bundles = _spec(item).get("caBundles") or []
    return [str(_spec(item).get("trustDomain") or ""), str(len(bundles))]


def _zone(item: Item) -> list[str]:
    return ["yes" if item.get("enabled", True) else "no"]


_PLAIN: tuple[list[Column | str], Cells] = ([DETAIL], _plain)
_POLICY: tuple[list[Column | str], Cells] = ([Column("TARGET", cut=True), Column("WHAT", cut=True)], _policy)
_HOSTNAMES = Column("HOSTNAMES", cut=True)
_LAYOUTS: Mapping[str, tuple[list[Column | str], Cells]] = {
    "Dataplane": (["ADDRESS", Column("INBOUNDS", cut=True), DETAIL], _dataplane),
    "MeshService": (["STATE", Column("PORTS", cut=True), "HEALTHY", _HOSTNAMES], _mesh_service),
    "MeshExternalService": (["PORT", Column("ENDPOINTS", cut=True), "TLS", _HOSTNAMES], _external_service),
    "MeshMultiZoneService": ([Column("PORTS", cut=True), _HOSTNAMES], _multi_zone_service),
    "HostnameGenerator": ([Column("TEMPLATE", cut=True), Column("SELECTOR", cut=True)], _hostname_generator),
    "MeshIdentity": ([Column("SELECTS", cut=True), Column("TRUST DOMAIN", cut=True), "PROVIDER"], _identity),
    "MeshTrust": ([Column("TRUST DOMAIN", cut=True), Column("CERTIFICATES", right=True)], _trust),
    "Zone": (["ENABLED"], _zone),
}
