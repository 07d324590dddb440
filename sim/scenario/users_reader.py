"""Reads `workload` of a scenario file."""

from pathlib import PurePath

from mesh.resources.documents import suggest
from sim.scenario.distribution_reader import read_distribution, read_lines
from sim.scenario.distributions import Constant
from sim.scenario.header_reader import read_headers
from sim.scenario.label_reader import read_labels
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.retries_reader import read_retries
from sim.scenario.schema import keys, required_keys
from sim.scenario.topology import Operation
from sim.scenario.units import parse_span
from sim.scenario.users import (
    Arrivals,
    ClosedModel,
    Journey,
    JourneyStep,
    OpenModel,
    RateStage,
    Think,
    Visit,
    Workload,
)


class UsersReader:
    """Reads one file's load."""

    def __init__(self, names: Names, folder: PurePath) -> None:
        self.names = names
        self.folder = folder

    def workloads(self, cursor: Cursor) -> tuple[Workload, ...]:
        return tuple(self._workload(name, entry) for name, entry in cursor.entries().items())

    def _workload(self, name: str, cursor: Cursor) -> Workload:
        if name in self.names.kind_by_service:
            cursor.refuse(f"'{name}' is a service; workloads need names of their own")
        Cursor(cursor.document, cursor.path, name, cursor.violations).name()
        model = cursor.value.get("model", "open") if isinstance(cursor.value, dict) else "open"
        section = model if model in ("open", "closed") else "open"
        assert isinstance(section, str)
        entries = cursor.mapping(keys(section), required_keys(section))
        if "model" in entries:
            entries["model"].choice(("open", "closed"))
        journeys = self._journeys(entries["journeys"]) if "journeys" in entries else ()
        return Workload(
            name=name,
            model=self._closed(entries) if section == "closed" else self._open(entries, cursor),
            journeys=journeys,
            mix=self._mix(entries.get("mix"), journeys),
            zones=self._zones(entries.get("zones"), journeys),
            timeout_s=entries["timeout"].span(positive=True) if "timeout" in entries else 0.0,
            headers=read_headers(entries["headers"], drawn=True) if "headers" in entries else (),
            labels=read_labels(entries["labels"]) if "labels" in entries else (),
            retries=read_retries(entries["retries"]) if "retries" in entries else None,
        )

    def _open(self, entries: dict[str, Cursor], cursor: Cursor) -> OpenModel:
        arrivals = entries.get("arrivals")
        if arrivals is not None and isinstance(arrivals.value, dict):
            if "rate" in entries:
                entries["rate"].refuse("a trace has its own rate", "leave out rate or arrivals")
            return OpenModel(trace_s=self._trace(arrivals))
        if "rate" not in entries and isinstance(cursor.value, dict):
            cursor.refuse("'rate' is missing")
        kind = arrivals.choice([a.value for a in Arrivals]) if arrivals is not None else "poisson"
        return OpenModel(arrivals=Arrivals(kind), stages=self._stages(entries["rate"]) if "rate" in entries else ())

    def _trace(self, cursor: Cursor) -> tuple[float, ...]:
        entries = cursor.mapping(keys("arrivals_trace"), required_keys("arrivals_trace"))
        if "trace" not in entries:
            return ()
        starts = []
        for number, line in enumerate(read_lines(entries["trace"], self.folder), start=1):
            try:
                starts.append(parse_span(line))
            except ValueError as error:
                entries["trace"].refuse(f"line {number} of {entries['trace'].value}: {error}")
                return ()
        return tuple(sorted(starts))

    def _stages(self, cursor: Cursor) -> tuple[RateStage, ...]:
        if not isinstance(cursor.value, list):
            return (RateStage(to=cursor.rate(), span_s=0.0),)
        stages = [self._stage(element) for element in cursor.elements()]
        named = [stage.name for stage in stages if stage.name]
        for name in {name: None for name in named if named.count(name) > 1}:
            cursor.refuse(f"two stages are called '{name}'")
        if not any(stage.to for stage in stages):
            cursor.refuse("must go to a rate above 0 at least once")
        return tuple(stages)

    @staticmethod
    def _stage(cursor: Cursor) -> RateStage:
        entries = cursor.mapping(keys("rate_stage"))
        name = entries["as"].name() if "as" in entries else ""
        if "hold" in entries:
            for other in ("to", "over"):
                if other in entries:
                    entries[other].refuse(f"a stage has either hold or to, not '{other}' beside hold")
            return RateStage(to=None, span_s=entries["hold"].span(), name=name)
        if "to" not in entries:
            cursor.refuse("a stage is {to: 60/s, over: 30s} or {hold: 3m}")
            return RateStage(to=None, span_s=0.0)
        span_s = entries["over"].span() if "over" in entries else 0.0
        return RateStage(to=entries["to"].rate(), span_s=span_s, name=name)

    def _closed(self, entries: dict[str, Cursor]) -> ClosedModel:
        think = read_distribution(entries["think"], self.folder) if "think" in entries else Constant(0.0)
        return ClosedModel(users=entries["users"].count(least=1) if "users" in entries else 1, think=think)

    def _journeys(self, cursor: Cursor) -> tuple[Journey, ...]:
        journeys = []
        for name, entry in cursor.entries().items():
            Cursor(entry.document, entry.path, name, entry.violations).name()
            steps = tuple(self._step(element) for element in entry.elements())
            if not any(isinstance(step, Visit) for step in steps):
                entry.refuse("a journey needs at least one request: GET web/products")
            journeys.append(Journey(name=name, steps=steps))
        return tuple(journeys)

    def _step(self, cursor: Cursor) -> JourneyStep:
        if isinstance(cursor.value, dict) and "request" in cursor.value:
            entries = cursor.mapping(keys("request"), required_keys("request"))
            return Visit(
                operation=self._request(entries["request"]),
                headers=read_headers(entries["headers"], drawn=True) if "headers" in entries else (),
                expected=read_headers(entries["expects"], drawn=False) if "expects" in entries else (),
                body=entries["body"].text() if "body" in entries else "",
            )
        if isinstance(cursor.value, dict):
            entries = cursor.mapping(keys("think"), required_keys("think"))
            return Think(time=read_distribution(entries["think"], self.folder) if "think" in entries else Constant(0.0))
        return Visit(operation=self._request(cursor))

    def _request(self, cursor: Cursor) -> Operation:
        verb, _, place = cursor.text().partition(" ")
        service, slash, path = place.partition("/")
        if cursor.value and not (slash and verb):
            cursor.refuse(f"{cursor.value!r} is not a request; write METHOD service/path: GET web/products")
        elif slash:
            if self.names.kind_by_service.get(service, "http") != "http":
                cursor.refuse(f"users speak HTTP; '{service}' is a {self.names.kind_by_service[service]} service")
            else:
                self.names.refuse_unknown_operation(cursor, service, verb, f"/{path}")
        return Operation(service=service, verb=verb, target=f"/{path}")

    @staticmethod
    def _mix(cursor: Cursor | None, journeys: tuple[Journey, ...]) -> tuple[tuple[str, float], ...]:
        names = tuple(journey.name for journey in journeys)
        if cursor is None:
            return tuple((name, 1.0) for name in names)
        weights = {name: entry.number() for name, entry in cursor.entries().items()}
        for name in weights:
            if name not in names:
                hint = suggest(name, names) or f"journeys: {', '.join(names)}"
                cursor.child(name).refuse(f"unknown journey '{name}'", hint)
        for name in names:
            if name not in weights and isinstance(cursor.value, dict):
                cursor.refuse(f"journey '{name}' has no weight", f"write {name}: 0 if it should not run")
        if weights and not sum(weights.values()):
            cursor.refuse("at least one weight must be above 0")
        return tuple(weights.items())

    def _zones(self, cursor: Cursor | None, journeys: tuple[Journey, ...]) -> tuple[tuple[str, float], ...]:
        if cursor is None:
            entries = {s.operation.service for j in journeys for s in j.steps if isinstance(s, Visit)}
            used = {zone for service in entries for zone in self.names.zones_by_service.get(service, ())}
            return tuple((zone, 1.0) for zone in self.names.zones if zone in used)
        weights = []
        for zone, entry in cursor.entries().items():
            if zone not in self.names.zones:
                hint = suggest(zone, self.names.zones) or f"zones: {', '.join(self.names.zones)}"
                entry.refuse(f"unknown zone '{zone}'", hint)
            weights.append((zone, entry.number()))
        if weights and not sum(weight for _, weight in weights):
            cursor.refuse("at least one weight must be above 0")
        return tuple(weights)
