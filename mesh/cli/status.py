"""`mesh status`: does every proxy have what it should have, and if not, why not?"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import connect, context_option, form_option
from mesh.cli.failures import CommandFailed
from mesh.cli.get import check_meshes
from mesh.cli.output import warn
from mesh.cli.resource_tables import instant_of
from mesh.cli.tables import Cell, Column, Columns, Row, age, count, print_result, table
from mesh.cli.waiting import refusal_text

WATCH_S = 1.0
VERSION_SIZE = 8  # of a version's text: enough to tell two apart
CERTIFICATE_SOON_S = 3600.0
STATES = {"live": "green", "pending": "yellow", "sent": "yellow", "refused": "red"}
DEPARTURES = ("draining", "closing")
PRESENCES = {"disconnected": "yellow", "awaited": "yellow", "lost": "red", "offline": "red"}


@click.command("status")
@click.option("--mesh", "-m", default=None, help="Only this mesh.")
@click.option("--watch", "-w", is_flag=True, help="Show it again each second, until Ctrl-C.")
@form_option
@context_option
def command(mesh: str | None, watch: bool, form: str, context: str | None) -> int:
    """Show for each proxy what it should have, what was sent, what it acknowledged, and why it refused.

    A version names a whole configuration: the same version, the same configuration.

    \b
    Examples:
      mesh status
      mesh status -m shop --watch
      mesh status -o json
    """
    client = connect(context)
    query = {"mesh": mesh} if mesh else None
    status = client.get("/status", query)
    if mesh and not status.get("proxies"):
        check_meshes(client, [mesh])
    print_result(form, status, lambda: render_status(status))
    return _watch(client, query, form) if watch else 0


def _watch(client: ApiClient, query: Mapping[str, str] | None, form: str) -> int:
    """Show it each second; on a terminal in the same place."""
    while True:
        time.sleep(WATCH_S)
        try:
            status = client.get("/status", query)
        except RequestRefused:
            raise
        except CommandFailed as error:
            warn(str(error))  # Who watches wants to see it come back.
            continue
        if sys.stdout.isatty():
            click.echo("\x1b[H\x1b[2J", nl=False)
        print_result(form, status, lambda status=status: render_status(status))  # type: ignore[misc]  # Bound for this round.
        sys.stdout.flush()


def render_status(status: Mapping[str, Any], *, now: float | None = None) -> str:
    """Lay out what `GET /status` answers; refusals in full below, then the whole in a line."""
    proxies: Sequence[Mapping[str, Any]] = status.get("proxies") or []
    columns: Columns = [
        *("MESH", "PROXY", "STATE", "WANTED", "SENT", "ACKED"),
        Column("LAG", right=True),
        Column("CERT", right=True),
        Column("NOT READY", cut=True),
        Column("CONTROL PLANE", cut=True),
    ]
    rows = [_row(proxy, time.time() if now is None else now) for proxy in proxies]
    lines = [table(columns, rows)] if proxies else []
    lines += [
        f"{proxy.get('mesh')}/{proxy.get('name')} refused: {text}" for proxy in proxies if (text := refusal_text(proxy))
    ]
    return "\n".join([*lines, summary(status)])


def summary(status: Mapping[str, Any]) -> str:
    """Say the whole in a line: `revision 12 is live on 21 of 22 proxies; 1 refused`."""
    proxies = status.get("proxies") or []
    states = [_state(proxy)[0] for proxy in proxies]
    parts = [f"revision {status.get('revision')} is live on {states.count('live')} of {count(len(states), 'proxy')}"]
    parts += [f"{states.count(state)} {state}" for state in dict.fromkeys(states) if state != "live"]
    return "; ".join(parts)


def _row(proxy: Mapping[str, Any], now: float) -> Row:
    state, color = _state(proxy)
    versions = [str(proxy.get(key) or "-")[:VERSION_SIZE] for key in ("wantedVersion", "sentVersion", "ackedVersion")]
    return [
        str(proxy.get("mesh")),
        str(proxy.get("name")),
        Cell(state, color),
        *versions,
        _lag(proxy.get("lagSeconds")),
        _certificate(proxy.get("certificateExpires"), now),
        ",".join(_not_ready(proxy.get("inbounds"))),
        str(proxy.get("instance") or ""),
    ]


def _state(proxy: Mapping[str, Any]) -> tuple[str, str]:
    """Return how it stands with a proxy, in a word, and the word's colour."""
    presence = str(proxy.get("presence"))
    if presence != "connected":
        return presence, PRESENCES.get(presence, "red")
    departure = proxy.get("departure")
    if departure in DEPARTURES:
        return departure, "yellow"
    wanted = proxy.get("wantedVersion")
    if refusal_text(proxy):
        state = "refused"
    elif wanted and wanted == proxy.get("ackedVersion"):
        state = "live"
    else:
        state = "sent" if wanted and wanted == proxy.get("sentVersion") else "pending"
    return state, STATES[state]


def _lag(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return f"{seconds:.1f}s" if 0 < seconds < 60 else age(seconds)


def _certificate(expires: Any, now: float) -> str | Cell:
    """Return how long the certificate is still good."""
    instant = float(expires) if isinstance(expires, int | float) else instant_of(expires)
    if instant is None:
        return ""
    if instant <= now:
        return Cell("expired", "red")
    text = age(instant - now)
    return Cell(text, "yellow") if instant - now < CERTIFICATE_SOON_S else text


def _not_ready(inbounds: Any) -> list[str]:
    """Return the names of the inbounds that are not ready, of `[{"name", "ready"}]`."""
    return [str(inbound.get("name")) for inbound in inbounds or [] if not inbound.get("ready")]
