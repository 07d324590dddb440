"""Reads `zones`, `network`, `control_plane` and `services` of a scenario file."""

from pathlib import PurePath

from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Constant
from sim.scenario.failure_reader import read_failures
from sim.scenario.header_reader import read_headers
from sim.scenario.headers import Header
from sim.scenario.label_reader import read_labels
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys
from sim.scenario.topology import (
    Autoscale,
    Call,
    ControlPlaneModel,
    Endpoint,
    Link,
    LinkModel,
    NetworkModel,
    Operation,
    Parallel,
    Service,
    ServiceKind,
    Step,
    Work,
)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Source: RFC 9110, 9.2.2.
_IDEMPOTENT_METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
_DEPTH_MAX = 8  # Parallel steps within parallel steps.


class TopologyReader:
    """Reads one file's system. `folder` is where the file stands: histograms are named relative to it."""

    def __init__(self, names: Names, folder: PurePath) -> None:
        self.names = names
        self.folder = folder

    def network(self, cursor: Cursor) -> NetworkModel:
        entries = cursor.mapping(keys("network"))
        default = self._link_model(entries["default"]) if "default" in entries else LinkModel()
        links = [self._link(element) for element in entries["links"].elements()] if "links" in entries else []
        return NetworkModel(default=default, links=tuple(links))

    def _link(self, cursor: Cursor) -> Link:
        entries = cursor.mapping(keys("link"), required_keys("link"))
        zones = list(entries["between"].elements()) if "between" in entries else []
        for zone in zones:
            self.names.refuse_unknown_zone(zone)
        if "between" in entries and (len(zones) != 2 or zones[0].value == zones[1].value):
            entries["between"].refuse("must name two different zones")
        pair = [str(zone.value) for zone in zones[:2]] + ["", ""]
        between = entries.pop("between", None)
        model = self._link_model_of(entries)
        return Link(between=(pair[0], pair[1]), model=model) if between else Link(between=("", ""), model=model)

    def _link_model(self, cursor: Cursor) -> LinkModel:
        return self._link_model_of(cursor.mapping(keys("link_model")))

    def _link_model_of(self, entries: dict[str, Cursor]) -> LinkModel:
        return LinkModel(
            latency=read_distribution(entries["latency"], self.folder) if "latency" in entries else Constant(0.0),
            bandwidth=entries["bandwidth"].bandwidth() if "bandwidth" in entries else 0.0,
            loss=entries["loss"].percent() if "loss" in entries else 0.0,
        )

    def control_plane(self, cursor: Cursor) -> ControlPlaneModel:
        entries = cursor.mapping(keys("control_plane"), required_keys("control_plane"))
        if "zone" in entries:
            self.names.refuse_unknown_zone(entries["zone"])
        delay = read_distribution(entries["push_delay"], self.folder) if "push_delay" in entries else Constant(0.0)
        return ControlPlaneModel(zone=entries["zone"].text() if "zone" in entries else "", push_delay=delay)

    def services(self, cursor: Cursor) -> tuple[Service, ...]:
        return tuple(self._service(name, entry) for name, entry in cursor.entries().items())

    def _service(self, name: str, cursor: Cursor) -> Service:
        _refuse_bad_name(cursor, name)
        entries = cursor.mapping(keys("service"), required_keys("service"))
        kind = (
            ServiceKind(entries["kind"].choice([k.value for k in ServiceKind]))
            if "kind" in entries
            else ServiceKind.HTTP
        )
        if kind is ServiceKind.HTTP and "work" in entries:
            entries["work"].refuse("an http service works in its endpoints' steps", "write steps: [{work: ...}]")
        if kind is not ServiceKind.HTTP and "endpoints" in entries:
            entries["endpoints"].refuse(f"a {kind.value} service has no endpoints", "write work: for its statements")
        endpoints = entries["endpoints"].entries() if kind is ServiceKind.HTTP and "endpoints" in entries else {}
        return Service(
            name=name,
            kind=kind,
            instances=self._instances(entries["instances"]) if "instances" in entries else (),
            concurrency=entries["concurrency"].count(least=1) if "concurrency" in entries else 64,
            queue=entries["queue"].count() if "queue" in entries else 256,
            work=read_distribution(entries["work"], self.folder) if "work" in entries else Constant(0.0),
            endpoints=tuple(self._endpoint(text, entry) for text, entry in endpoints.items()),
            autoscale=self._autoscale(entries["autoscale"]) if "autoscale" in entries else None,
            labels=read_labels(entries["labels"]) if "labels" in entries else (),
        )

    def _instances(self, cursor: Cursor) -> tuple[tuple[str, int], ...]:
        counts = []
        for zone, entry in cursor.entries().items():
            if zone not in self.names.zones:
                entry.refuse(f"unknown zone '{zone}'", f"zones: {', '.join(self.names.zones)}")
            counts.append((zone, entry.count()))
        if isinstance(cursor.value, dict) and not any(count for _, count in counts):
            cursor.refuse("must name at least one instance")
        return tuple(counts)

    def _autoscale(self, cursor: Cursor) -> Autoscale:
        entries = cursor.mapping(keys("autoscale"), required_keys("autoscale"))
        if "metric" in entries:
            entries["metric"].choice(("busy",))
        least = entries["min"].count(least=1) if "min" in entries else 1
        most = entries["max"].count(least=1) if "max" in entries else least
        if most < least:
            entries["max"].refuse(f"must be at least min ({least}), not {most}")
        target = entries["target"].percent() if "target" in entries else 1.0
        if "target" in entries and target == 0:
            entries["target"].refuse("must be above 0%")
        delay_s = entries["delay"].span() if "delay" in entries else 0.0
        return Autoscale(target=target or 1.0, least=least, most=most, delay_s=delay_s)

    def _endpoint(self, text: str, cursor: Cursor) -> Endpoint:
        verb, _, path = text.partition(" ")
        if verb not in _METHODS or not path.startswith("/") or " " in path:
            cursor.refuse(f"'{text}' is not an endpoint; write METHOD /path", f"methods: {', '.join(_METHODS)}")
        entries = cursor.mapping(keys("endpoint"))
        steps = entries["steps"].elements() if "steps" in entries else ()
        counts = entries["counts"].name() if "counts" in entries else ""
        return Endpoint(
            verb=verb,
            path=path,
            steps=tuple(self._step(step, 0) for step in steps),
            idempotent=entries["idempotent"].flag() if "idempotent" in entries else verb in _IDEMPOTENT_METHODS,
            failures=read_failures(entries["errors"]) if "errors" in entries else (),
            counts=counts,
            request_bytes=entries["request"].size() if "request" in entries else 0,
            response_bytes=entries["response"].size() if "response" in entries else 0,
            headers=read_headers(entries["headers"], drawn=False) if "headers" in entries else (),
            required=read_headers(entries["requires"], drawn=False) if "requires" in entries else (),
        )

    def _step(self, cursor: Cursor, depth: int) -> Step:
        if isinstance(cursor.value, list):
            if depth >= _DEPTH_MAX:
                cursor.refuse(f"nested deeper than {_DEPTH_MAX} levels")
                return Parallel(steps=())
            return Parallel(steps=tuple(self._step(element, depth + 1) for element in cursor.elements()))
        section = "work" if isinstance(cursor.value, dict) and "work" in cursor.value else "call"
        if isinstance(cursor.value, dict) and not {"work", "call"} & set(cursor.value):
            cursor.refuse("a step is {work: ...}, {call: ...} or a list of parallel steps")
            return Work(time=Constant(0.0))
        entries = cursor.mapping(keys(section), required_keys(section))
        if section == "work":
            return Work(time=read_distribution(entries["work"], self.folder))
        return self._call(entries)

    def _call(self, entries: dict[str, Cursor]) -> Call:
        words = entries["call"].text().split() if "call" in entries else []
        operation = Operation(service="", verb="")
        if "call" in entries and not 2 <= len(words) <= 3:
            entries["call"].refuse("must be SERVICE METHOD /path, DATABASE SELECT table or CACHE GET")
        elif words:
            operation = Operation(service=words[0], verb=words[1], target=words[2] if len(words) == 3 else "")
            self.names.refuse_unknown_operation(entries["call"], operation.service, operation.verb, operation.target)
        return Call(
            operation=operation,
            timeout_s=entries["timeout"].span(positive=True) if "timeout" in entries else 0.0,
            optional=entries["optional"].flag() if "optional" in entries else False,
            headers=self._call_headers(entries["headers"], operation.service) if "headers" in entries else (),
        )

    def _call_headers(self, cursor: Cursor, service: str) -> tuple[Header, ...]:
        kind = self.names.kind_by_service.get(service, "http")
        if kind != "http":
            cursor.refuse(f"headers are for HTTP; '{service}' is a {kind} service")
            return ()
        return read_headers(cursor, drawn=True)


def _refuse_bad_name(cursor: Cursor, name: str) -> None:
    Cursor(cursor.document, cursor.path, name, cursor.violations).name()
