"""What can be referred to in a scenario, gathered before anything is judged, so that order in the file does not matter.

Tolerant: takes names from where they should stand and leaves complaints about the rest to the readers.
"""

from collections.abc import Mapping

import attrs

from mesh.resources.documents import Value, suggest
from sim.scenario.reading import Cursor
from sim.scenario.schema import POSTGRESQL_VERBS, REDIS_VERBS


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
        )

    def kind_of(self, target: str) -> str:
        """Return what a service, or the service of an instance, speaks; http where the name is unknown."""
        service = target if target in self.kind_by_service else target.rpartition("-")[0]
        return self.kind_by_service.get(service, "http")

    def refuse_unknown_zone(self, cursor: Cursor) -> None:
        """Note a zone that is not listed in `zones`."""
        zone = cursor.text()
        if zone and zone not in self.zones:
            cursor.refuse(f"unknown zone '{zone}'", suggest(zone, self.zones) or f"zones: {', '.join(self.zones)}")

    def refuse_unknown_target(self, cursor: Cursor, *, zones: bool) -> str:
        """Note a name that is no service, no instance and (if `zones`) no zone; return it."""
        name = cursor.text()
        allowed = (*(self.zones if zones else ()), *self.kind_by_service, *self.instances)
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
        elif (operation := operation.partition("?")[0]) not in self.operations_by_service[service]:
            known = self.operations_by_service[service]
            cursor.refuse(
                f"service '{service}' has no endpoint '{operation}'", self._nearest(operation, known, "endpoints")
            )

    @staticmethod
    def _nearest(word: str, known: "Mapping[str, str] | tuple[str, ...]", title: str) -> str:
        return suggest(word, known) or f"{title}: {', '.join(known) or 'none'}"


def instance_names(service: str, counts: tuple[tuple[str, int], ...]) -> list[tuple[str, str]]:
    """Return (instance, zone) for the instances that a service starts with: `web-1`, `web-2`, numbered across zones."""
    zones = [zone for zone, count in counts for _ in range(count)]
    return [(f"{service}-{number}", zone) for number, zone in enumerate(zones, start=1)]


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
