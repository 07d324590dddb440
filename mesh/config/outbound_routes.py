"""Outbound routes: where what is sent to one port of a service goes, by the MeshHTTPRoutes and MeshTCPRoutes towards it.

On an HTTP port MeshHTTPRoutes count, and behind all of their rules the service's own route, unless one rule matches
everything. Where there are none, and on other ports, a MeshTCPRoute spreads connections, of which nothing is read then.
A rule without backends leads to the service itself; a backend that is not there keeps its share, to be answered with 500.
Source: Kuma `pkg/plugins/policies/{meshhttproute,meshtcproute}/plugin/v1alpha1`. Pure but for a memory, as `outbounds`.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config import defaults, translation
from mesh.config.backends import port_of
from mesh.config.destinations import Candidate
from mesh.config.matching import ROUTE
from mesh.config.outbounds import OUTBOUND_KINDS, REMEMBERED_MAX, Caller, Outbounds, Towards
from mesh.config.policies import PolicyIndex, Selected
from mesh.config.reach import Target
from mesh.config.route_translation import header_changes, is_everything, mirrors, redirect, rewrite, route_match
from mesh.config.routes import MergedRule, RouteChoice, in_evaluation_order
from mesh.config.service_index import ServiceIndex
from mesh.config.services import Service, service_labels
from mesh.config.snapshot import Backend, Mirror, OutboundListener, Route
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.timeout import Timeouts
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf
from mesh.resources.resource import Resource

HTTP_ROUTE, TCP_ROUTE = ROUTE_KINDS = ("MeshHTTPRoute", "MeshTCPRoute")

LISTENERS_REMEMBERED_MAX = 1_000  # of one port of a service

_Key = tuple[str, str, int, Caller, tuple[Selected, ...]]


@attrs.frozen(eq=False, kw_only=True)
class Outbound:
    """One port of a service as callers of one sort reach it: the routes, and all that these lead to, each once.

    `meant`: what references meant when it was made.
    """

    service: Service
    protocol: Protocol
    routes: tuple[Route, ...]
    towards: tuple[Towards, ...]
    retry_connects_max: int
    meant: Mapping[Target, Service | None]
    _listeners: dict[Address, OutboundListener] = attrs.field(factory=dict, init=False)

    def listener(self, address: Address) -> OutboundListener:
        """Return the listener through which the application calls it: one object for all who use the same address."""
        if address not in self._listeners:
            if len(self._listeners) >= LISTENERS_REMEMBERED_MAX:
                self._listeners.clear()
            self._listeners[address] = OutboundListener(
                name=str(address),
                address=address,
                protocol=self.protocol,
                routes=self.routes,
                retry_connects_max=self.retry_connects_max,
                hostnames=tuple(hostname.name for hostname in self.service.hostnames),
            )
        return self._listeners[address]

    def take_over(self, before: "Outbound") -> None:
        """Go on with the listeners of the one before where they say the same: whoever has them need not look again."""
        if (
            self.routes == before.routes
            and (self.protocol, self.retry_connects_max) == (before.protocol, before.retry_connects_max)
            and self.service.hostnames == before.service.hostnames
        ):
            self._listeners.update(before._listeners)


@attrs.define(eq=False)
class OutboundRoutes:
    """Remembers what it made: for as long as the services and the policies stay, everybody gets the same routes."""

    outbounds: Outbounds
    _made: dict[_Key, Outbound] = attrs.field(factory=dict)

    def over(self, outbounds: Outbounds) -> "OutboundRoutes":
        """Return them for other policies, with the memory if these say the same."""
        before, after = self.outbounds.policies.kinds, outbounds.policies.kinds
        same = all(before.get(kind) is after.get(kind) for kind in (*OUTBOUND_KINDS, *ROUTE_KINDS))
        return OutboundRoutes(outbounds, self._made) if same else OutboundRoutes(outbounds)

    def outbound(
        self,
        service: Service,
        port: ServicePort,
        caller: Caller,
        selected: Mapping[str, Selected],
        services: ServiceIndex,
    ) -> Outbound:
        """Return how callers of a sort reach one port of a service; `selected`: the routes' policies that select them."""
        routing = tuple(selected[kind] for kind in ROUTE_KINDS)
        key = (service.kind, service.name, port.port, caller, routing)
        kept = self._made.get(key)
        if kept is None or kept.service is not service or not _is_current(kept.meant, services):
            if len(self._made) >= REMEMBERED_MAX:
                self._made.clear()  # Services that went are among them.
            made = _Making(self.outbounds, service, port, caller, services).outbound(selected)
            if kept is not None:
                made.take_over(kept)
            kept = self._made[key] = made
        return kept


def reads_requests(protocol: Protocol) -> bool:
    """Do proxies tell requests apart on a port of this protocol, so that MeshHTTPRoutes count there?"""
    return protocol is Protocol.HTTP


def _is_current(meant: Mapping[Target, Service | None], services: ServiceIndex) -> bool:
    return all(services.resolve(target) is service for target, service in meant.items())


