"""Waiting until the proxies of the meshes that changed have what they should have.

A mesh is done when its control plane has published a revision at least as new as the change, and every proxy has
acknowledged the version that it should have. A refusal is final: the same configuration would be refused again.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

import attrs
import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.failures import CommandFailed
from mesh.cli.output import say
from mesh.cli.tables import count

POLL_S = 0.1
POLL_S_MAX = 1.0
NAMES_MAX = 20


@attrs.frozen(kw_only=True)
class Progress:
    """How far the meshes are; proxies as the API describes them."""

    live: tuple[dict[str, Any], ...] = ()
    refusing: tuple[dict[str, Any], ...] = ()
    pending: tuple[dict[str, Any], ...] = ()
    away: tuple[dict[str, Any], ...] = ()
    unpublished: tuple[str, ...] = ()  # meshes

    @property
    def total(self) -> int:
        return len(self.live) + len(self.refusing) + len(self.pending) + len(self.away)

    @property
    def is_over(self) -> bool:
        """Can nothing better come any more?"""
        return not (self.pending or self.away or self.unpublished)


def wait_until_live(client: ApiClient, outcome: Mapping[str, Any], *, timeout_s: float) -> bool:
    """Wait for what `POST /apply` answered with; tell who is missing and why. Returns: is it live everywhere?"""
    began = time.monotonic()
    revisions = _revisions(outcome)
    pause_s = POLL_S
    try:
        while True:
            progress = _look(client, revisions)
            waited_s = time.monotonic() - began
            if isinstance(progress, Progress):
                _draw(progress)
            if waited_s >= timeout_s or (isinstance(progress, Progress) and progress.is_over):
                _end_drawing()
                return _conclude(progress, waited_s)
            time.sleep(min(pause_s, max(0.0, timeout_s - waited_s)))
            pause_s = min(pause_s * 1.3, POLL_S_MAX)
    except KeyboardInterrupt:
        _end_drawing()
        say("no longer waiting: what was applied stays, and goes on to the proxies; see mesh status")
        raise


def _look(client: ApiClient, revisions: Mapping[str, int]) -> Progress | CommandFailed:
    """Return how far it is, or why nobody knows: a control plane that starts again is waited for."""
    try:
        return judge(client.get("/status"), revisions)
    except RequestRefused:
        raise
    except CommandFailed as error:
        return error


def judge(status: Mapping[str, Any], revisions: Mapping[str, int]) -> Progress:
    """Sort the proxies of the meshes `{mesh: least revision}`; the mesh `*` stands for all of them."""
    published: Mapping[str, int] = status.get("published") or {}
    groups: dict[str, list[dict[str, Any]]] = {"live": [], "refusing": [], "pending": [], "away": []}
    meshes: dict[str, None] = {}
    for proxy in status.get("proxies") or []:
        mesh = str(proxy.get("mesh"))
        least = max((revisions[key] for key in (mesh, "*") if key in revisions), default=None)
        if least is None or proxy.get("presence") == "offline":
            continue  # No sidecar is there to have it.
        meshes[mesh] = None
        groups[_state(proxy)].append(proxy)
    late = [mesh for mesh in meshes if published.get(mesh, 0) < max(revisions.get(mesh, 0), revisions.get("*", 0))]
    return Progress(**{name: tuple(group) for name, group in groups.items()}, unpublished=tuple(late))


def refusal_text(proxy: Mapping[str, Any]) -> str:
    """Return why a proxy refused the configuration that it should have, if it did."""
    refusal = proxy.get("refusal")
    if isinstance(refusal, Mapping):
        # What it refused before, and should no longer have, is the past: somebody has mended it.
        if refusal.get("version") and refusal["version"] != proxy.get("wantedVersion"):
            return ""
        return str(refusal.get("reason") or refusal.get("message") or "without a reason")
    return str(refusal) if refusal else ""


def _state(proxy: Mapping[str, Any]) -> str:
    if proxy.get("presence") != "connected":
        return "away"
    if refusal_text(proxy):
        return "refusing"
    wanted = proxy.get("wantedVersion")
    return "live" if wanted and wanted == proxy.get("ackedVersion") else "pending"


def _revisions(outcome: Mapping[str, Any]) -> dict[str, int]:
    """Return `{mesh: revision}` to wait for. What was there already has no revision of its own: its proxies alone count."""
    revision = int(outcome.get("revision") or 0)
    revisions: dict[str, int] = {}
    for result in outcome.get("results") or []:
        mesh = str(result.get("name") if result.get("type") == "Mesh" else result.get("mesh") or "*")
        changed = result.get("action") != "unchanged"
        revisions[mesh] = max(revisions.get(mesh, 0), revision if changed else 0)
    return revisions


def _draw(progress: Progress) -> None:
    if sys.stderr.isatty():
        text = f"  live on {len(progress.live)} of {count(progress.total, 'proxy')}"
        click.echo(f"\r\x1b[2K{text}", err=True, nl=False)


def _end_drawing() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[2K", err=True, nl=False)


def _conclude(progress: Progress | CommandFailed, waited_s: float) -> bool:
    if isinstance(progress, CommandFailed):
        say(f"applied, but nobody knows who has it after {waited_s:.1f} s: {progress}")
        return False
    is_live = len(progress.live) == progress.total and not progress.unpublished
    where = f"live on {len(progress.live)} of {count(progress.total, 'proxy')}"
    say(f"{where} after {waited_s:.1f} s")
    lines = [f"{_name(proxy)} refused it: {refusal_text(proxy)}" for proxy in progress.refusing]
    lines += [f"{_name(proxy)} has not acknowledged it yet" for proxy in progress.pending]
    lines += [f"{_name(proxy)} is not connected ({proxy.get('presence')})" for proxy in progress.away]
    lines += [f"mesh {mesh}: the control plane has not published it yet" for mesh in progress.unpublished]
    for line in lines[:NAMES_MAX]:
        say(f"  {line}")
    if len(lines) > NAMES_MAX:
        say(f"  and {len(lines) - NAMES_MAX} more; see mesh status")
    return is_live


def _name(proxy: Mapping[str, Any]) -> str:
    return f"{proxy.get('mesh')}/{proxy.get('name')}"
