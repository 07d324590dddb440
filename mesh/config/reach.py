"""Reach: which services a proxy may call, as its Dataplane says, whether they exist or not; and who calls a service. Pure."""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.selection import Inverted, Label
from mesh.config.service_index import ServiceIndex
from mesh.config.services import SERVICE_KINDS, Service, ServiceKey
from mesh.resources.dataplane import Dataplane


@attrs.frozen(kw_only=True)
class Target:
    """One thing that a Dataplane refers to: a service by name, the one that some labels mean, or all that carry them."""

    kind: str
    name: str = ""
    selector: tuple[Label, ...] = ()  # sorted
    several: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self.selector)

    def is_met_by(self, service: Service) -> bool:
        """Could it mean this service?"""
        if self.kind != service.kind:
            return False
        return service.name == self.name if self.name else service.matches_labels(self.labels)


_EVERYTHING = tuple(Target(kind=kind, several=True) for kind in SERVICE_KINDS)


def targets_of(dataplane: Dataplane) -> tuple[Target, ...]:
    """Return what a Dataplane refers to, each once."""
    targets = [
        Target(kind=ref.kind, name=ref.name, selector=() if ref.name else tuple(sorted(ref.labels.items())))
        for ref in (outbound.backend for outbound in dataplane.outbounds)
    ]
    interception = dataplane.transparent_proxying
    if interception is not None and interception.reachable_backends is None:
        targets += _EVERYTHING
    elif interception is not None:
        targets += [
            Target(
                kind=ref.kind,
                name=ref.name,
                selector=() if ref.name else tuple(sorted(ref.labels.items())),
                several=not ref.name,
            )
            for ref in interception.reachable_backends or ()
        ]
    return tuple(dict.fromkeys(targets))


@attrs.frozen(eq=False)
class Callers:
    """Who refers to what: proxies by target."""

    by_target: Inverted[str, Target] = attrs.field(factory=Inverted)

    def updated(self, changes: Mapping[str, Dataplane | None]) -> "Callers":
        """Return the index after some proxies got other Dataplanes, or (None) left."""
        if not changes:
            return self
        targets = {name: None if dataplane is None else targets_of(dataplane) for name, dataplane in changes.items()}
        return Callers(self.by_target.updated(targets))

    def of_services(self, keys: Iterable[ServiceKey], services: ServiceIndex) -> dict[str, None]:
        """Return who calls one of some services, with references resolved as in `services`."""
        found: dict[str, None] = {}
        wanted = dict.fromkeys(keys)
        for kind, name in wanted:
            found |= self.by_target.names(Target(kind=kind, name=name))
        if not wanted:
            return found
        for target, names in self.by_target.names_by_value.items():
            if target.name:
                continue
            if target.several:
                met = [services.by_key[key] for key in wanted if key in services.by_key]
                concerned = any(target.is_met_by(service) for service in met)
            else:
                service = services.resolve(target)
                concerned = service is not None and service.key in wanted
            if concerned:
                found |= names
        return found
