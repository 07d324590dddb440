"""The lanes of the timeline: what lay on the mesh and in which state its parts were, as bars over time. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from sim.checks.evidence import Evidence
from sim.report.causes import Happening
from sim.report.material import HostFacts
from sim.report.series import steps

Bar = list[Any]  # [from, to, what it says, how much (0 to 1), the id of its event]


def lanes_of(evidence: Evidence, events: Sequence[Happening], hosts: Sequence[HostFacts]) -> list[dict[str, Any]]:
    """Return the groups of lanes: `{name, rows: [{name, bars}]}`, without those in which nothing happened."""
    end_s = evidence.ended_s
    groups = [
        ("faults", _occurrences(evidence, events, faults=True)),
        ("changes", _occurrences(evidence, events, faults=False)),
        ("pushes", _pushes(evidence, events)),
        ("down", _spans_by_host(events, "host.killed", "host.started", end_s)),
        ("cut off", _spans_by_host(events, "control_plane.disconnected", "control_plane.connected", end_s)),
        ("ejected", _ejections(events, end_s)),
        ("breakers", _failures(events, "requests.refused", "service")),
        ("failing", _failures(events, "requests.failing", "endpoint")),
        ("instances", _instances(events, hosts, end_s)),
    ]
    return [{"name": name, "rows": rows} for name, rows in groups if rows]


def _occurrences(evidence: Evidence, events: Iterable[Happening], *, faults: bool) -> list[dict[str, Any]]:
    begun = {
        (event.fields.get("what"), round(event.at_s, 3)): event.id for event in events if event.kind == "timeline.begun"
    }
    rows = []
    for occurred in evidence.occurrences:
        if occurred.entry.is_fault is not faults:
            continue
        note = "" if occurred.bit else ": touched nothing"
        name = begun.get((occurred.title, round(occurred.start_s, 3)), "")
        bar = [occurred.start_s, occurred.end_s, f"{occurred.title}{note}", 1.0 if occurred.bit else 0.25, name]
        rows.append({"name": occurred.title, "bars": [bar]})
    return rows


def _pushes(evidence: Evidence, events: Iterable[Happening]) -> list[dict[str, Any]]:
    marks: dict[str, list[Bar]] = {"configuration.pushed": [], "configuration.nacked": []}
    for event in events:
        if event.kind in marks and event.at_s >= 0.0:
            what = f"{event.kind} {event.fields.get('proxy', event.host)}"
            marks[event.kind].append([event.at_s, event.at_s, what, 1.0, event.id])
    rows = [{"name": kind.partition(".")[2], "bars": bars} for kind, bars in marks.items() if bars]
    converging: list[Bar] = [
        [change.start_s, evidence.ended_s if change.converged_s is None else change.converged_s, change.what, 1.0, ""]
        for change in evidence.config_changes
    ]
    return rows + ([{"name": "converging", "bars": converging}] if converging else [])


def _spans_by_host(events: Iterable[Happening], began: str, ended: str, end_s: float) -> list[dict[str, Any]]:
    """Return the stretches between two kinds of event, by host; what was before the run's beginning is left out."""
    rows: dict[str, list[Bar]] = {}
    open_by_host: dict[str, Happening] = {}
    for event in events:
        if event.kind == began and event.at_s >= 0.0:
            open_by_host.setdefault(event.host, event)
        elif event.kind == ended and event.host in open_by_host:
            first = open_by_host.pop(event.host)
            rows.setdefault(event.host, []).append([first.at_s, event.at_s, began, 1.0, first.id])
    for host, first in open_by_host.items():
        if first.at_s < end_s:
            rows.setdefault(host, []).append([first.at_s, end_s, began, 1.0, first.id])
    return [{"name": host, "bars": bars} for host, bars in sorted(rows.items())]


def _ejections(events: Iterable[Happening], end_s: float) -> list[dict[str, Any]]:
    """Return who was ejected, as darkly as many proxies had done so; bars carry the first ejection's id."""
    open_by_pair: dict[tuple[str, str], Happening] = {}
    stretches: dict[str, list[tuple[float, float, Happening]]] = {}
    for event in events:
        pair = (event.host, str(event.fields.get("endpoint", "")))
        if event.kind == "endpoint.ejected":
            open_by_pair.setdefault(pair, event)
        elif event.kind == "endpoint.returned" and pair in open_by_pair:
            first = open_by_pair.pop(pair)
            stretches.setdefault(pair[1], []).append((first.at_s, event.at_s, first))
        elif event.kind == "host.killed":  # What it had ejected died with it.
            for known in [known for known in open_by_pair if known[0] == event.host]:
                first = open_by_pair.pop(known)
                stretches.setdefault(known[1], []).append((first.at_s, event.at_s, first))
    for (_, endpoint), first in open_by_pair.items():
        stretches.setdefault(endpoint, []).append((first.at_s, end_s, first))
    return [{"name": endpoint, "bars": _stacked(found, end_s)} for endpoint, found in sorted(stretches.items())]


def _stacked(found: Sequence[tuple[float, float, Happening]], end_s: float) -> list[Bar]:
    changes = [change for start_s, stop_s, _ in found for change in ((start_s, 1), (stop_s, -1))]
    levels = [step for step in steps(changes, end_s=end_s) if step[2] > 0]
    most = max((level for _, _, level in levels), default=1)
    bars: list[Bar] = []
    for start_s, stop_s, level in levels:
        first = next((event for began_s, ended_s, event in found if began_s <= start_s < ended_s), found[0][2])
        bars.append([start_s, stop_s, f"ejected by {level:g}", 0.35 + 0.65 * level / most, first.id])
    return bars


def _failures(events: Iterable[Happening], kind: str, by: str) -> list[dict[str, Any]]:
    rows: dict[str, list[Bar]] = {}
    for event in events:
        if event.kind == kind:
            fields = event.fields
            name = str(fields[by] or fields["service"])
            what = f"{event.host}: {fields['reason']}, {fields['requests']} times"
            rows.setdefault(name, []).append([event.at_s, fields["until_s"], what, 0.55, event.id])
    return [{"name": name, "bars": bars} for name, bars in sorted(rows.items())]


def _instances(events: Iterable[Happening], hosts: Sequence[HostFacts], end_s: float) -> list[dict[str, Any]]:
    """Return how many instances of a service had power, where that changed."""
    workload_by_host = {host.name: host.workload for host in hosts}
    changes: dict[str, list[tuple[float, int]]] = {}
    for event in events:
        change = {"host.started": 1, "host.killed": -1}.get(event.kind)
        workload = workload_by_host.get(event.host, "")
        if change is not None and workload and event.at_s < end_s:
            changes.setdefault(workload, []).append((event.at_s, change))
    rows = []
    for workload, found in sorted(changes.items()):
        levels = steps(found, end_s=end_s)
        if len({level for _, _, level in levels}) > 1:
            most = max(level for _, _, level in levels)
            bars = [[start, stop, f"{level:g} up", level / most, ""] for start, stop, level in levels]
            rows.append({"name": workload, "bars": bars})
    return rows
