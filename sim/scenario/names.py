"""What can be referred to in a scenario, gathered before anything is judged, so that order in the file does not matter.

Tolerant: takes names from where they should stand and leaves complaints about the rest to the readers.
"""

from collections.abc import Mapping

import attrs

from mesh.resources.documents import Value, suggest
from sim.scenario.reading import Cursor
from sim.scenario.schema import METHODS, POSTGRESQL_VERBS, REDIS_VERBS


@attrs.frozen(kw_only=True)
class Names:
    """Every name of one scenario that others may use."""

    zones: tuple[str, ...]
    kind_by_service: Mapping[str, str]
    zones_by_service: Mapping[str, tuple[str, ...]]
    operations_by_service: Mapping[str, tuple[str, ...]]
    instances: tuple[str, ...]  # those that the timeline starts, too
    events: tuple[str, ...]  # service.event
    journeys: tuple[str, ...]  # journey, workload.journey
    requests: tuple[str, ...]  # METHOD service/path
    code_by_service: Mapping[str, str] = attrs.field(factory=dict)  # actor or asgi: services of the operator's own code
    headers_by_workload: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict
    )  # names in lower case, of their users
    hostname_by_service: Mapping[str, str] = attrs.field(factory=dict)  # of external services
    control_planes: tuple[str, ...] = ()  # hosts: the replicas, and what they keep their common store on

    @classmethod
    def of(cls, data: Mapping[str, Value]) -> "Names":
        services = {name: _map(value) for name, value in _map(data.get("services")).items()}
        workloads = {name: _map(value) for name, value in _map(data.get("workload")).items()}
        zones = tuple(zone for zone in _list(data.get("zones")) if isinstance(zone, str))
        events, journeys, requests = [], [], []
        for name, service in services.items():
            for endpoint in _map(service.get("endpoints")).values():
                counted = _map(endpoint).get("counts")
                if isinstance(counted, str):
                    events.append(f"{name}.{counted}")
            events += [f"{name}.{event}" for event in _list(service.get("counts")) if isinstance(event, str)]
        for name, workload in workloads.items():
            for journey, steps in _map(workload.get("journeys")).items():
                journeys += [journey, f"{name}.{journey}"]
                written = [_map(step).get("request", step) for step in _list(steps)]
                requests += [step for step in written if isinstance(step, str)]
        return cls(
            zones=zones,
            kind_by_service={name: _text(service.get("kind"), "http") for name, service in services.items()},
            zones_by_service={name: tuple(_map(service.get("instances"))) for name, service in services.items()},
            operations_by_service={name: tuple(_map(s.get("endpoints"))) for name, s in services.items()},
            instances=tuple(
                f"{name}-{number}"
                for name, service in services.items()
                for number in range(1, _most_started(name, service, _list(data.get("timeline"))) + 1)
            ),
            events=tuple(dict.fromkeys(events)),
            journeys=tuple(dict.fromkeys(journeys)),
            requests=tuple(dict.fromkeys(requests)),
            code_by_service={
                name: "asgi" if "asgi" in service else "actor"
                for name, service in services.items()
                if "asgi" in service or "actor" in service
            },
            headers_by_workload={
                name: tuple(header.lower() for header in _map(workload.get("headers")))
                for name, workload in workloads.items()
            },
            hostname_by_service=_hostnames(services),
            control_planes=control_plane_hosts(_map(data.get("control_plane")).get("replicas", 1)),
        )

    def kind_of(self, target: str) -> str:
        """Return what a service, or the service of an instance, speaks; http where the name is unknown."""
        service = target if target in self.kind_by_service else target.rpartition("-")[0]
        return self.kind_by_service.get(service, "http")

    def code_of(self, target: str) -> str:
        """Return `actor` or `asgi` where a service, or the service of an instance, is the operator's own code."""
        service = target if target in self.kind_by_service else target.rpartition("-")[0]
        return self.code_by_service.get(service, "")

    def refuse_unknown_workload(self, cursor: Cursor) -> str:
        """Note a name that is no workload; return it."""
        name = cursor.text()
        if name and name not in self.headers_by_workload:
            known = ", ".join(self.headers_by_workload) or "none"
            cursor.refuse(
                f"unknown workload '{name}'", suggest(name, self.headers_by_workload) or f"workloads: {known}"
            )
        return name

    def refuse_unknown_service(self, cursor: Cursor) -> str:
        """Note a name that is no service; return it."""
        name = cursor.text()
        if name and name not in self.kind_by_service:
            cursor.refuse(f"unknown service '{name}'", self._nearest(name, self.kind_by_service, "services"))
        return name

    def refuse_unknown_zone(self, cursor: Cursor) -> None:
        """Note a zone that is not listed in `zones`."""
        zone = cursor.text()
        if zone and zone not in self.zones:
            cursor.refuse(f"unknown zone '{zone}'", suggest(zone, self.zones) or f"zones: {', '.join(self.zones)}")

    def refuse_unknown_target(self, cursor: Cursor, *, zones: bool) -> str:
        """Note a name that is no service, no instance and (if `zones`) no zone or control plane; return it."""
        name = cursor.text()
        hosts = (*self.zones, *self.control_planes, DNS) if zones else ()
        allowed = (*hosts, *self.kind_by_service, *self.instances)
        if name and name not in allowed:
            kinds = "zone, service or instance" if zones else "service or instance"
            known = ", ".join((*(self.zones if zones else ()), *self.kind_by_service))
            cursor.refuse(f"unknown {kinds} '{name}'", suggest(name, allowed) or f"known: {known}")
        return name

    def refuse_unknown_operation(self, cursor: Cursor, service: str, verb: str, target: str) -> None:
        """Note a call to a service or operation that does not exist."""
        kind = self.kind_by_service.get(service)
        operation = f"{verb} {target}".rstrip()
        if kind is None:
            cursor.refuse(f"unknown service '{service}'", self._nearest(service, self.kind_by_service, "services"))
        elif kind == "postgresql":
            if verb not in POSTGRESQL_VERBS or not target:
                verbs = ", ".join(POSTGRESQL_VERBS)
                cursor.refuse(f"'{operation}' is no statement", f"write one of {verbs} and a table: SELECT users")
        elif kind == "redis":
            if verb not in REDIS_VERBS or target:
                cursor.refuse(f"'{operation}' is no command", f"write one of {', '.join(REDIS_VERBS)}")
        elif kind == "tcp":
            cursor.refuse(f"'{service}' speaks a protocol of its own", "only actors can call it, with `calls`")
        elif service in self.code_by_service:
            if verb not in METHODS or not target.startswith("/"):
                cursor.refuse(f"'{operation}' is no request", f"write METHOD /path; methods: {', '.join(METHODS)}")
        elif (operation := operation.partition("?")[0]) not in self.operations_by_service[service]:
            known = self.operations_by_service[service]
            cursor.refuse(
                f"service '{service}' has no endpoint '{operation}'", self._nearest(operation, known, "endpoints")
            )

    @staticmethod
    def _nearest(word: str, known: "Mapping[str, str] | tuple[str, ...]", title: str) -> str:
        return suggest(word, known) or f"{title}: {', '.join(known) or 'none'}"


