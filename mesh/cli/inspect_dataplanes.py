"""`mesh inspect dataplanes` and `mesh inspect dataplane`: proxies as their control plane sees them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from mesh.cli.api_client import ApiClient, path_of
from mesh.cli.connecting import connect, context_option, form_option, mesh_option
from mesh.cli.inputs import Inputs
from mesh.cli.kinds import path_of_kind
from mesh.cli.output import warn
from mesh.cli.resource_tables import age_of, instant_of, labels_text
from mesh.cli.tables import Cell, Column, Columns, Row, age, print_result, table, to_yaml
from mesh.model.errors import ConfigError, Violation
from mesh.resources.registry import KIND_BY_NAME

# What --type shows, by the end of its path; policies and rules are the same, as a table and as data.
VIEWS = {
    "config-dump": "_config",
    "overview": "_overview",
}
COLORS = {"Online": "green", "Offline": "red", "Partially degraded": "yellow"}


@click.command("dataplanes")
@mesh_option
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only those with this label. Repeatable.")
@form_option
@context_option
def dataplanes(mesh: str, tags: tuple[str, ...], form: str, context: str | None) -> int:
    """List the proxies of a mesh: are they online, when were they last updated, until when is their certificate good?

    \b
    Examples:
      mesh inspect dataplanes -m shop
      mesh inspect dataplanes --tag kuma.io/workload=web
    """
    inputs = Inputs()
    query = inputs.read(_query, tags)
    client = inputs.read(connect, context)
    inputs.check()
    path = f"{path_of_kind(KIND_BY_NAME['Dataplane'], mesh)}/_overview"
    items = list(client.value.items(path, query.value))
    columns: Columns = [
        *("MESH", "NAME", "STATUS", Column("LABELS", cut=True), Column("AGE", right=True)),
        *(Column("ACKED", right=True), Column("REFUSED", right=True), Column("UPDATED", right=True)),
        *(Column("CERT", right=True), "VERSION"),
    ]
    now = time.time()
    page = {"total": len(items), "items": items, "next": None}
    print_result(form, page, lambda: table(columns, [_row(item, now) for item in items]))
    return 0


@click.command("dataplane")
@click.argument("name")
@mesh_option
@click.option(
    "--type",
    "view",
    type=click.Choice(["policies", "rules", *VIEWS]),
    default="policies",
    show_default=True,
    help="What to show.",
)
@click.option("--shadow", is_flag=True, help="As if shadow policies were in force.")
@click.option("--include", type=click.Choice(["diff"]), multiple=True, help="With config-dump --shadow: what differs.")
@form_option
@context_option
def dataplane(
    name: str, mesh: str, view: str, shadow: bool, include: tuple[str, ...], form: str, context: str | None
) -> int:
    """Show what one proxy was told: its policies with their origins, its rules, its whole configuration.

    \b
    Examples:
      mesh inspect dataplane web-1 -m shop
      mesh inspect dataplane web-1 --type rules -o yaml
      mesh inspect dataplane web-1 --type config-dump --shadow --include diff
    """
    client = connect(context)
    if view not in VIEWS:
        form = "yaml" if (view, form) == ("rules", "table") else form
        return show_rules(client, name, mesh=mesh, shadow=shadow, form=form)
    path = f"{path_of_kind(KIND_BY_NAME['Dataplane'], mesh, name)}{path_of(VIEWS[view])}"
    query = {**({"shadow": "true"} if shadow else {}), **({"include": ",".join(include)} if include else {})}
    answer = client.get(path, query)
    print_result(form, answer, lambda: to_yaml(answer).rstrip("\n"))
    return 0


def _query(tags: Sequence[str]) -> dict[str, list[str]]:
    """Write tags as the API takes them. Raises: ConfigError."""
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not (key and equals and value):
            raise ConfigError([Violation(path="--tag", message=f"{tag!r} is not a label", hint="write KEY=VALUE")])
    return {"tag": [tag.replace("=", ":", 1) for tag in tags]}


def _row(item: Mapping[str, Any], now: float) -> Row:
    dataplane = item.get("dataplane") or {}
    insight = item.get("dataplaneInsight") or {}
    subscriptions = insight.get("subscriptions") or [{}]
    status = subscriptions[-1].get("status") or {}
    totals = [(subscription.get("status") or {}).get("total") or {} for subscription in subscriptions]
    acknowledged, rejected = (
        sum(int(total.get(key) or 0) for total in totals) for key in ("responsesAcknowledged", "responsesRejected")
    )
    state = _state(item, dataplane, subscriptions)
    version = (subscriptions[-1].get("version") or {}).get("kumaDp") or {}
    return [
        str(item.get("mesh")),
        str(item.get("name")),
        Cell(state, COLORS[state]),
        labels_text(item.get("labels") or dataplane.get("labels")),
        age_of({"creationTime": item.get("creationTime")}, now),
        str(acknowledged),
        Cell(str(rejected), "red") if rejected else "0",
        _since(status.get("lastUpdateTime"), now),
        _until((insight.get("mTLS") or {}).get("certificateExpirationTime"), now),
        str(version.get("version") or ""),
    ]


def _state(item: Mapping[str, Any], dataplane: Mapping[str, Any], subscriptions: Sequence[Mapping[str, Any]]) -> str:
    """Say how a proxy is: in the API's word, or as Kuma's clients find it out where there is none."""
    if item.get("status") in COLORS:
        return str(item["status"])
    newest = subscriptions[-1]
    if not newest.get("connectTime") or newest.get("disconnectTime"):
        return "Offline"
    inbounds = (dataplane.get("networking") or {}).get("inbound") or []
    not_ready = [
        one for one in inbounds if one.get("state") == "NotReady" or (one.get("health") or {}).get("ready") is False
    ]
    return "Partially degraded" if not_ready else "Online"


def _since(text: Any, now: float) -> str:
    instant = instant_of(text)
    return "" if instant is None else age(now - instant)


def _until(text: Any, now: float) -> str | Cell:
    instant = instant_of(text)
    if instant is None:
        return ""
    return age(instant - now) if instant > now else Cell("expired", "red")


def show_rules(client: ApiClient, name: str, *, mesh: str, shadow: bool, form: str) -> int:
    """Print what policies come to for one proxy, as the control plane sees it. Raises: CommandFailed."""
    path = f"{path_of_kind(KIND_BY_NAME['Dataplane'], mesh, name)}{path_of('_rules')}"
    answer = client.get(path, {"shadow": "true"} if shadow else {})
    for warning in answer.get("warnings") or []:
        warn(str(warning))
    print_result(form, answer, lambda: _render_rules(answer))
    return 0


def _render_rules(answer: Mapping[str, Any]) -> str:
    rows: list[Row] = []
    for policy in answer.get("rules") or []:
        for where, conf, origins in _rules_of(policy):
            origin = ", ".join(dict.fromkeys(origins))
            rows.append([str(policy.get("type")), where, origin, json.dumps(conf, ensure_ascii=False)])
    return table(
        ["KIND", Column("APPLIES", cut=True), Column("FROM", cut=True), Column("CONF", cut=True, first=True)], rows
    )


def _rules_of(policy: Mapping[str, Any]) -> Iterator[tuple[str, Any, list[str]]]:
    """Go through the rules of one kind of policy: (where it applies, conf, names of policies). Source: Kuma's InspectRule."""
    for rule in policy.get("toResourceRules") or []:
        meta, section = rule.get("resourceMeta") or {}, rule.get("resourceSectionName") or ""
        where = " ".join(part for part in ("to", meta.get("type"), meta.get("name"), section) if part)
        yield where, _only(rule.get("conf")), _origins(rule)
    for inbound in policy.get("inboundRules") or []:
        place = inbound.get("inbound") or {}
        for rule in inbound.get("rules") or []:
            matches = f" for {json.dumps(rule['matches'])}" if rule.get("matches") else ""
            yield f"at {place.get('name') or place.get('port')}{matches}", _only(rule.get("conf")), _origins(rule)
    if rule := policy.get("proxyRule"):
        yield "whole proxy", rule.get("conf"), _origins(rule)


def _only(confs: Any) -> Any:
    """Kuma wraps the merged settings in a list of one."""
    return confs[0] if isinstance(confs, list) and len(confs) == 1 else confs


def _origins(rule: Mapping[str, Any]) -> list[str]:
    metas = [origin.get("resourceMeta") or origin for origin in rule.get("origin") or []]
    return [str(meta.get("name")) for meta in metas]