class _Making:
    """The making of one outbound."""

    def __init__(
        self, outbounds: Outbounds, service: Service, port: ServicePort, caller: Caller, services: ServiceIndex
    ) -> None:
        self._outbounds = outbounds
        self._policies: PolicyIndex = outbounds.policies
        self._service = service
        self._port = port
        self._caller = caller
        self._services = services
        self._own = outbounds.towards(service, port, caller)
        self._used: dict[str, Towards] = {}  # by the cluster's name
        self._meant: dict[Target, Service | None] = {}

    def outbound(self, selected: Mapping[str, Selected]) -> Outbound:
        """Return the port with its routes."""
        protocol = self._port.protocol
        http = self._rules(HTTP_ROUTE, selected) if reads_requests(protocol) else ()
        tcp = () if http else self._rules(TCP_ROUTE, selected)
        if http:
            routes = self._http_routes(http)
        elif tcp:
            protocol, routes = Protocol.TCP, (self._tcp_route(tcp[0]),)
        else:
            routes = (self._own_route(),)
        return Outbound(
            service=self._service,
            protocol=protocol,
            routes=routes,
            towards=tuple(self._used.values()),
            retry_connects_max=self._own.retry_connects_max,
            meant=self._meant,
        )

    def _rules(self, kind: str, selected: Mapping[str, Selected]) -> tuple[MergedRule, ...]:
        return self._policies.route_rules(kind, selected[kind], self._service, self._port, to_kind=self._service.kind)

    def _own_route(self) -> Route:
        self._use(self._own)
        return self._own.route

    def _tcp_route(self, rule: MergedRule) -> Route:
        return attrs.evolve(self._own.route, name=rule.route.name, backends=self._backends(rule.default))

    def _http_routes(self, rules: tuple[MergedRule, ...]) -> tuple[Route, ...]:
        number_by_rule = {id(rule): number for number, rule in enumerate(rules)}
        settled: dict[str, Route] = {}  # by the policy's name
        routes = []
        choices = in_evaluation_order(rules)
        for choice in choices:
            policy = choice.rule.route
            if policy.name not in settled:
                settled[policy.name] = self._settled(policy)
            name = f"{policy.name}/{number_by_rule[id(choice.rule)]}"
            routes.append(self._http_route(choice, name, settled[policy.name]))
        if not any(is_everything(choice.match) for choice in choices):
            routes.append(self._own_route())
        return tuple(routes)

    def _http_route(self, choice: RouteChoice, name: str, settled: Route) -> Route:
        default = choice.rule.default
        filters = default.get("filters", ())
        redirected = redirect(filters)
        return attrs.evolve(
            settled,
            name=name,
            match=route_match(choice.match),
            backends=() if redirected else self._backends(default),
            redirect=redirected,
            rewrite=None if redirected else rewrite(filters),
            request_headers=() if redirected else header_changes(filters, "requestHeaderModifier"),
            response_headers=header_changes(filters, "responseHeaderModifier"),
            mirrors=() if redirected else self._mirrors(filters),
        )

    def _settled(self, policy: Resource) -> Route:
        """Return a route with what policies say of a MeshHTTPRoute; what it says of nothing is as for the service."""
        labelled = Candidate(kind=ROUTE, name=policy.name, labels=service_labels(policy))
        own = self._own.cluster.timeouts
        timeouts = _of_requests(
            translation.timeouts(self._conf("MeshTimeout", labelled), defaults.OUTBOUND_TIMEOUTS), own
        )
        retry, breaker = self._conf("MeshRetry", labelled), self._conf("MeshCircuitBreaker", labelled)
        return Route(
            name=policy.name,
            retry=translation.retry_policy(retry, breaker, timeouts.request_s, protocol=self._port.protocol),
            timeouts=timeouts,
            hash_policies=translation.hash_policies(self._conf("MeshLoadBalancingStrategy", labelled)),
        )

    def _conf(self, kind: str, route: Candidate) -> Conf:
        selected = self._caller.selected[OUTBOUND_KINDS.index(kind)]
        return self._policies.towards_route(
            kind, selected, route, self._service, self._port, to_kind=self._service.kind
        )

    def _backends(self, default: Conf) -> tuple[Backend, ...]:
        """Return the shares of a rule; of those without weight nothing goes anywhere."""
        refs = default.get("backendRefs", ())
        if not refs:
            self._use(self._own)
            return (Backend(cluster=self._own.cluster.name),)
        weighted = ((ref, ref.get("weight", 1)) for ref in refs)
        return tuple(Backend(cluster=self._cluster(ref), weight=weight) for ref, weight in weighted if weight)

    def _mirrors(self, filters: Iterable[Conf]) -> tuple[Mirror, ...]:
        found = ((self._cluster(ref), percent) for ref, percent in mirrors(filters) if percent > 0)
        return tuple(Mirror(cluster=cluster, percent=percent) for cluster, percent in found if cluster)

    def _cluster(self, ref: Conf) -> str:
        """Return the name of the cluster that a reference means, which is used from now on; "": there is none."""
        target = Target(kind=ref["kind"], selector=tuple(sorted(ref["labels"].items())))
        service = self._meant[target] = self._services.resolve(target)
        if service is None:
            return ""
        names = {number: port.name for number, port in service.port_by_number.items()}
        number = port_of(ref, service.kind, names)
        if number is None:
            return ""
        return self._use(self._outbounds.towards(service, service.port_by_number[number], self._caller))

    def _use(self, towards: Towards) -> str:
        return self._used.setdefault(towards.cluster.name, towards).cluster.name


def _of_requests(route: Timeouts, service: Timeouts) -> Timeouts:
    """Return a route's timeouts: connections are shared by all routes, so that theirs are the service's."""
    return attrs.evolve(
        service, request_s=route.request_s, stream_idle_s=route.stream_idle_s, stream_s_max=route.stream_s_max
    )
