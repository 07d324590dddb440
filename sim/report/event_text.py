"""Events as lines of text: when, who, what, and what it follows from."""

from collections.abc import Iterable, Iterator

from sim.report.causes import Happening

_FIELDS_MAX = 8
_VALUE_CHARACTERS_MAX = 40


def event_rows(events: Iterable[Happening], *, from_s: float, until_s: float) -> Iterator[str]:
    """Write a line for each event of a stretch of the run, with the kind, host and id of its cause."""
    by_id: dict[str, Happening] = {}
    for event in events:
        by_id[event.id] = event
        if from_s <= event.at_s <= until_s:
            yield event_row(event, by_id.get(event.cause))


def event_row(event: Happening, cause: Happening | None) -> str:
    """Write one line."""
    because = f"  <- {cause.kind} {cause.host} ({cause.id})" if cause is not None else ""
    return f"{_moment(event.at_s):>11}  {event.id:>6}  {event.host:<18} {event.kind:<28} {_fields(event)}{because}".rstrip()


def _moment(at_s: float) -> str:
    minutes, rest = divmod(round(at_s * 1000), 60_000)
    return f"{minutes}m{rest / 1000:06.3f}s" if minutes else f"{rest / 1000:.3f}s"


def _fields(event: Happening) -> str:
    fields = [(name, value) for name, value in event.fields.items() if value not in ("", None) and name != "exception"]
    return " ".join(f"{name}={str(value)[:_VALUE_CHARACTERS_MAX]}" for name, value in fields[:_FIELDS_MAX])
