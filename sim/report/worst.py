"""Chooses the traces that are worth a look: failures near what was broken, then the slowest and the most retried. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from sim.report.spans import Span

TRACES_MAX = 24
_NEAR_EACH_MOMENT = 3
_SPANS_PER_TRACE_MAX = 200


@attrs.frozen
class _Whole:
    trace: str
    root: Span
    spans: list[Span]
    tries: int

    @property
    def long_s(self) -> float:
        return self.root.end_s - self.root.start_s


def worst_traces(spans: Iterable[Span], *, moments: Sequence[float], named: Sequence[str]) -> list[dict[str, Any]]:
    """Return the chosen traces as the page draws them; `named` are in any case among them, if they were kept."""
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace, []).append(span)
    wholes = [whole for trace, found in by_trace.items() if (whole := _whole(trace, found)) is not None]
    chosen: dict[str, tuple[str, _Whole]] = {}

    def choose(why: str, candidates: Iterable[_Whole], most: int) -> None:
        for whole in candidates:
            if most and whole.trace not in chosen and len(chosen) < TRACES_MAX:
                chosen[whole.trace] = (why, whole)
                most -= 1

    choose("of a check", [whole for whole in wholes if whole.trace in named], len(named))
    failed = [whole for whole in wholes if whole.root.failed]
    for moment in moments:
        after = sorted((one for one in failed if one.root.end_s >= moment), key=lambda one: one.root.end_s)
        choose("failed", after, _NEAR_EACH_MOMENT)
    choose("slow", sorted(wholes, key=lambda one: -one.long_s), 6)
    choose("retried", sorted((one for one in wholes if one.tries > 1), key=lambda one: -one.tries), 4)
    choose("failed", failed, 4)
    middle = sorted(wholes, key=lambda one: one.long_s)
    choose("typical", middle[len(middle) // 2 :], 1)
    ordered = sorted(chosen.values(), key=lambda entry: entry[1].root.start_s)
    return [_written(why, whole) for why, whole in ordered]


def _whole(trace: str, spans: list[Span]) -> _Whole | None:
    root = next((span for span in spans if not span.parent), None)
    return None if root is None else _Whole(trace, root, spans, max(span.tries for span in spans))


def _written(why: str, whole: _Whole) -> dict[str, Any]:
    rows = with_depth(whole.spans)[:_SPANS_PER_TRACE_MAX]
    return {
        "id": whole.trace,
        "why": why,
        "name": whole.root.name,
        "start": whole.root.start_s,
        "end": max(span.end_s for _, span in rows),
        "ms": round(whole.long_s * 1000.0, 3),
        "failed": whole.root.failed,
        "tries": whole.tries,
        "spans": [
            {
                "depth": depth,
                "kind": span.kind,
                "host": span.host,
                "name": span.name,
                "start": span.start_s,
                "end": span.end_s,
                "status": span.status,
                "flags": span.flags,
                "note": span.note,
                "upstream": span.upstream,
                "tries": span.tries,
                "failed": span.failed,
            }
            for depth, span in rows
        ],
    }


def with_depth(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Return the spans of a trace as a tree is read, with their depth: each before those below it, these by their start."""
    known = {span.span for span in spans}
    below: dict[str, list[Span]] = {}
    for span in spans:
        below.setdefault(span.parent if span.parent in known else "", []).append(span)
    result: list[tuple[int, Span]] = []
    stack = [(0, span) for span in reversed(_by_start(below.get("", [])))]
    while stack:
        depth, span = stack.pop()
        result.append((depth, span))
        stack += [(depth + 1, one) for one in reversed(_by_start(below.get(span.span, [])))]
    return result


def _by_start(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.start_s, span.span))
