"""Reach: which services a proxy may call, as its Dataplane says, whether they exist or not; and who calls a service. Pure."""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.selection import Inverted, Label, Selectors
from mesh.config.service_index import ServiceIndex
from mesh.config.services import SERVICE_KINDS, ServiceKey
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
    _by_labels: Selectors[Target] = attrs.field(factory=Selectors)  # targets that name nothing

    def updated(self, changes: Mapping[str, Dataplane | None]) -> "Callers":
        """Return the index after some proxies got other Dataplanes, or (None) left."""
        if not changes:
            return self
        targets = {name: None if dataplane is None else targets_of(dataplane) for name, dataplane in changes.items()}
        by_target = self.by_target.updated(targets)
        concerned = [target for name in changes for target in self.by_target.values_by_name.get(name, ())]
        concerned += [target for found in targets.values() for target in found or ()]
        before, after = self.by_target.names_by_value, by_target.names_by_value
        if all(target.name or (target in before) == (target in after) for target in concerned):
            return Callers(by_target, self._by_labels)
        return Callers(by_target, Selectors.of({target: target.labels for target in after if not target.name}))

    def of_services(self, keys: Iterable[ServiceKey], services: ServiceIndex) -> dict[str, None]:
        """Return who calls one of some services, with references resolved as in `services`."""
        found: dict[str, None] = {}
        for key in dict.fromkeys(keys):
            found |= self.by_target.names(Target(kind=key[0], name=key[1]))
            service = services.by_key.get(key)
            if service is None:
                continue
            for target in self._by_labels.selecting(service.labels):
                if target.kind == service.kind and (target.several or services.resolve(target) is service):
                    found |= self.by_target.names(target)
        return found
