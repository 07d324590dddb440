"""`report.html`: one page with everything, that opens from a file and asks nobody for anything.

The page's own files stand in the folder `page`; they are put together here, with the run's data as JSON. Drawing is ours, on
canvases: what a chart library would add is ten times the rest, and one cursor over all panels would still be ours to write.
"""

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import attrs
import msgspec

from sim.report.causes import Happening
from sim.report.event_lines import happenings_of_run
from sim.report.lanes import lanes_of
from sim.report.material import Material
from sim.report.series import Bins, edge_rows, mesh_series, user_series
from sim.report.space_time import Moment, windows_of
from sim.report.traces import spans_of_run
from sim.report.worst import worst_traces

_SCRIPTS = (
    "base.js",
    "time.js",
    "charts.js",
    "lanes.js",
    "map.js",
    "tables.js",
    "traces.js",
    "space_time.js",
    "main.js",
)
_EVENTS_MAX = 5_000
_FIELDS_SHOWN_MAX = 12
_WINDOWS_MAX = 12
# Of everybody at the start, and of nobody's interest then.
_ROUTINE = frozenset({"configuration.acked", "configuration.accepted", "listener.opened", "identity.replaced"})


def page_of(material: Material) -> Iterator[bytes]:
    """Write the page."""
    folder = resources.files("sim.report") / "page"
    page = (folder / "page.html").read_text("utf-8")
    style = (folder / "style.css").read_text("utf-8")
    script = "\n".join((folder / name).read_text("utf-8") for name in _SCRIPTS)
    before, data, after = page.partition("/*DATA*/")
    assert data, "the page has a place for its data"
    yield before.replace("/*TITLE*/", material.result.scenario).replace("/*STYLE*/", style).encode()
    # Within a script element only `</` could end it early.
    yield msgspec.json.encode(page_data(material), enc_hook=str).replace(b"</", b"<\\/")
    yield after.replace("/*SCRIPT*/", script).encode()


def page_data(material: Material) -> dict[str, Any]:
    """Return everything that the page shows. Times are seconds of the run."""
    evidence, result, keeper = material.evidence, material.result, material.capture.requests
    assert keeper is not None, "the page needs requests"
    events = happenings_of_run(material)
    bins = Bins.of(evidence.ended_s, len(evidence.users.visits))
    return {
        "run": _run(material),
        "bins": {"width": bins.width_s, "count": bins.count},
        "users": user_series(evidence, bins),
        "mesh": mesh_series(evidence, bins),
        "lanes": lanes_of(evidence, events, material.hosts),
        "edges": edge_rows(keeper.seen, bins, origin_s=evidence.origin_s, weight=keeper.one_in),
        "checks": [attrs.asdict(check) for check in result.checks],
        "traces": worst_traces(
            spans_of_run(material),
            moments=[moment.at_s for moment in interesting_moments(material)],
            named=[check.trace for check in result.checks if check.trace],
        ),
        "events": _events(events),
        "hosts": [[host.name, host.zone, host.workload] for host in material.hosts],
        "windows": _windows(material),
    }


def _windows(material: Material) -> list[dict[str, Any]]:
    tape = material.capture.tape
    if tape is None:
        return []
    moments = interesting_moments(material)[:_WINDOWS_MAX]
    return windows_of(tape, moments, origin_s=material.evidence.origin_s, hosts=material.hosts)


def interesting_moments(material: Material) -> list[Moment]:
    """Return when something began or ended: first the broken checks, then what the timeline did, each moment once."""
    broken = [
        Moment(at_s=check.first_s, title=f"{check.name} broken")
        for check in material.result.checks
        if not check.ok and check.first_s is not None
    ]
    begun = [Moment(at_s=occurred.start_s, title=occurred.title) for occurred in material.evidence.occurrences]
    ended = [
        Moment(at_s=occurred.end_s, title=f"{occurred.title} over")
        for occurred in material.evidence.faults()
        if occurred.end_s < material.evidence.ended_s
    ]
    by_moment = {moment.at_s: moment for moment in reversed([*broken, *begun, *ended])}
    return sorted(by_moment.values(), key=[*broken, *begun, *ended].index)


def _run(material: Material) -> dict[str, Any]:
    result, evidence = material.result, material.evidence
    return {
        "scenario": result.scenario,
        "file": evidence.scenario.file.rpartition("/")[2],
        "seed": result.seed,
        "hash": result.event_hash,
        "virtual": result.virtual_s,
        "wall": result.wall_s,
        "hops": result.hops,
        "ok": result.ok,
        "duration": evidence.ended_s,
        "warmup": evidence.scenario.warmup_s,
        "totals": attrs.asdict(result.totals),
        "notes": result.notes,
        "kept": material.capture.requests.one_in if material.capture.requests else 1,
        "services": [[service.name, service.kind.value] for service in evidence.scenario.services],
        "users": [workload.name for workload in evidence.scenario.workloads],
        "calls": [
            *([users.name, service] for users in evidence.scenario.workloads for service in users.entry_services()),
            *([caller.name, service] for caller in evidence.scenario.services for service in caller.called_services()),
        ],
    }


def _events(events: Sequence[Happening]) -> list[list[Any]]:
    """Return `[id, at, host, kind, level, cause, text]`; what happened before the run only where something follows from it."""
    wanted = {event.cause for event in events if event.at_s >= 0.0}
    shown = [e for e in events if e.id in wanted or (e.at_s >= 0.0 and e.kind not in _ROUTINE)]
    return [
        [event.id, round(event.at_s, 6), event.host, event.kind, event.level, event.cause, _text(event)]
        for event in shown[:_EVENTS_MAX]
    ]


def _text(event: Happening) -> str:
    fields = [(name, value) for name, value in event.fields.items() if value not in ("", None) and name != "exception"]
    return " ".join(f"{name}={value}" for name, value in fields[:_FIELDS_SHOWN_MAX])
