"""Reads `services` of a scenario file."""

from pathlib import PurePath

import attrs

from sim.scenario.code_reader import read_code
from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Constant
from sim.scenario.external import read_external
from sim.scenario.failure_reader import read_failures
from sim.scenario.header_reader import read_headers
from sim.scenario.label_reader import read_labels
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.schema import IDEMPOTENT_METHODS, METHODS, keys, required_keys
from sim.scenario.steps_reader import StepsReader
from sim.scenario.topology import Autoscale, Endpoint, ScaleMetric, Service, ServiceKind


class ServicesReader:
    """Reads one file's services. `folder` is where the file stands: histograms and modules are named relative to it."""

    def __init__(self, names: Names, folder: PurePath) -> None:
        self.names = names
        self.folder = folder
        self._steps = StepsReader(names, folder)

    def services(self, cursor: Cursor) -> tuple[Service, ...]:
        return tuple(self._service(name, entry) for name, entry in cursor.entries().items())

    def _service(self, name: str, cursor: Cursor) -> Service:
        Cursor(cursor.document, cursor.path, name, cursor.violations).name()
        entries = cursor.mapping(keys("service"), required_keys("service"))
        kind = ServiceKind.HTTP
        if "kind" in entries:
            kind = ServiceKind(entries["kind"].choice([k.value for k in ServiceKind]))
        _refuse_strange(entries, kind)
        own = read_code(entries, self.names, kind, self.folder)
        endpoints = entries["endpoints"].entries() if kind is ServiceKind.HTTP and "endpoints" in entries else {}
        service = Service(
            name=name,
            kind=kind,
            instances=self._instances(entries["instances"]) if "instances" in entries else (),
            concurrency=entries["concurrency"].count(least=1) if "concurrency" in entries else 64,
            queue=entries["queue"].count() if "queue" in entries else 256,
            work=read_distribution(entries["work"], self.folder) if "work" in entries else Constant(0.0),
            endpoints=tuple(self._endpoint(text, entry) for text, entry in endpoints.items()),
            autoscale=_autoscale(entries["autoscale"]) if "autoscale" in entries else None,
            labels=read_labels(entries["labels"]) if "labels" in entries else (),
            code=own.code,
            calls=own.calls,
            counts=own.counts,
            settings=own.settings,
            connections=entries["connections"].count(least=1) if "connections" in entries else 0,
            locks=entries["locks"].flag() if "locks" in entries else False,
            contention=entries["contention"].percent() if "contention" in entries else 0.0,
            pools=self._pools(entries["pools"]) if "pools" in entries else (),
        )
        if "external" not in entries:
            return service
        external = read_external(entries["external"], name, calls=bool(service.called_services()))
        return attrs.evolve(service, external=external)

    def _instances(self, cursor: Cursor) -> tuple[tuple[str, int], ...]:
        counts = []
        for zone, entry in cursor.entries().items():
            if zone not in self.names.zones:
                entry.refuse(f"unknown zone '{zone}'", f"zones: {', '.join(self.names.zones)}")
            counts.append((zone, entry.count()))
        if isinstance(cursor.value, dict) and not any(count for _, count in counts):
            cursor.refuse("must name at least one instance")
        return tuple(counts)

    def _pools(self, cursor: Cursor) -> tuple[tuple[str, int], ...]:
        pools = []
        for name, entry in cursor.entries().items():
            kind = self.names.kind_by_service.get(name)
            if kind not in ("postgresql", "redis"):
                found = f"'{name}' is a {kind} service" if kind else f"there is no service '{name}'"
                databases = [n for n, k in self.names.kind_by_service.items() if k in ("postgresql", "redis")]
                entry.refuse(f"pools are for databases; {found}", f"databases: {', '.join(databases) or 'none'}")
            pools.append((name, entry.count(least=1)))
        return tuple(pools)

    def _endpoint(self, text: str, cursor: Cursor) -> Endpoint:
        verb, _, path = text.partition(" ")
        if verb not in METHODS or not path.startswith("/") or " " in path:
            cursor.refuse(f"'{text}' is not an endpoint; write METHOD /path", f"methods: {', '.join(METHODS)}")
        entries = cursor.mapping(keys("endpoint"))
        counts = entries["counts"].name() if "counts" in entries else ""
        return Endpoint(
            verb=verb,
            path=path,
            steps=self._steps.steps(entries["steps"]) if "steps" in entries else (),
            idempotent=entries["idempotent"].flag() if "idempotent" in entries else verb in IDEMPOTENT_METHODS,
            failures=read_failures(entries["errors"]) if "errors" in entries else (),
            counts=counts,
            request_bytes=entries["request"].size() if "request" in entries else 0,
            response_bytes=entries["response"].size() if "response" in entries else 0,
            headers=read_headers(entries["headers"], drawn=False) if "headers" in entries else (),
            required=read_headers(entries["requires"], drawn=False) if "requires" in entries else (),
        )


def _refuse_strange(entries: dict[str, Cursor], kind: ServiceKind) -> None:
    """Note what a service of this kind cannot have."""
    if kind is ServiceKind.HTTP and "work" in entries:
        entries["work"].refuse("an http service works in its endpoints' steps", "write steps: [{work: ...}]")
    for key in ("connections", "contention"):
        if key in entries and not kind.is_database:
            entries[key].refuse(f"'{key}' is of databases", "kind: postgresql or redis")
    if kind is not ServiceKind.POSTGRESQL and "locks" in entries:
        entries["locks"].refuse("only a postgresql service has tables to lock", "elsewhere: {work: 5ms, lock: NAME}")
    if kind.is_database and "endpoints" in entries:
        entries["endpoints"].refuse(f"a {kind.value} service has no endpoints", "write work: for its statements")
    if kind is ServiceKind.TCP and "actor" not in entries:
        message = "a tcp service speaks what your own code makes of it"
        entries["kind"].refuse(message, "write actor: module:Class beside it")


def _autoscale(cursor: Cursor) -> Autoscale:
    entries = cursor.mapping(keys("autoscale"), required_keys("autoscale"))
    least = entries["min"].count(least=1) if "min" in entries else 1
    most = entries["max"].count(least=1) if "max" in entries else least
    if most < least:
        entries["max"].refuse(f"must be at least min ({least}), not {most}")
    target = entries["target"].percent() if "target" in entries else 1.0
    if "target" in entries and target == 0:
        entries["target"].refuse("must be above 0%")
    metric = entries["metric"].choice([m.value for m in ScaleMetric]) if "metric" in entries else "busy"
    quota = entries["quota"].mapping(keys("quota"), required_keys("quota")) if "quota" in entries else {}
    return Autoscale(
        target=target or 1.0,
        least=least,
        most=most,
        delay_s=entries["delay"].span() if "delay" in entries else 0.0,
        metric=ScaleMetric(metric),
        calm_s=entries["calm"].span() if "calm" in entries else 60.0,
        quota=quota["count"].count() if "count" in quota else None,
        quota_span_s=quota["per"].span(positive=True) if "per" in quota else 60.0,
    )
