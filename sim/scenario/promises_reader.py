"""Reads `checks` of a scenario file."""

from collections.abc import Iterable

from mesh.model.traffic import ResponseFlag
from mesh.resources.documents import suggest
from sim.scenario.expression import COUNTED, METRICS, Comparison, Metric, Number, parse_comparison
from sim.scenario.measured_place import parse_place
from sim.scenario.names import Names
from sim.scenario.promises import (
    BUILTINS,
    Check,
    ConfigConverges,
    Expectation,
    MtlsEverywhere,
    NoDoubleDelivery,
    Promise,
    Recovers,
    Span,
    When,
)
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys
from sim.scenario.timeline import TimelineEntry
from sim.scenario.topology import Service
from sim.scenario.units import parse_span

_ALLOWED_TIMES = "always, outside faults, during NAME, after NAME, between 10s and 20s, at end"
_GRACE = "grace belongs to `when: outside faults` and `when: after NAME`"
_SPANS = [span.value for span in Span]
_KEYS_BY_BUILTIN = {
    "recovers": ("within",),
    "no-double-delivery": ("to",),
    "mtls-everywhere": (),
    "config-converges": ("within",),
}


class PromisesReader:
    """Reads one file's checks against its names, services and timeline. `duration_s`: of the run."""

    def __init__(
        self, names: Names, services: tuple[Service, ...], timeline: tuple[TimelineEntry, ...], *, duration_s: float
    ) -> None:
        self.names = names
        self.duration_s = duration_s
        self.services = services
        self.faults = tuple(dict.fromkeys(word for entry in timeline for word in (entry.name, entry.word) if word))

    def checks(self, cursor: Cursor) -> tuple[Check, ...]:
        checks: list[Check] = []
        for element in cursor.elements():
            check = self._check(element)
            if check is not None:
                if any(other.name == check.name for other in checks):
                    element.refuse(f"two checks are called '{check.name}'", "give one of them another name")
                checks.append(check)
        return tuple(checks)

    def _check(self, cursor: Cursor) -> Check | None:
        if isinstance(cursor.value, dict) and "builtin" in cursor.value:
            return self._builtin(cursor)
        entries = cursor.mapping(keys("expectation"), required_keys("expectation"))
        if "name" not in entries or "expect" not in entries:
            return None
        comparison, when = self._comparison(entries["expect"]), self._when(entries)
        counted = any(METRICS[metric.name][1] == "event" for metric in comparison.metrics())
        if counted and (when.span is not Span.AT_END or "window" in entries):
            entries["expect"].refuse("count() is known at the end of a run", "add when: at end, without a window")
        expectation = Expectation(
            comparison=comparison,
            when=when,
            window_s=entries["window"].span(positive=True) if "window" in entries else None,
            uncounted=self._uncounted(comparison),
        )
        return Check(name=entries["name"].text(), promise=expectation)

    def _comparison(self, cursor: Cursor) -> Comparison:
        harmless = Comparison("==", Number(0.0, 0, "0"), Number(0.0, 0, "0"))
        text = cursor.text()
        if not text:
            return harmless
        try:
            comparison = parse_comparison(text)
        except ValueError as error:
            cursor.refuse(str(error))
            return harmless
        for metric in comparison.metrics():
            self._refuse_unknown_subject(cursor, metric)
        _refuse_counts_as_shares(cursor, comparison)
        return comparison

    def _refuse_unknown_subject(self, cursor: Cursor, metric: Metric) -> None:
        wanted = METRICS[metric.name][1]
        if wanted in ("place", "status"):
            problem = self._place_problem(metric.subject) if wanted == "place" else _status_problem(metric.subject)
            if problem is not None:
                cursor.refuse(f"{metric.name}() {problem[0]}", problem[1])
            return
        known: Iterable[str]
        match wanted:
            case "journey":
                known = ("*", *self.names.journeys, *self.names.requests)
            case "service":
                known = ("*", *self.names.kind_by_service)
            case "member":
                known = ("*", *self.names.kind_by_service, *self.names.headers_by_workload, *self.names.instances)
            case "flag":
                known = tuple(flag.value for flag in ResponseFlag)
            case _:
                known = self.names.events
        if wanted == "event" and not known and metric.subject.partition(".")[0] in self.names.kind_by_service:
            return  # See `_uncounted`.
        if metric.subject not in known:
            hint = suggest(metric.subject, known) or f"known: {', '.join(known) or 'none'}"
            if wanted == "event" and not known:
                hint = "an endpoint says what it counts: POST /charge: {counts: charged, steps: [...]}"
            cursor.refuse(f"{metric.name}() does not know the {wanted} '{metric.subject}'", hint)

    def _place_problem(self, subject: str) -> tuple[str, str] | None:
        """Return what is wrong with a subject like `stock GET /items in east`, and a hint."""
        place = parse_place(subject)
        names = (*self.names.kind_by_service, *self.names.instances)
        if place.name not in names:
            return f"does not know the service or instance '{place.name}'", suggest(place.name, names) or ""
        if place.zone and place.zone not in self.names.zones:
            return f"does not know the zone '{place.zone}'", suggest(place.zone, self.names.zones) or ""
        service = place.name if place.name in self.names.kind_by_service else place.name.rpartition("-")[0]
        operations = self.names.operations_by_service[service]
        if place.operation and place.operation not in operations:
            return f"does not know the endpoint '{place.operation}'", suggest(place.operation, operations) or ""
        return None

    def _uncounted(self, comparison: Comparison) -> tuple[str, ...]:
        """Return the events asked for where no endpoint says what it counts: such a check runs, but proves nothing."""
        if self.names.events:
            return ()
        return tuple(metric.subject for metric in comparison.metrics() if METRICS[metric.name][1] == "event")

    def _when(self, entries: dict[str, Cursor]) -> When:
        grace_s = entries["grace"].span() if "grace" in entries else 0.0
        cursor = entries.get("when")
        text = cursor.text() if cursor is not None else "always"
        word, _, during = text.partition(" ")
        if word == "between" and cursor is not None:
            between_s = self._between(cursor, during)
            if between_s[0] >= self.duration_s:
                cursor.refuse(f"begins when the run is over ({self.duration_s:g}s)")
            return When(span=Span.BETWEEN, between_s=between_s)
        if word in ("during", "after") and during and cursor is not None:
            if during not in self.faults:
                hint = suggest(during, self.faults) or f"in the timeline: {', '.join(self.faults) or 'nothing'}"
                cursor.refuse(f"nothing in the timeline is called '{during}'", hint)
            if "grace" in entries and word == "during":
                entries["grace"].refuse(_GRACE)
            return When(span=Span(word), during=during, grace_s=grace_s)
        if cursor is not None and (text not in _SPANS or text in ("during", "after")):
            hint = suggest(text, _SPANS) or f"allowed: {_ALLOWED_TIMES}"
            cursor.refuse(f"unknown time '{text}'", hint)
            return When()
        when = When(span=Span(text), grace_s=grace_s)
        if "grace" in entries and when.span is not Span.OUTSIDE_FAULTS:
            entries["grace"].refuse(_GRACE)
        return when

    @staticmethod
    def _between(cursor: Cursor, text: str) -> tuple[float, float]:
        begin, _, end = text.partition(" and ")
        try:
            span_s = (parse_span(begin), parse_span(end))
        except ValueError as error:
            cursor.refuse(str(error), "write between 10s and 20s")
            return (0.0, 0.0)
        if span_s[0] >= span_s[1]:
            cursor.refuse("the second moment must be after the first")
        return span_s

    def _builtin(self, cursor: Cursor) -> Check | None:
        entries = cursor.mapping(keys("builtin"), required_keys("builtin"))
        kind = entries["builtin"].text()
        if kind not in BUILTINS:
            hint = suggest(kind, BUILTINS) or f"allowed: {', '.join(BUILTINS)}"
            entries["builtin"].refuse(f"unknown builtin '{kind}'", hint)
            return None
        allowed = _KEYS_BY_BUILTIN[kind]
        for key in ("within", "to"):
            if key in entries and key not in allowed:
                entries[key].refuse(f"'{kind}' takes no '{key}'")
        if "within" in allowed and "within" not in entries:
            cursor.refuse("'within' is missing", "for example within: 30s")
        within_s = entries["within"].span(positive=True) if "within" in entries else 0.0
        name = entries["name"].text() if "name" in entries else kind
        promises: dict[str, Promise] = {
            "recovers": Recovers(within_s=within_s),
            "mtls-everywhere": MtlsEverywhere(),
            "config-converges": ConfigConverges(within_s=within_s),
        }
        promise = promises.get(kind) or NoDoubleDelivery(to=self._endpoints(entries.get("to")))
        return Check(name=name, promise=promise)

    def _endpoints(self, cursor: Cursor | None) -> tuple[tuple[str, str], ...]:
        """Return the endpoints that must not execute twice: the one named, or all that are not idempotent."""
        every = [(s.name, e.operation) for s in self.services for e in s.endpoints if not e.idempotent]
        if cursor is None:
            return tuple(every)
        service, _, operation = cursor.text().partition(" ")
        if (service, operation) not in every:
            known = [f"{name} {text}" for name, text in every]
            hint = suggest(f"{service} {operation}", known) or f"not idempotent: {', '.join(known) or 'none'}"
            cursor.refuse(f"'{cursor.value}' is no endpoint with idempotent: false", hint)
            return ()
        return ((service, operation),)


def _status_problem(subject: str) -> tuple[str, str] | None:
    """Return what is wrong with a subject like `503` or `5xx`, and a hint."""
    if subject[:1] in ("1", "2", "3", "4", "5") and (
        subject[1:] == "xx" or (len(subject) == 3 and subject.isdecimal())
    ):
        return None
    return f"does not know the status '{subject}'", "write a status, or a class such as 5xx"


def _refuse_counts_as_shares(cursor: Cursor, comparison: Comparison) -> None:
    """Note `failures(buy) <= 5%`: it would hold with no failure alone."""
    for one, other in ((comparison.left, comparison.right), (comparison.right, comparison.left)):
        if isinstance(one, Metric) and one.name in COUNTED and isinstance(other, Number) and other.text.endswith("%"):
            share = (
                f"success({one.subject}) is a share" if one.name == "failures" else "divide it by what it is a share of"
            )
            cursor.refuse(f"{one} counts, and {other.text} is a share", f"{share}, or write a number")
