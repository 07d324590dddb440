"""`mesh diff RUN RUN`: what differs between two runs, by the folders that `mesh run --out` wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mesh.cli.tables import Cell, Column, Row, print_result, table
from sim.comparison import QUANTILES, Check, Comparison, Edge, EdgeDifference, RunFiles, compare, read_run


def diff_runs(first: Path, second: Path, *, form: str) -> bool:
    """Print what differs; return whether the runs are alike. Raises: ConfigError."""
    comparison = compare(read_run(first), read_run(second))
    print_result(form, _to_json(comparison), lambda: _render(comparison))
    return comparison.alike


def _render(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    lines = [f"{first.folder} -> {second.folder}"]
    if (first.scenario, first.seed) != (second.scenario, second.seed):
        lines.append(f"not the same: {first.scenario} seed {first.seed} -> {second.scenario} seed {second.seed}")
    figures = ("REQUESTS", "SUCCESS", "TRIES/1", "P50", "P90", "P99")
    titles: list[Column | str] = ["EDGE", *(Column(title, right=True) for title in figures)]
    if comparison.edges:
        lines += ["", table(titles, [_edge_row(edge, comparison) for edge in comparison.edges])]
        lines += [text for edge in comparison.edges if (text := _statuses(edge))]
    checks: list[Row] = [
        [
            Cell("ok", "green") if check.same else Cell("differs", "red"),
            check.name,
            *map(_verdict, (check.first, check.second)),
        ]
        for check in comparison.checks
    ]
    if checks:
        lines += ["", table(["CHECK", "NAME", Column("FIRST", cut=True), Column("SECOND", cut=True)], checks)]
    return "\n".join([*lines, "", _summary(comparison)])


def _edge_row(edge: EdgeDifference, comparison: Comparison) -> Row:
    name = f"{edge.caller} -> {edge.service}"
    one, other = edge.first, edge.second
    if one is None or other is None:
        return [Cell(name, "red"), f"{_count(one)} -> {_count(other)}", "", "", "", "", ""]
    p50, *tail = (_change(getattr(one, quantile), getattr(other, quantile)) for quantile in QUANTILES)
    return [
        Cell(name, "green" if comparison.is_alike(edge) else "yellow"),
        _pair(str(one.requests), str(other.requests)),
        _pair(f"{one.success:.2%}", f"{other.success:.2%}"),
        _pair(f"{one.tries_per_request:.3f}", f"{other.tries_per_request:.3f}"),
        p50,
        *tail,
    ]


def _statuses(edge: EdgeDifference) -> str:
    one, other = edge.first, edge.second
    if one is None or other is None:
        return ""
    changed = [
        f"{status}: {one.statuses.get(status, 0)} -> {other.statuses.get(status, 0)}"
        for status in sorted({**one.statuses, **other.statuses})
        if one.statuses.get(status, 0) != other.statuses.get(status, 0)
    ]
    return f"{edge.caller} -> {edge.service} answers: {', '.join(changed)}" if changed else ""


def _count(edge: Edge | None) -> str:
    return "none" if edge is None else str(edge.requests)


def _pair(one: str, other: str) -> str:
    return one if one == other else f"{one} -> {other}"


def _change(one_s: float, other_s: float) -> str:
    share = f" ({(other_s - one_s) / one_s:+.0%})" if one_s else ""
    return f"{one_s * 1e3:.1f} -> {other_s * 1e3:.1f}ms{share}"


def _verdict(check: Check | None) -> str:
    return "not judged" if check is None else f"{'ok' if check.ok else 'FAIL'} {check.value}"


def _summary(comparison: Comparison) -> str:
    edges = comparison.edges
    outcomes = sum(edge.same_outcomes for edge in edges)
    close = sum(edge.p50_change is not None and abs(edge.p50_change) <= comparison.tolerance for edge in edges)
    verdicts = sum(check.same for check in comparison.checks)
    return (
        f"same success and tries on {outcomes} of {len(edges)} edges, p50 within {comparison.tolerance:.0%} on {close}, "
        f"same verdict on {verdicts} of {len(comparison.checks)} checks"
    )


def _to_json(comparison: Comparison) -> Mapping[str, Any]:
    return {
        "first": _run(comparison.first),
        "second": _run(comparison.second),
        "alike": comparison.alike,
        "edges": [
            {
                "caller": edge.caller,
                "service": edge.service,
                "alike": comparison.is_alike(edge),
                "p50_change": edge.p50_change,
                "first": _plain(edge.first),
                "second": _plain(edge.second),
            }
            for edge in comparison.edges
        ],
        "checks": [
            {"name": check.name, "same": check.same, "first": _plain(check.first), "second": _plain(check.second)}
            for check in comparison.checks
        ],
    }


def _run(run: RunFiles) -> Mapping[str, Any]:
    return {"folder": run.folder, "scenario": run.scenario, "seed": run.seed}


def _plain(one: Edge | Check | None) -> Any:
    return msgspec.to_builtins(one)
