"""Hostnames: the names by which services can be called, made by HostnameGenerators. Pure.

Two services may be given one name; then the first by kind and name has it, and the others go without, see `Conflict`.
"""

import re
from collections.abc import Iterable, Mapping

import attrs

from mesh.config.services import Hostname, Service, ServiceKey
from mesh.resources.hostname_generator import HostnameGenerator
from mesh.resources.resource import DISPLAY_NAME, NAMESPACE, ZONE, Resource
from mesh.resources.templates import fill

# Source: RFC 1123 section 2.1, in lower case, as DNS compares without regard to case.
_HOSTNAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")


@attrs.frozen(kw_only=True)
class Conflict:
    """A name that a generator would have given to a service and could not, and why."""

    service: ServiceKey
    generator: str
    hostname: str
    reason: str

    def __str__(self) -> str:
        kind, name = self.service
        return f"{kind} {name} does not get the name '{self.hostname}' from HostnameGenerator {self.generator}: {self.reason}"


@attrs.frozen(kw_only=True)
class Proposals:
    """The names that the generators have for one service, and what they had none for."""

    hostnames: tuple[Hostname, ...] = ()
    refused: tuple[Conflict, ...] = ()


def proposals_for(service: Service, generators: Iterable[Resource]) -> Proposals:
    """Ask all generators, in the order of their names, for the names of one service."""
    hostnames: dict[str, Hostname] = {}
    refused = []
    for resource in generators:
        spec = resource.spec_as(HostnameGenerator)
        if spec.selector_kind != service.kind or not service.matches_labels(spec.match_labels):
            continue
        text = spec.template
        try:
            text = _name(spec, service)
            if not _HOSTNAME.match(text):
                raise ValueError("it is no host name")
        except ValueError as error:
            refused.append(Conflict(service=service.key, generator=resource.name, hostname=text, reason=str(error)))
            continue
        hostnames.setdefault(text, Hostname(name=text, generator=resource.name))
    return Proposals(hostnames=tuple(hostnames.values()), refused=tuple(refused))


def settle(
    proposals: Mapping[ServiceKey, Proposals],
) -> tuple[dict[ServiceKey, tuple[Hostname, ...]], tuple[Conflict, ...]]:
    """Give each name to the first service that it was proposed for, in the order of `proposals`; return who got which."""
    owner_by_name: dict[str, ServiceKey] = {}
    given: dict[ServiceKey, tuple[Hostname, ...]] = {}
    conflicts: list[Conflict] = []
    for key, proposed in proposals.items():
        conflicts += proposed.refused
        lost = False
        for hostname in proposed.hostnames:
            owner = owner_by_name.setdefault(hostname.name, key)
            if owner != key:
                lost = True
                reason = f"{owner[0]} {owner[1]} has it"
                conflicts.append(
                    Conflict(service=key, generator=hostname.generator, hostname=hostname.name, reason=reason)
                )
        # The same tuple where nothing was lost: it stands for "as before".
        given[key] = (
            tuple(hostname for hostname in proposed.hostnames if owner_by_name[hostname.name] == key)
            if lost
            else proposed.hostnames
        )
    return given, tuple(conflicts)


def _name(spec: HostnameGenerator, service: Service) -> str:
    """Raises: ValueError naming what the service lacks."""
    values = {
        ".DisplayName": service.labels[DISPLAY_NAME],
        ".Zone": service.labels.get(ZONE, ""),
        ".Namespace": service.labels.get(NAMESPACE, ""),
    }
    label_of = {".Zone": ZONE, ".Namespace": NAMESPACE}
    return fill(spec.template, values, service.labels, label_of=label_of).lower()
