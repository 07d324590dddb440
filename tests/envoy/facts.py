"""Facts: an outcome as a flat table, name to value, so that two outcomes are compared line by line.

What differs from run to run (dates, ids, ports, milliseconds) is replaced by a word for what it is; spans are compared with
the bounds of their case, on both sides.
"""

import re
from collections import Counter
from collections.abc import Iterable

from tests.envoy.case import Bounds, Case
from tests.envoy.outcome import Arrival, Entry, Outcome, Reply

Facts = dict[str, str]
SHOWN_MAX = 200
EARLY_S = 0.02  # When a busy machine shows the first of two events late, the second seems early.

# Values of these headers are made anew in each run; what counts is that they are there.
_VOLATILE = {
    "date": "<date>",
    "x-envoy-upstream-service-time": "<milliseconds>",
    "x-request-id": "<id>",
    "traceparent": "<trace>",
}
_REST = "x-envoy-expected-rq-timeout-ms"
_MADE_COOKIE = re.compile(r'="[0-9a-f]{16}"')
_PORT = re.compile(r"127\.0\.\d+\.\d+(:\d+)")


def facts(case: Case, outcome: Outcome) -> Facts:
    """Return all that is compared of an outcome."""
    found: Facts = {}
    if not case.compares_replies:
        pass
    elif case.ordered:
        for number, reply in enumerate(outcome.replies, 1):
            found |= _reply(f"reply {number}", reply)
        for number, entry in enumerate(outcome.log, 1):
            found |= _entry(f"log {number}", entry, with_upstream=case.shares is None)
    else:
        found |= _counted("replies", map(_reply_in_short, outcome.replies))
        found |= _counted("log", map(_entry_in_short, outcome.log))
    found |= _arrivals(case, outcome.arrivals)
    if case.shares is None:
        found |= {f"connections {name}": str(count) for name, count in outcome.connections.items()}
    found |= {f"stat {name}": str(value) for name, value in outcome.stats.items()}
    found |= {f"complaint {number}": complaint for number, complaint in enumerate(outcome.complaints, 1)}
    return found | _spans(case, outcome)


def _reply(name: str, reply: Reply) -> Facts:
    found = {f"{name} status": str(reply.status), f"{name} body": reply.body, f"{name} ending": reply.ending}
    if reply.interim:
        found[f"{name} interim"] = " ".join(map(str, reply.interim))
    if reply.closed_s is not None:
        found[f"{name} connection"] = "ended"
    return found | _headers(f"{name} header", reply.headers)


def _reply_in_short(reply: Reply) -> str:
    if reply.ending != "complete":
        return f"{reply.ending} {reply.status}"
    return f"{reply.status} {reply.body}" if reply.status != 200 else "200"


def _entry(name: str, entry: Entry, *, with_upstream: bool) -> Facts:
    found = {
        f"{name} at": entry.listener,
        f"{name} status": str(entry.status),
        f"{name} flags": entry.flags,
        f"{name} details": entry.details,
        f"{name} tries": str(entry.tries),
    }
    return found | {f"{name} upstream": entry.upstream} if with_upstream else found


def _entry_in_short(entry: Entry) -> str:
    return f"{entry.status} {entry.flags or '-'} {entry.details} tries={entry.tries}"


def _arrivals(case: Case, arrivals: tuple[Arrival, ...]) -> Facts:
    if case.shares is not None:
        counts = Counter(arrival.upstream for arrival in arrivals)
        names = sorted(case.shares)
        return {f"share of {name}": _within(counts[name], case.shares[name]) for name in names}
    if not case.ordered:
        return _counted("requests", (f"{arrival.upstream} {arrival.method} {arrival.target}" for arrival in arrivals))
    found: Facts = {}
    for number, arrival in enumerate(arrivals, 1):
        name = f"request {number}"
        found[f"{name} upstream"] = arrival.upstream
        found[f"{name} line"] = f"{arrival.method} {arrival.target}"
        found[f"{name} connection"] = f"{arrival.upstream} {arrival.connection}"
        if arrival.body:
            found[f"{name} body"] = arrival.body
        if arrival.cut:
            found[f"{name} cut"] = "yes"
        found |= _headers(f"{name} header", arrival.headers)
        rest = f"{name} header {_REST}"
        if number > 1 and rest in found:
            found[rest] = f"up to {-(-int(found[rest]) // 1000)} s"  # What back-offs have left of it is chance.
    found["requests"] = str(len(arrivals))
    return found


def _headers(name: str, headers: Iterable[tuple[str, str]]) -> Facts:
    found: Facts = {}
    for header, value in headers:
        key = f"{name} {header.lower()}"
        shown = _PORT.sub("127.0.0.1:<port>", _VOLATILE.get(header.lower(), value))
        shown = _MADE_COOKIE.sub('="<hash>"', shown) if header.lower() == "set-cookie" else shown
        shown = shown if len(shown) <= SHOWN_MAX else f"<{len(shown)} characters>"
        found[key] = f"{found[key]}, {shown}" if key in found else shown
    return found


def _counted(name: str, items: Iterable[str]) -> Facts:
    return {f"{name}: {item}": str(count) for item, count in sorted(Counter(items).items())}


def _spans(case: Case, outcome: Outcome) -> Facts:
    found: Facts = {}
    at = [arrival.at_s for arrival in outcome.arrivals]
    for number, bounds in enumerate(case.gaps, 1):
        gap = at[number] - at[number - 1] if number < len(at) else float("nan")
        found[f"gap {number}"] = _within(gap, bounds, early=EARLY_S)
    for number, wanted in enumerate(case.takes, 1):
        if wanted is not None:
            whole = outcome.replies[number - 1].whole_s if number <= len(outcome.replies) else float("nan")
            found[f"reply {number} takes"] = _within(whole, wanted, early=EARLY_S)
    return found


def _within(value: float, bounds: Bounds, *, early: float = 0.0) -> str:
    low, high = bounds
    if low - early <= value <= high:
        return f"within {low:g} and {high:g}"
    return f"{value:g}, not within {low:g} and {high:g}"
