"""Statistics as text: the lines of Envoy's /stats, and the Prometheus exposition format 0.0.4.

Both writers take one group at a time, so that whoever writes many can let others work between two of them.
Source: Envoy source/server/admin/{stats_render,prometheus_stats}.cc for the forms. Unlike there the histogram lines of
/stats are always those of `histogram_buckets=cumulative`, counted from the start, and what is not 0 is what was used.
"""

from collections.abc import Iterable
from typing import Protocol

import attrs

from mesh.policy.patterns import Pattern
from mesh.telemetry.metrics import TIME_BUCKETS_MS, Histogram, Sample
from mesh.telemetry.stat_scopes import Scope

_BOUNDS = (*map(str, TIME_BUCKETS_MS), "+Inf")
_BREAKER = "circuit_breakers.default."
GAUGES = frozenset(
    {
        "active_clusters",
        "active_faults",
        "connected_state",
        "days_until_first_cert_expiring",
        "downstream_cx_active",
        "downstream_rq_active",
        "health_check.healthy",
        "live",
        "membership_degraded",
        "membership_excluded",
        "membership_healthy",
        "membership_total",
        "outlier_detection.ejections_active",
        "state",
        "total_listeners_active",
        "upstream_cx_active",
        "upstream_rq_active",
        "upstream_rq_pending_active",
        "uptime",
        *(f"{_BREAKER}{what}_open" for what in ("cx", "rq", "rq_pending", "rq_retry")),
        *(f"{_BREAKER}remaining_{what}" for what in ("cx", "rq", "pending", "retries")),
    }
)


@attrs.frozen
class StatsGroup:
    """All statistics of one scope."""

    scope: Scope
    samples: Iterable[Sample]
    histograms: Iterable[tuple[str, Histogram]] = ()


@attrs.frozen(kw_only=True)
class Selection:
    """Which statistics are asked for: those whose dotted name the pattern is found in, without those that are 0."""

    pattern: Pattern | None = None
    used_only: bool = False

    def takes(self, name: str, value: int) -> bool:
        """Is this one asked for?"""
        if self.used_only and not value:
            return False
        return self.pattern is None or self.pattern.search(name.encode())


class StatsWriter(Protocol):
    """Writes statistics in one form. What two groups have under one name is added up, as Envoy shares statistics by name."""

    content_type: bytes

    def add(self, group: StatsGroup) -> None: ...
    def text(self) -> str: ...


class PlainWriter:
    """Lines as Envoy's /stats has them: `cluster.payments.upstream_rq_503: 2`, sorted; histograms are at the end."""

    content_type = b"text/plain; charset=UTF-8"

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._values: dict[str, int] = {}
        self._buckets: dict[str, list[int]] = {}

    def add(self, group: StatsGroup) -> None:
        """Take in one group."""
        prefix, values, takes = group.scope.prefix, self._values, self._selection.takes
        for name, labels, value in group.samples:
            dotted = _dotted(prefix, name, labels)
            if takes(dotted, value):
                values[dotted] = values.get(dotted, 0) + value
        for name, histogram in group.histograms:
            dotted = f"{prefix}.{name}"
            if takes(dotted, histogram.count):
                known = self._buckets.get(dotted)
                counts = histogram.counts if known is None else map(sum, zip(known, histogram.counts, strict=True))
                self._buckets[dotted] = list(counts)

    def text(self) -> str:
        """Return all lines."""
        lines = [f"{name}: {value}\n" for name, value in sorted(self._values.items())]
        lines += [f"{name}: {_cumulative(counts)}\n" for name, counts in sorted(self._buckets.items())]
        return "".join(lines)


class PrometheusWriter:
    """The exposition format: one family after the other, each with its type. Histograms nobody has used are left out."""

    content_type = b"text/plain; version=0.0.4"

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._families: dict[str, tuple[str, dict[str, float]]] = {}  # {family: (type, {series: value})}

    def add(self, group: StatsGroup) -> None:
        """Take in one group."""
        scope, selection = group.scope, self._selection
        inside = ",".join(f'{label}="{_escape(text)}"' for label, text in scope.labels)
        everything = selection.pattern is None and not selection.used_only
        for name, labels, value in group.samples:
            if not everything and not selection.takes(_dotted(scope.prefix, name, labels), value):
                continue
            family = f"envoy_{scope.family}_{name.replace('.', '_')}"
            series = self._series(family, "gauge" if name in GAUGES else "counter")
            whole = f"{{{_labelled(inside, labels)}}}" if labels else f"{{{inside}}}"
            series[whole] = series.get(whole, 0) + value
        for name, histogram in group.histograms:
            if histogram.count and selection.takes(f"{scope.prefix}.{name}", histogram.count):
                self._add_histogram(f"envoy_{scope.family}_{name.replace('.', '_')}", inside, histogram)

    def _add_histogram(self, family: str, inside: str, histogram: Histogram) -> None:
        series, total = self._series(family, "histogram"), 0
        for bound, count in zip(_BOUNDS, histogram.counts, strict=True):
            total += count
            key = f"_bucket{{{_labelled(inside, {'le': bound})}}}"
            series[key] = series.get(key, 0) + total
        for part, value in (("sum", histogram.sum_ms), ("count", total)):
            key = f"_{part}{{{inside}}}"
            series[key] = series.get(key, 0) + value

    def _series(self, family: str, kind: str) -> dict[str, float]:
        known = self._families.get(family)
        if known is None:
            known = self._families[family] = (kind, {})
        return known[1]

    def text(self) -> str:
        """Return all families, by their names."""
        lines = []
        for family, (kind, series) in sorted(self._families.items()):
            lines.append(f"# TYPE {family} {kind}")
            lines += [f"{family}{key} {value:.15g}" for key, value in series.items()]
        return "\n".join([*lines, ""])


def _dotted(prefix: str, name: str, labels: dict[str, str]) -> str:
    if not labels:
        return f"{prefix}.{name}"
    code = labels.get("envoy_response_code")
    if code is not None:
        return f"{prefix}.{name}_{code}"
    return f"{prefix}.{name.removesuffix('xx')}{labels['envoy_response_code_class']}xx"


def _labelled(inside: str, labels: dict[str, str]) -> str:
    more = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{inside},{more}" if inside else more


def _cumulative(counts: list[int]) -> str:
    """Write buckets as Envoy does: `B5(interval,total)`. Intervals are not kept: both are counts from the start."""
    if not any(counts):
        return "No recorded values"
    total, parts = 0, []
    for bound, count in zip(TIME_BUCKETS_MS, counts, strict=False):
        total += count
        parts.append(f"B{bound:g}({total},{total})")
    return " ".join(parts)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
