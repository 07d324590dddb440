"""Policies of routes and inbounds in the bootstrap: retries, matches, rewrites, hashes, rate limits, faults, permissions."""

import re
from collections.abc import Sequence
from typing import Any

from mesh.config.snapshot import Route
from mesh.policy.authorization import Permissions
from mesh.policy.back_off import ResetHeaderFormat
from mesh.policy.fault_injection import Fault
from mesh.policy.host_selection import HostSelection
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import RetryPolicy
from mesh.policy.routing import (
    HeaderChanges,
    HeaderMatch,
    PathMatchKind,
    QueryMatch,
    Redirect,
    Rewrite,
    RouteMatch,
    ValueMatchKind,
)
from tests.envoy.fields import percent, seconds, typed

_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def retry_policy(policy: RetryPolicy) -> dict[str, Any]:
    """Return what a route's action says of retries and hedging."""
    if not policy.retries_max:
        return {}
    conditions = [condition.value for condition in policy.conditions]
    if policy.status_codes:
        conditions.append("retriable-status-codes")
    made: dict[str, Any] = {
        "retry_on": ",".join(conditions),
        "num_retries": policy.retries_max,
        "retriable_status_codes": list(policy.status_codes),
        "retry_back_off": {
            "base_interval": seconds(policy.backoff_base_s),
            "max_interval": seconds(max(policy.backoff_s_max, policy.backoff_base_s)),
        },
        "retriable_request_headers": [_header_match(match) for match in policy.request_headers],
        "retriable_headers": [_header_match(match) for match in policy.response_headers],
    }
    if policy.methods:
        pattern = {"safe_regex": {"regex": "|".join(policy.methods)}}
        made["retriable_request_headers"].append({"name": ":method", "string_match": pattern})
    if policy.per_try_timeout_s:
        made["per_try_timeout"] = seconds(policy.per_try_timeout_s)
    if policy.per_try_idle_timeout_s:
        made["per_try_idle_timeout"] = seconds(policy.per_try_idle_timeout_s)
    if policy.rate_limited_back_off is not None:
        made["rate_limited_retry_back_off"] = {
            "max_interval": seconds(policy.rate_limited_back_off.interval_s_max),
            "reset_headers": [
                {
                    "name": header.name,
                    "format": "SECONDS" if header.format is ResetHeaderFormat.SECONDS else "UNIX_TIMESTAMP",
                }
                for header in policy.rate_limited_back_off.reset_headers
            ],
        }
    made |= _host_selection(policy.host_selection)
    hedging = {"hedge_policy": {"hedge_on_per_try_timeout": True}} if policy.hedge_on_per_try_timeout else {}
    return {"retry_policy": made, **hedging}


def _host_selection(selection: HostSelection | None) -> dict[str, Any]:
    if selection is None:
        return {}
    predicates = []
    if selection.omit_previous_hosts:
        config = typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
        predicates.append({"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": config})
    for group in selection.omitted_tags:
        config = typed(
            "extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
            metadata_match={"filter_metadata": {"envoy.lb": dict(group)}},
        )
        predicates.append({"name": "envoy.retry_host_predicates.omit_host_metadata", "typed_config": config})
    made: dict[str, Any] = {
        "retry_host_predicate": predicates,
        "host_selection_retry_max_attempts": selection.picks_max,
    }
    if selection.omit_priorities_every:
        config = typed(
            "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            update_frequency=selection.omit_priorities_every,
        )
        made["retry_priority"] = {"name": "envoy.retry_priorities.previous_priorities", "typed_config": config}
    return made


