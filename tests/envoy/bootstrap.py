"""Bootstrap: what Envoy has to be told so that it does what our snapshot says. Plain JSON values.

Envoy is set up as a sidecar of Kuma is: the client beside it is believed, nothing is added to x-forwarded-for.
"""

from collections.abc import Sequence
from typing import Any

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    OutboundListener,
    Part,
    Route,
)
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.timeout import Timeouts
from tests.envoy.bootstrap_clusters import cluster
from tests.envoy.bootstrap_policies import (
    connection_limit,
    faults,
    hash_policy,
    header_changes,
    permissions,
    rate_limit,
    redirect,
    retry_policy,
    route_action_rewrite,
    route_matches,
)
from tests.envoy.fields import percent, seconds, socket_address, typed

HTTP_MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP_PROXY = "extensions.filters.network.tcp_proxy.v3.TcpProxy"
FILE_LOG = "extensions.access_loggers.file.v3.FileAccessLog"
LOG_FORMAT = {
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream": "%UPSTREAM_HOST%",
}


class Translation:
    """One case's parts as listeners and clusters of Envoy; names get the case's as a prefix, for all share one process."""

    def __init__(self, case: str, parts: Sequence[Part], log_folder: str) -> None:
        self._case = case
        self._log_folder = log_folder
        self._routes = [route for part in parts if isinstance(part, OutboundListener) for route in part.routes]
        endpoints = {part.cluster: part.endpoints for part in parts if isinstance(part, ClusterEndpoints)}
        self.clusters: list[dict[str, Any]] = []
        self.listeners: list[dict[str, Any]] = []
        for part in parts:
            match part:
                case Cluster():
                    self._add_cluster(part, endpoints.get(part.name, ()))
                case OutboundListener():
                    self._add(part, [self._http_or_tcp(part)])
                case InboundListener():
                    self._add_inbound(part)

    def named(self, cluster_name: str) -> str:
        return cluster_name and cluster_prefix(self._case) + cluster_name

    def _add_cluster(self, part: Cluster, endpoints: Sequence[Endpoint]) -> None:
        budgets = [
            route.retry.budget
            for route in self._routes
            if route.retry.retries_max and part.name in [backend.cluster for backend in route.backends]
        ]
        self.clusters.append(
            cluster(part, endpoints, name=self.named(part.name), budget=budgets[0] if budgets else None)
        )

    def _add(self, part: OutboundListener | InboundListener, filters: list[dict[str, Any]]) -> None:
        self.listeners.append(
            {
                "name": f"{self._case}.{part.name}",
                "address": socket_address(part.address),
                "filter_chains": [{"filters": filters}],
            }
        )

    def _add_inbound(self, part: InboundListener) -> None:
        application = f"app-{part.name}"
        self._add_cluster(
            Cluster(
                name=application, protocol=part.protocol, circuit_breaking=part.circuit_breaking, timeouts=part.timeouts
            ),
            (Endpoint(name="application", address=part.application),),
        )
        chain = connection_limit(part.connection_rate)
        if part.protocol is not Protocol.HTTP:
            self._add(part, [*chain, self._tcp_proxy(part.name, application, part.timeouts)])
            return
        route = Route(name=part.name, backends=(Backend(cluster=application),), timeouts=part.timeouts)
        filters = [*permissions(part.permissions), *rate_limit(part.rate_limits), *faults(part.faults)]
        self._add(part, [*chain, self._http_manager(part.name, (route,), part.timeouts, filters)])

    def _http_or_tcp(self, part: OutboundListener) -> dict[str, Any]:
        timeouts = part.routes[0].timeouts
        if part.protocol is Protocol.HTTP:
            return self._http_manager(part.name, part.routes, timeouts, [])
        backends = part.routes[0].backends
        proxy = self._tcp_proxy(part.name, backends[0].cluster, timeouts)
        if part.retry_connects_max:
            proxy["typed_config"]["max_connect_attempts"] = part.retry_connects_max + 1
        if len(backends) > 1:
            del proxy["typed_config"]["cluster"]
            proxy["typed_config"]["weighted_clusters"] = {"clusters": self._weighted(backends)}
        return proxy

    def _tcp_proxy(self, name: str, cluster_name: str, timeouts: Timeouts) -> dict[str, Any]:
        config = {"stat_prefix": name, "cluster": self.named(cluster_name), "idle_timeout": seconds(timeouts.idle_s)}
        return {"name": "tcp", "typed_config": typed(TCP_PROXY, **config, access_log=[self._log(name)])}

    def _log(self, name: str) -> dict[str, Any]:
        log_format = {"json_format": {**LOG_FORMAT, "listener": name}}
        return {
            "name": "f",
            "typed_config": typed(FILE_LOG, path=f"{self._log_folder}/{self._case}.log", log_format=log_format),
        }

    def _http_manager(
        self, name: str, routes: Sequence[Route], timeouts: Timeouts, filters: list[dict[str, Any]]
    ) -> dict[str, Any]:
        router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        options = {"idle_timeout": seconds(timeouts.idle_s)}
        if timeouts.connection_s_max:
            options["max_connection_duration"] = seconds(timeouts.connection_s_max)
        if timeouts.stream_s_max:
            # Not the route's: with that one Envoy takes no notice of the route's timeout.
            options["max_stream_duration"] = seconds(timeouts.stream_s_max)
        made = [made for route in routes for made in self._route(route)]
        config = {
            "stat_prefix": f"{self._case}-{name}",
            "use_remote_address": True,
            "skip_xff_append": True,
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
            "common_http_protocol_options": options,
            "stream_idle_timeout": seconds(timeouts.stream_idle_s),
            "request_headers_timeout": seconds(timeouts.request_headers_s),
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "access_log": [self._log(name)],
            "http_filters": [*filters, router],
            "route_config": {
                "validate_clusters": False,
                "virtual_hosts": [{"name": name, "domains": ["*"], "routes": made}],
            },
        }
        return {"name": "http", "typed_config": typed(HTTP_MANAGER, **config)}

    def _route(self, route: Route) -> list[dict[str, Any]]:
        made = []
        for match, rewrite in route_matches(route):
            entry: dict[str, Any] = {"name": route.name, "match": match, **header_changes(route)}
            if route.redirect is not None:
                entry["redirect"] = redirect(route.redirect, route.match)
            elif not any(backend.cluster for backend in route.backends):
                entry["direct_response"] = {"status": 500}
            else:
                entry["route"] = self._action(route, rewrite)
            made.append(entry)
        return made

    def _action(self, route: Route, rewrite: dict[str, Any]) -> dict[str, Any]:
        timeouts = route.timeouts
        action: dict[str, Any] = {
            "timeout": seconds(timeouts.request_s),
            "idle_timeout": seconds(timeouts.stream_idle_s),
            "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
            **rewrite,
            **route_action_rewrite(route.rewrite),
            **retry_policy(route.retry),
        }
        if len(route.backends) == 1:
            action["cluster"] = self.named(route.backends[0].cluster)
        else:
            action["weighted_clusters"] = {"clusters": self._weighted(route.backends)}
        if route.mirrors:
            action["request_mirror_policies"] = [
                {"cluster": self.named(mirror.cluster), "runtime_fraction": {"default_value": percent(mirror.percent)}}
                for mirror in route.mirrors
            ]
        if route.hash_policies:
            action["hash_policy"] = [hash_policy(policy) for policy in route.hash_policies]
        return action

    def _weighted(self, backends: Sequence[Backend]) -> list[dict[str, Any]]:
        return [{"name": self.named(backend.cluster) or "absent", "weight": backend.weight} for backend in backends]


def cluster_prefix(case: str) -> str:
    """Return what the names of a case's clusters begin with."""
    return f"{case}--"


def bootstrap(translations: Sequence[Translation], admin_port: int) -> dict[str, Any]:
    """Return the whole configuration of one process."""
    return {
        "admin": {"address": socket_address(Address("127.0.0.1", admin_port))},
        "static_resources": {
            "listeners": [listener for translation in translations for listener in translation.listeners],
            "clusters": [made for translation in translations for made in translation.clusters],
        },
    }