CONTROL_PLANE = "control-plane"
DNS = "dns"  # the resolvers of all zones
CONTROL_PLANE_STORE = "control-plane-store"
CONTROL_PLANES_MAX = 9


def control_plane_hosts(replicas: Value) -> tuple[str, ...]:
    """Return the hosts of the control planes, and of their store where there are several."""
    count = replicas if isinstance(replicas, int) and 1 <= replicas <= CONTROL_PLANES_MAX else 1
    names = (CONTROL_PLANE, *(f"{CONTROL_PLANE}-{number}" for number in range(2, count + 1)))
    return names if count == 1 else (*names, CONTROL_PLANE_STORE)


def instance_names(service: str, counts: tuple[tuple[str, int], ...]) -> list[tuple[str, str]]:
    """Return (instance, zone) for the instances that a service starts with: `web-1`, `web-2`, numbered across zones."""
    zones = [zone for zone, count in counts for _ in range(count)]
    return [(f"{service}-{number}", zone) for number, zone in enumerate(zones, start=1)]


def _hostnames(services: Mapping[str, Mapping[str, Value]]) -> dict[str, str]:
    """Return the host names of external services, by the services' names."""
    written = {name: service.get("external") for name, service in services.items()}
    found = {name: _map(external).get("name", external) for name, external in written.items()}
    return {name: hostname for name, hostname in found.items() if isinstance(hostname, str)}


def _counts(service: Mapping[str, Value]) -> tuple[tuple[str, int], ...]:
    instances = _map(service.get("instances"))
    return tuple((zone, count) for zone, count in instances.items() if isinstance(count, int) and 0 <= count <= 1000)


def _most_started(name: str, service: Mapping[str, Value], timeline: list[Value]) -> int:
    """Return how many instances a service may have had, those of `scale` too; none has the number of another."""
    count_by_zone = dict(_counts(service))
    started = sum(count_by_zone.values())
    for entry in timeline:
        if _map(entry).get("scale") == name:
            for zone, count in _counts({"instances": _map(entry).get("to")}):
                started += max(count - count_by_zone.get(zone, 0), 0)
                count_by_zone[zone] = count
    return started


def _map(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _text(value: Value, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise
