"""Scopes: what a group of statistics belongs to, in Envoy's dotted names and in those of Prometheus.

Source: Envoy source/common/config/well_known_names.cc, for what of a name becomes a label.
"""

import attrs


@attrs.frozen
class Scope:
    """What a group of samples belongs to: `cluster.payments.` in one form, a family with a label in the other."""

    prefix: str  # of dotted names
    family: str  # of Prometheus names, after `envoy_`
    labels: tuple[tuple[str, str], ...] = ()


SERVER = Scope("server", "server")
CONTROL_PLANE = Scope("control_plane", "control_plane")
CLUSTER_MANAGER = Scope("cluster_manager", "cluster_manager")
LISTENER_MANAGER = Scope("listener_manager", "listener_manager")


def cluster_scope(name: str) -> Scope:
    """Return the scope of one cluster."""
    return Scope(f"cluster.{_plain(name)}", "cluster", (("envoy_cluster_name", _plain(name)),))


def listener_scope(address: str) -> Scope:
    """Return the scope of one listening address."""
    return Scope(f"listener.{_plain(address)}", "listener", (("envoy_listener_address", _plain(address)),))


def listener_http_scope(address: str, name: str) -> Scope:
    """Return the scope of what the HTTP behind one listening address answered."""
    return Scope(
        f"listener.{_plain(address)}.http.{_plain(name)}",
        "listener_http",
        (("envoy_http_conn_manager_prefix", _plain(name)), ("envoy_listener_address", _plain(address))),
    )


def http_scope(name: str, part: str = "") -> Scope:
    """Return the scope of the HTTP of one listener, or of one filter in it (`rbac`, `fault`)."""
    return _protocol_scope("http", "envoy_http_conn_manager_prefix", name, part)


def tcp_scope(name: str, part: str = "") -> Scope:
    """Return the scope of the opaque TCP of one listener, or of one filter in it.

    A network filter of Envoy has the prefix that its configuration gives it; ours is `tcp.<listener>`.
    """
    return _protocol_scope("tcp", "envoy_tcp_prefix", name, part)


def _protocol_scope(protocol: str, label: str, name: str, part: str) -> Scope:
    plain = _plain(name)
    if part:
        return Scope(f"{protocol}.{plain}.{part}", f"{protocol}_{part}", ((label, plain),))
    return Scope(f"{protocol}.{plain}", protocol, ((label, plain),))


def http_rate_limit_scope(name: str) -> Scope:
    """Return the scope of a listener's limit of requests."""
    plain = _plain(name)
    labels = (("envoy_local_http_ratelimit_prefix", plain),)
    return Scope(f"{plain}.http_local_rate_limit", "http_local_rate_limit", labels)


def connection_rate_limit_scope(name: str) -> Scope:
    """Return the scope of a listener's limit of connections."""
    plain = _plain(name)
    labels = (("envoy_local_network_ratelimit_prefix", plain),)
    return Scope(f"local_rate_limit.{plain}", "local_rate_limit", labels)


def _plain(name: str) -> str:
    """Return a name as part of a statistic's, where a colon would be read as the end."""
    return name.replace(":", "_")