def route_matches(route: Route) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (match, rewrite of the path) of each route that stands for one of ours.

    A prefix means whole segments. Rewriting one takes two of Envoy's routes, as Kuma has it: else `//x` comes out.
    """
    match, path = route.match, route.match.path
    others = _match_others(match)
    rewrite = None if route.rewrite is None else route.rewrite.path
    if path.kind is PathMatchKind.REGULAR_EXPRESSION:
        matches: list[tuple[dict[str, Any], bool]] = [({"safe_regex": {"regex": path.value}}, False)]
    elif path.kind is PathMatchKind.EXACT:
        matches = [({"path": path.value}, False)]
    elif path.value == "/":
        matches = [({"prefix": "/"}, True)]
    elif rewrite is not None and rewrite.prefix:
        stem = path.value.rstrip("/")
        matches = [({"path": stem}, False), ({"prefix": f"{stem}/"}, True)]
    else:
        matches = [({"path_separated_prefix": path.value.rstrip("/")}, True)]
    made = []
    for where, is_prefix in matches:
        action: dict[str, Any] = {}
        if rewrite is not None and not rewrite.prefix:
            action["regex_rewrite"] = {"pattern": {"regex": "^/.*$"}, "substitution": rewrite.value}
        elif rewrite is not None:
            value = rewrite.value.rstrip("/")
            action["prefix_rewrite"] = f"{value}/" if is_prefix else value or "/"
        made.append(({**where, **others}, action))
    return made


def _match_others(match: RouteMatch) -> dict[str, Any]:
    headers = [_header_match(header) for header in match.headers]
    if match.method:
        headers.append({"name": ":method", "string_match": {"exact": match.method}})
    return {"headers": headers, "query_parameters": [_query_match(query) for query in match.query]}


def _header_match(match: HeaderMatch) -> dict[str, Any]:
    if match.kind is ValueMatchKind.PRESENT:
        return {"name": match.name, "present_match": True}
    if match.kind is ValueMatchKind.ABSENT:
        return {"name": match.name, "present_match": False}
    return {"name": match.name, "string_match": _string_match(match.kind, match.value)}


def _query_match(match: QueryMatch) -> dict[str, Any]:
    return {"name": match.name, "string_match": _string_match(match.kind, match.value)}


def _string_match(kind: ValueMatchKind, value: str) -> dict[str, Any]:
    if kind is ValueMatchKind.REGULAR_EXPRESSION:
        return {"safe_regex": {"regex": value}}
    return {"prefix" if kind is ValueMatchKind.PREFIX else "exact": value}


def route_action_rewrite(rewrite: Rewrite | None) -> dict[str, Any]:
    """Return the change of the Host."""
    return {"host_rewrite_literal": rewrite.hostname} if rewrite is not None and rewrite.hostname else {}


def redirect(part: Redirect, match: RouteMatch) -> dict[str, Any]:
    """Return a redirect action; other parts of the URL stay."""
    made: dict[str, Any] = {"response_code": _REDIRECT_CODES[part.status]}
    if part.scheme:
        made["scheme_redirect"] = part.scheme
    if part.hostname:
        made["host_redirect"] = part.hostname
    if part.port:
        made["port_redirect"] = part.port
    if part.path is not None and part.path.prefix:
        stem = re.escape(match.path.value.rstrip("/"))
        made["regex_rewrite"] = {"pattern": {"regex": f"^{stem}(/?)(.*)"}, "substitution": f"{part.path.value}\\1\\2"}
    elif part.path is not None:
        made["path_redirect"] = part.path.value
    return made


def header_changes(route: Route) -> dict[str, Any]:
    """Return a route's changes of headers."""
    made: dict[str, Any] = {}
    for side, changes in (("request", route.request_headers), ("response", route.response_headers)):
        made[f"{side}_headers_to_add"] = [added for change in changes for added in headers_to_add(change)]
        made[f"{side}_headers_to_remove"] = [name for change in changes for name in change.remove]
    return made


def headers_to_add(changes: HeaderChanges) -> list[dict[str, Any]]:
    """Return the headers that a change sets and adds."""
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for values, action in ((changes.set, "OVERWRITE_IF_EXISTS_OR_ADD"), (changes.add, "APPEND_IF_EXISTS_OR_ADD"))
        for name, value in values
    ]


def hash_policy(policy: HashPolicy) -> dict[str, Any]:
    """Return one hash policy."""
    made: dict[str, Any] = {"terminal": policy.terminal}
    match policy.source:
        case HashSource.HEADER:
            made["header"] = {"header_name": policy.name}
        case HashSource.COOKIE:
            cookie: dict[str, Any] = {"name": policy.name, "path": policy.cookie_path}
            if policy.cookie_ttl_s is not None:
                cookie["ttl"] = seconds(policy.cookie_ttl_s)
            made["cookie"] = cookie
        case HashSource.CONNECTION:
            made["connection_properties"] = {"source_ip": True}
        case HashSource.QUERY_PARAMETER:
            made["query_parameter"] = {"name": policy.name}
    return made


def connection_limit(rate: Rate | None) -> list[dict[str, Any]]:
    """Return the network filter that limits the rate of connections."""
    if rate is None:
        return []
    config = typed(
        "extensions.filters.network.local_ratelimit.v3.LocalRateLimit", stat_prefix="c", token_bucket=_bucket(rate)
    )
    return [{"name": "envoy.filters.network.local_ratelimit", "typed_config": config}]


def _bucket(rate: Rate) -> dict[str, Any]:
    return {"max_tokens": rate.count, "tokens_per_fill": rate.count, "fill_interval": seconds(rate.interval_s)}


def rate_limit(limits: Sequence[CallerRateLimit]) -> list[dict[str, Any]]:
    """Return the filter of the first limit; callers cannot be told apart here, so a case has one."""
    if not limits or limits[0].limit is None:
        return []
    limit: RateLimit = limits[0].limit
    config = typed(
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rl",
        token_bucket=_bucket(limit.rate),
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        status={"code": limit.status},
        response_headers_to_add=headers_to_add(limit.headers),
    )
    return [{"name": "envoy.filters.http.local_ratelimit", "typed_config": config}]


def faults(parts: Sequence[Fault]) -> list[dict[str, Any]]:
    """Return one filter for each fault."""
    made = []
    for number, part in enumerate(parts):
        config: dict[str, Any] = typed("extensions.filters.http.fault.v3.HTTPFault")
        if part.abort is not None:
            config["abort"] = {"http_status": part.abort.status, "percentage": percent(part.abort.percent)}
        if part.delay is not None:
            config["delay"] = {"fixed_delay": seconds(part.delay.delay_s), "percentage": percent(part.delay.percent)}
        if part.response_bandwidth is not None:
            config["response_rate_limit"] = {
                "fixed_limit": {"limit_kbps": round(part.response_bandwidth.bytes_per_s / 1024)},
                "percentage": percent(part.response_bandwidth.percent),
            }
        made.append({"name": f"envoy.filters.http.fault.{number}", "typed_config": config})
    return made


def permissions(part: Permissions | None) -> list[dict[str, Any]]:
    """Return the filter of an inbound that asks for identities; in plaintext nobody has one, so it lets nobody in."""
    if part is None:
        return []
    config = typed("extensions.filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {}})
    return [{"name": "envoy.filters.http.rbac", "typed_config": config}]
