"""A result as people read it on a terminal: checks, totals, notes."""

from typing import TYPE_CHECKING

from sim.checks.wording import format_rounded

if TYPE_CHECKING:
    from sim.report.result import RunResult, Totals


def screen_of(result: "RunResult") -> str:
    """Write the screen. Checks that are always on take one line as long as they hold."""
    checks = [check for check in result.checks if not (check.always and check.ok)]
    always = [check for check in result.checks if check.always]
    width = max((len(check.name) for check in checks), default=0)
    lines = ["CHECKS"] if result.checks else ["CHECKS  none: nothing was promised"]
    for check in checks:
        lines.append(f"  {'ok  ' if check.ok else 'FAIL'}  {check.name:<{width}}  {check.value}  {check.detail}")
        if not check.ok and check.requests:
            trace = f"  trace {check.trace}" if check.trace else ""
            lines.append(f"          e.g. {check.requests[0]}{trace}")
    if always:
        holding = sum(check.ok for check in always)
        whole = holding == len(always)
        count = f"{len(always)} invariants" if whole else f"{holding} of {len(always)} invariants hold"
        lines.append(f"  {'ok  ' if whole else '    '}  {count}  always on")
    lines.append(_totals_line(result.totals))
    lines.append(_run_line(result))
    lines += [f"note    {note}" for note in result.notes]
    return "\n".join(lines)


def _totals_line(totals: "Totals") -> str:
    more = (totals.tries - totals.requests) / totals.requests if totals.requests else 0.0
    parts = [
        f"TOTALS  journeys {totals.journeys}",
        f"ok {totals.journeys_ok / totals.journeys:.2%}" if totals.journeys else "",
        f"requests {totals.requests}",
        f"tried {totals.tries} (+{more:.1%})",
        f"p50 {format_rounded(totals.visits_p50_s)}" if totals.visits else "",
        f"p99 {format_rounded(totals.visits_p99_s)}" if totals.visits else "",
        *(f"{status}: {count}" for status, count in totals.statuses.items() if int(status) >= 400),
        f"timeouts: {totals.timeouts}" if totals.timeouts else "",
    ]
    return "  ".join(part for part in parts if part)


def _run_line(result: "RunResult") -> str:
    wall_s = max(result.wall_s, 1e-9)
    variant = f"  variant {result.variant}" if result.variant else ""
    return (
        f"RUN     hash {result.event_hash[:16]}  seed {result.seed}{variant}  {result.hops} hops"
        f"  {format_rounded(result.virtual_s)} in {result.wall_s:.1f}s"
        f" ({result.virtual_s / wall_s:.0f}x real time, {result.hops / wall_s:.0f} hops/s)  exit {result.exit_code}"
    )
