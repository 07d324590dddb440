"""Reads `retries` of workloads and calls: `3`, or `{count: 3, when: [5xx, timeout], backoff: 100ms}`."""

from sim.scenario.reading import Cursor
from sim.scenario.retries import RETRY_ON, Retries
from sim.scenario.schema import keys, required_keys

_COUNT_MAX = 100
_BACKOFF_GROWTH = 10.0  # A backoff without a maximum grows to ten times its first pause, as Envoy's does.


def read_retries(cursor: Cursor) -> Retries:
    """Read how often something is tried again, when and after what pauses."""
    if not isinstance(cursor.value, dict):
        return Retries(count=_count(cursor))
    entries = cursor.mapping(keys("retries"), required_keys("retries"))
    base_s = most_s = 0.0
    jitter = False
    if "backoff" in entries:
        base_s, most_s, jitter = _backoff(entries["backoff"])
    return Retries(
        count=_count(entries["count"]) if "count" in entries else 1,
        outcomes=_outcomes(entries["when"]) if "when" in entries else RETRY_ON,
        backoff_s=base_s,
        backoff_max_s=most_s,
        jitter=jitter,
    )


def _count(cursor: Cursor) -> int:
    count = cursor.count(least=1)
    if count > _COUNT_MAX:
        cursor.refuse(f"must be at most {_COUNT_MAX}, not {count}")
    return min(count, _COUNT_MAX)


def _outcomes(cursor: Cursor) -> tuple[str, ...]:
    found = []
    for element in cursor.elements():
        # YAML hands statuses over as numbers.
        word = str(element.value) if isinstance(element.value, int) else element.text()
        if word not in RETRY_ON and not (word.isdecimal() and 400 <= int(word) <= 599):
            element.refuse(
                f"'{word}' is nothing to retry on", f"write {', '.join(RETRY_ON)} or a status from 400 to 599"
            )
        found.append(word)
    if cursor.value == []:
        cursor.refuse("must name at least one outcome", f"leave it out for {', '.join(RETRY_ON)}")
    return tuple(found)


def _backoff(cursor: Cursor) -> tuple[float, float, bool]:
    """Return the first pause, the longest, and whether they are drawn."""
    if not isinstance(cursor.value, dict):
        pause_s = cursor.span()
        return pause_s, pause_s, False
    entries = cursor.mapping(keys("backoff"), required_keys("backoff"))
    base_s = entries["base"].span(positive=True) if "base" in entries else 0.0
    most_s = entries["max"].span() if "max" in entries else base_s * _BACKOFF_GROWTH
    if most_s < base_s:
        entries["max"].refuse("must not be below base")
    return base_s, most_s, entries["jitter"].flag() if "jitter" in entries else True
