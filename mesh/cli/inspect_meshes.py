"""`mesh inspect services`, `meshes` and `zones`: one line each."""

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.api_client import path_of
from mesh.cli.connecting import connect, context_option, form_option, mesh_option
from mesh.cli.get import check_meshes
from mesh.cli.kinds import path_of_kind
from mesh.cli.resource_tables import hostnames_text
from mesh.cli.tables import Cell, Column, Columns, Row, print_result, table
from mesh.resources.registry import KIND_BY_NAME

SERVICES = ("MeshService", "MeshExternalService", "MeshMultiZoneService")


@click.command("services")
@mesh_option
@form_option
@context_option
def services(mesh: str, form: str, context: str | None) -> int:
    """List the services of a mesh: ports, hostnames, healthy proxies.

    \b
    Example:
      mesh inspect services -m shop
    """
    client = connect(context)
    kinds = [KIND_BY_NAME[name] for name in SERVICES]
    items = [item for kind in kinds for item in client.find_items(path_of_kind(kind, mesh))]
    if not items:
        check_meshes(client, [mesh])
    columns: Columns = [
        *("KIND", "NAME", "STATE", Column("PORTS", cut=True), Column("HEALTHY", right=True)),
        Column("HOSTNAMES", cut=True),
    ]
    page = {"total": len(items), "items": items, "next": None}
    print_result(form, page, lambda: table(columns, [_service(i) for i in items]))
    return 0


@click.command("meshes")
@form_option
@context_option
def meshes(form: str, context: str | None) -> int:
    """List meshes: how many proxies are online, how many policies and services there are.

    \b
    Example:
      mesh inspect meshes
    """
    items = list(connect(context).items(path_of("mesh-insights")))
    columns: Columns = [
        "NAME",
        *(Column(title, right=True) for title in ("ONLINE", "DATAPLANES", "POLICIES", "SERVICES")),
    ]
    page = {"total": len(items), "items": items, "next": None}
    print_result(form, page, lambda: table(columns, [_mesh(item) for item in items]))
    return 0


@click.command("zones")
@form_option
@context_option
def zones(form: str, context: str | None) -> int:
    """List zones, with what their control planes said last.

    \b
    Example:
      mesh inspect zones
    """
    items = list(connect(context).items(f"{path_of('zones')}/_overview"))
    page = {"total": len(items), "items": items, "next": None}
    print_result(form, page, lambda: table(["NAME", "ENABLED", "STATUS"], [_zone(item) for item in items]))
    return 0


def _service(item: Mapping[str, Any]) -> Row:
    spec = item.get("spec") or {}
    proxies = (item.get("status") or {}).get("dataplaneProxies") or {}
    match = spec.get("match") or {}
    ports = [(port.get("port"), port.get("appProtocol")) for port in spec.get("ports") or []]
    ports += [(match.get("port"), match.get("protocol"))] if match else []
    state = str(spec.get("state") or "")
    healthy, total = int(proxies.get("healthy") or 0), int(proxies.get("total") or 0)
    return [
        str(item.get("type")),
        str(item.get("name")),
        Cell(state, "green" if state == "Available" else "yellow") if state else "",
        ",".join(f"{port}/{protocol or 'tcp'}" for port, protocol in ports),
        Cell(f"{healthy}/{total}", "green" if healthy == total else "yellow") if proxies else "",
        hostnames_text(item),
    ]


def _mesh(item: Mapping[str, Any]) -> Row:
    dataplanes = item.get("dataplanes") or {}
    resources = item.get("resources") or item.get("policies") or {}
    services = item.get("services") or {}
    online, total = int(dataplanes.get("online") or 0), int(dataplanes.get("total") or 0)
    policies = [stat for kind, stat in resources.items() if kind in KIND_BY_NAME and KIND_BY_NAME[kind].policy]
    return [
        str(item.get("name") or item.get("mesh")),
        Cell(str(online), "green" if online == total else "yellow"),
        str(total),
        str(sum(int((stat or {}).get("total") or 0) for stat in policies)),
        str(services.get("total") or 0),
    ]


def _zone(item: Mapping[str, Any]) -> Row:
    zone = item.get("zone") or {}
    subscriptions = (item.get("zoneInsight") or {}).get("subscriptions") or []
    is_online = bool(subscriptions) and not subscriptions[-1].get("disconnectTime")
    return [
        str(item.get("name")),
        "yes" if zone.get("enabled", True) else "no",
        Cell("Online", "green") if is_online else Cell("Offline", "red"),
    ]
