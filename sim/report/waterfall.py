"""One trace as a waterfall in text: a line a span, indented below what caused it, with a bar for its time."""

from collections.abc import Iterable, Iterator, Sequence

from sim.checks.wording import format_moment, format_rounded
from sim.report.spans import INBOUND, TRY, USER, Span
from sim.report.worst import with_depth

BAR_WIDTH = 48
_LABEL_WIDTH_MAX = 56


def find_traces(spans: Iterable[Span], beginning: str) -> dict[str, list[Span]]:
    """Return the spans of traces whose id begins so."""
    found: dict[str, list[Span]] = {}
    for span in spans:
        if span.trace.startswith(beginning):
            found.setdefault(span.trace, []).append(span)
    return found


def waterfall_of(spans: Sequence[Span]) -> Iterator[str]:
    """Write one trace."""
    rows = with_depth(spans)
    start_s = min(span.start_s for _, span in rows)
    length_s = max(max(span.end_s for _, span in rows) - start_s, 1e-9)
    labels = [f"{'  ' * depth}{_label(span)}"[:_LABEL_WIDTH_MAX] for depth, span in rows]
    width = max(map(len, labels))
    root = rows[0][1]
    yield f"trace {root.trace}  {root.name}  at {format_moment(start_s)}  {format_rounded(length_s)}"
    for label, (_, span) in zip(labels, rows, strict=True):
        bar = _bar((span.start_s - start_s) / length_s, (span.end_s - start_s) / length_s)
        outcome = str(span.status) if span.status else "no answer"
        facts = " ".join(part for part in (outcome, span.flags, span.note) if part)
        yield f"{label:<{width}} |{bar}| {format_rounded(span.end_s - span.start_s)}  {facts}"


def _label(span: Span) -> str:
    if span.kind == USER:
        return f"{span.host} (user) {span.name}"
    if span.kind == TRY:
        return f"try {span.tries} -> {span.upstream}"
    return f"{span.host} {span.name}" if span.kind == INBOUND else f"-> {span.name}"


def _bar(from_share: float, to_share: float) -> str:
    first = min(int(from_share * BAR_WIDTH), BAR_WIDTH - 1)
    last = max(first + 1, min(BAR_WIDTH, round(to_share * BAR_WIDTH)))
    return " " * first + "█" * (last - first) + " " * (BAR_WIDTH - last)
