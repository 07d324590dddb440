"""Scene: one mesh as `mesh check` looks at it: who calls whom under which settings, who is called, what was written. Values.

Settings that nobody uses are checked too: for each item or rule that counts nowhere, a proxy and a service are supposed
that it would count for (`supposed`), so that files without Dataplanes are checked as well.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from mesh.config import defaults, translation
from mesh.config.identities import Identity
from mesh.config.inbound_rules import Entry
from mesh.config.index import MeshIndex
from mesh.config.lint.callers import endpoints_of
from mesh.config.lint.effective import Contribution, Effective
from mesh.config.lint.finding import Code, Finding, Place
from mesh.config.lint.topology import Call, CallGraph, Topology
from mesh.config.matching import ROUTE, Destination, is_shadow
from mesh.config.selection import Carriers
from mesh.config.services import Service
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.resources.dataplane import Inbound
from mesh.resources.policy import Policy
from mesh.resources.resource import DISPLAY_NAME, Resource
from mesh.resources.target_ref import TargetRef

ANYBODY = "any caller"


@attrs.define(eq=False, kw_only=True)
class Link:
    """What a group of proxies alike sends to one port of a service. `hosts`: its endpoints, None where nobody knows.

    `callers` are workloads (or names of proxies without one); `any_caller`: proxies that may call everything.
    """

    name: str  # of the service
    destination: Destination
    protocol: Protocol
    hosts: int | None
    effective: Mapping[str, Effective]
    callers: dict[str, None] = attrs.Factory(dict)
    any_caller: bool = False
    supposed: bool = False

    def of(self, kind: str) -> Effective:
        """Return the settings of one kind."""
        return self.effective.get(kind, _NONE)

    @property
    def target(self) -> str:
        return f"{self.name}:{self.destination.port}" if self.destination.port else self.name

    @property
    def affects(self) -> tuple[str, ...]:
        """Name the calls that it stands for; a supposed one stands for none."""
        if self.supposed:
            return ()
        return tuple(f"{caller} -> {self.target}" for caller in self.callers or (ANYBODY,))

    @property
    def is_http(self) -> bool:
        return self.protocol is not Protocol.TCP

    @property
    def is_http1(self) -> bool:
        return self.protocol is Protocol.HTTP

    @cached_property
    def timeouts(self) -> Timeouts:
        return translation.timeouts(self.of("MeshTimeout").conf, defaults.OUTBOUND_TIMEOUTS)

    @cached_property
    def retry(self) -> RetryPolicy:
        breaker = self.of("MeshCircuitBreaker").conf
        return translation.retry_policy(self.of("MeshRetry").conf, breaker, self.timeouts.request_s)

    @cached_property
    def limits(self) -> CircuitBreakingLimits:
        return translation.circuit_breaking(self.of("MeshCircuitBreaker").conf)

    @cached_property
    def outliers(self) -> OutlierDetection | None:
        return translation.outlier_detection(self.of("MeshCircuitBreaker").conf)

    def deadline_s(self, call: Call | None = None) -> float:
        """Return when a caller gives up at the latest, by the mesh or by itself; 0: never."""
        bounds = [bound for bound in (self.timeouts.request_s, call.timeout_s if call else 0.0) if bound]
        return min(bounds, default=0.0)


@attrs.define(eq=False, kw_only=True)
class Reception:
    """What a group of inbounds alike receives. `entries` are the rules of each kind, one for each match, not merged."""

    name: str  # of the service: the workload
    inbound: Inbound
    effective: Mapping[str, Effective]
    entries: Mapping[str, tuple[Entry, ...]]
    proxies: dict[str, None] = attrs.Factory(dict)
    supposed: bool = False

    def of(self, kind: str) -> Effective:
        """Return the settings of one kind that count for every caller."""
        return self.effective.get(kind, _NONE)

    @property
    def affects(self) -> tuple[str, ...]:
        return () if self.supposed else tuple(f"{proxy}:{self.inbound.name}" for proxy in self.proxies)

    @property
    def is_http(self) -> bool:
        return self.inbound.protocol is not Protocol.TCP

    @cached_property
    def timeouts(self) -> Timeouts:
        return translation.timeouts(self.of("MeshTimeout").conf, defaults.INBOUND_TIMEOUTS)


@attrs.define(eq=False, kw_only=True)
class Wide:
    """What a group of proxies alike is told as a whole."""

    effective: Mapping[str, Effective]
    proxies: dict[str, None] = attrs.Factory(dict)
    supposed: bool = False

    def of(self, kind: str) -> Effective:
        """Return the settings of one kind."""
        return self.effective.get(kind, _NONE)

    @property
    def affects(self) -> tuple[str, ...]:
        return () if self.supposed else tuple(self.proxies)


@attrs.define(eq=False, kw_only=True)
class Usage:
    """Where an item, a rule or a default counts: `is_used` by somebody real, where something of it `survives`.

    `could_survive`: it would for the proxy and callee that it names, were they there. `settings`: an example of where it
    counts, which names who is stronger.
    """

    contribution: Contribution
    settings: Effective
    is_used: bool = False
    survives: bool = False
    could_survive: bool = False


_NONE = Effective()


@attrs.define(eq=False, kw_only=True)
class Scene:
    """One mesh. `resources` are the mesh's and those of the whole installation; `detailed`: a scenario knows the calls."""

    mesh: str
    index: MeshIndex
    resources: tuple[Resource, ...]
    topology: Topology
    detailed: bool
    links: tuple[Link, ...]
    receptions: tuple[Reception, ...]
    wide: tuple[Wide, ...]
    usages: tuple[Usage, ...]
    _of_kind: dict[str, list[Resource]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for resource in self.resources:
            self._of_kind.setdefault(resource.kind, []).append(resource)

    def of_kind(self, *kinds: str) -> Iterator[Resource]:
        """Yield the resources of some kinds."""
        for kind in kinds:
            yield from self._of_kind.get(kind, ())

    @cached_property
    def policies(self) -> tuple[Resource, ...]:
        """The policies, shadow policies apart."""
        return tuple(each for each in self.resources if isinstance(each.spec, Policy) and not is_shadow(each))

    @property
    def has_proxies(self) -> bool:
        """Are there Dataplanes, so that what selects none of them is a mistake?"""
        return bool(self.index.view.dataplanes)

    @cached_property
    def graph(self) -> CallGraph:
        return CallGraph.of(self.topology.calls)

    def dataplane(self, name: str) -> Resource:
        return self.index.view.dataplanes[name].resource

    @cached_property
    def _routes(self) -> Carriers[str]:
        return Carriers[str]().updated(
            {route.name: {DISPLAY_NAME: route.display_name, **route.labels} for route in self.of_kind(ROUTE)}
        )

    def carriers(self, kind: str) -> Carriers[str]:
        """Return the services of one kind, or the routes, by their labels."""
        return self._routes if kind == ROUTE else self._services.get(kind, Carriers())

    @cached_property
    def _services(self) -> dict[str, Carriers[str]]:
        labels: dict[str, dict[str, Mapping[str, str] | None]] = {}
        for (kind, name), service in self.index.services.by_key.items():
            labels.setdefault(kind, {})[name] = service.labels
        return {kind: Carriers[str]().updated(named) for kind, named in labels.items()}

    def knows(self, kind: str) -> bool:
        """Are there things of this kind, or proxies, so that one that is missing is a mistake?"""
        return self.has_proxies or bool(self.carriers(kind).labels_by_name)

    def meant(self, target: TargetRef) -> list[str]:
        """Return the names of the services or routes that a target means, sorted."""
        return sorted(self.carriers(target.kind).matching(target.labels))

    def is_secured(self, reception: Reception) -> bool:
        """Do the proxies of a reception hold an identity, so that TLS and permissions act there?"""
        return any(self.holds_identity(proxy) for proxy in reception.proxies)

    def holds_identity(self, proxy: str) -> bool:
        return isinstance(self.index.identity_by_name[proxy], Identity)

    def is_strict(self, reception: Reception) -> bool:
        """Does a reception take mutual TLS only, where its proxies hold an identity?"""
        return bool(reception.of("MeshTLS").get("mode", default=defaults.TLS_MODE.value) == TlsMode.STRICT.value)

    def is_fully_secured(self, link: Link) -> bool:
        """Do all endpoints of a callee hold an identity, so that callers insist on mutual TLS?"""
        service = link.destination.service
        return isinstance(service, Service) and service.secured

    def dataplane_place(self, name: str) -> Place:
        return Place(self.dataplane(name))

    def caller_place(self, caller: str) -> Place | None:
        """Return the first Dataplane of a caller."""
        resource = self._first_of_caller.get(caller)
        return None if resource is None else Place(resource)

    @cached_property
    def _first_of_caller(self) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        for name, state in self.index.view.dataplanes.items():
            found.setdefault(state.workload or name, state.resource)
        return found

    @cached_property
    def _links_by_call(self) -> dict[tuple[str, str, int], list[Link]]:
        found: dict[tuple[str, str, int], list[Link]] = {}
        for link in self.links:
            for caller in link.callers:
                found.setdefault((caller, link.name, link.destination.port), []).append(link)
        return found

    def hosts_of(self, link: Link) -> int | None:
        """Return how many endpoints a callee has at most; None where nobody knows."""
        capacity = self.topology.capacity.get(link.name)
        return capacity.instances if capacity else link.hosts

    @cached_property
    def _reception_by_port(self) -> dict[tuple[str, int], Reception]:
        return {
            (proxy, reception.inbound.port): reception for reception in self.receptions for proxy in reception.proxies
        }

    def receptions_of(self, link: Link) -> list[Reception]:
        """Return the inbounds at the other end of a link: several where the callee's proxies are not alike."""
        endpoints = endpoints_of(link.destination)
        found = (self._reception_by_port.get((endpoint.name, endpoint.address.port)) for endpoint in endpoints)
        return list({id(reception): reception for reception in found if reception is not None}.values())

    @cached_property
    def _calls_by_ends(self) -> dict[tuple[str, str, int], list[Call]]:
        found: dict[tuple[str, str, int], list[Call]] = {}
        for call in self.topology.calls:
            found.setdefault((call.caller.service, call.callee.service, call.port), []).append(call)
        return found

    def calls_through(self, link: Link) -> list[Call]:
        """Return the calls that go through a link."""
        ends = ((caller, link.name, link.destination.port) for caller in link.callers)
        return [call for end in ends for call in self._calls_by_ends.get(end, ())]

    def links_of(self, call: Call) -> list[Link]:
        """Return what a call goes through: one link, or several where the caller's proxies are not alike."""
        return self._links_by_call.get((call.caller.service, call.callee.service, call.port), [])


Check = Callable[[Scene], Iterable[Finding]]


def found(
    code: Code, message: str, place: Place | None, *others: Place | None, affects: tuple[str, ...] = (), fix: str = ""
) -> Iterator[Finding]:
    """Yield a finding, unless nothing that was written is to blame: defaults are not the operator's mistake."""
    if place is not None:
        beside = tuple(other for other in others if other is not None)
        yield Finding(code=code, message=message, place=place, others=beside, affects=affects, fix=fix)
