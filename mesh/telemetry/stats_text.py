"""Statistics as text: Prometheus exposition format 0.0.4, and the lines of Envoy's /stats.

Source: Envoy source/common/config/well_known_names.cc for what of a name becomes a label.
"""

from collections.abc import Iterable, Iterator

import attrs

from mesh.telemetry.metrics import Sample


@attrs.frozen
class Scope:
    """What a group of samples belongs to: `cluster.payments.` in one form, a family with a label in the other."""

    prefix: str  # of dotted names; empty: none
    family: str  # of Prometheus names, after `envoy_`
    labels: tuple[tuple[str, str], ...] = ()


SERVER = Scope("server", "server")


def cluster_scope(name: str) -> Scope:
    """Return the scope of one cluster."""
    return Scope(f"cluster.{_plain(name)}", "cluster", (("envoy_cluster_name", _plain(name)),))


def http_scope(name: str, part: str = "") -> Scope:
    """Return the scope of the HTTP of one listener, or of one filter in it (`rbac`, `fault`)."""
    prefix = ".".join(filter(None, ("http", _plain(name), part)))
    family = f"http_{part}" if part else "http"
    return Scope(prefix, family, (("envoy_http_conn_manager_prefix", _plain(name)),))


def http_rate_limit_scope(name: str) -> Scope:
    """Return the scope of a listener's limit of requests."""
    return Scope(
        f"{_plain(name)}.http_local_rate_limit",
        "http_local_rate_limit",
        (("envoy_local_http_ratelimit_prefix", _plain(name)),),
    )


def connection_rate_limit_scope(name: str) -> Scope:
    """Return the scope of a listener's limit of connections."""
    return Scope(
        f"local_rate_limit.{_plain(name)}", "local_rate_limit", (("envoy_local_ratelimit_prefix", _plain(name)),)
    )


def tcp_scope(name: str, part: str = "") -> Scope:
    """Return the scope of the opaque TCP of one listener, or of one filter in it."""
    prefix = ".".join(filter(None, ("tcp", _plain(name), part)))
    return Scope(prefix, f"tcp_{part}" if part else "tcp", (("envoy_tcp_prefix", _plain(name)),))


def listener_scope(address: str) -> Scope:
    """Return the scope of one listening address."""
    return Scope(f"listener.{_plain(address)}", "listener", (("envoy_listener_address", _plain(address)),))


ScopedSamples = Iterable[tuple[Scope, Iterable[Sample]]]


def exposition(groups: ScopedSamples) -> str:
    """Write samples for Prometheus."""
    lines = []
    for scope, samples in groups:
        for name, labels, value in samples:
            inside = ",".join(f'{key}="{_escape(text)}"' for key, text in (*scope.labels, *labels.items()))
            whole = f"envoy_{scope.family}_{name.replace('.', '_')}"
            lines.append(f"{whole}{{{inside}}} {value:.15g}" if inside else f"{whole} {value:.15g}")
    return "\n".join(lines) + "\n"


def envoy_lines(groups: ScopedSamples) -> str:
    """Write samples as Envoy's /stats does: `cluster.payments.upstream_rq_503: 2`, sorted. Histograms are left out."""
    return "".join(f"{line}\n" for line in sorted(_dotted(groups)))


def _dotted(groups: ScopedSamples) -> Iterator[str]:
    for scope, samples in groups:
        for name, labels, value in samples:
            if "le" in labels or name.endswith(("_time_sum", "_time_count")):
                continue
            if "envoy_response_code" in labels:
                name = f"{name}_{labels['envoy_response_code']}"
            elif "envoy_response_code_class" in labels:
                name = f"{name.removesuffix('xx')}{labels['envoy_response_code_class']}xx"
            yield f"{scope.prefix}.{name}: {value:.15g}"


def _plain(name: str) -> str:
    """Return a name as part of a statistic's, where a colon would be read as the end."""
    return name.replace(":", "_")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
