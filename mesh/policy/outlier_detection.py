"""Outlier detection: eject an endpoint that fails, return it later. Pure: time and chance are arguments.

Source: Envoy `config.cluster.v3.OutlierDetection`, source/common/upstream/outlier_detection_impl.cc.
Consecutive failures eject at once; the two statistical detectors and the return of hosts work at ticks, which the caller
makes every `interval_s`. Ejected hosts get no traffic unless the balancer panics; that is the caller's to see to.

Unlike Envoy: a change of configuration keeps the state of hosts; a host that both statistical detectors find at one tick is
counted once (Envoy counts it twice); a detector that is configured is enforced, there are no enforcing percentages.
"""

import enum
import math
from collections.abc import Iterable, Iterator, Mapping

import attrs

from mesh.model.randomness import Random
from mesh.policy.failure import FailureKind


@attrs.frozen(kw_only=True)
class OutlierDetection:
    """When to eject, for how long, how many. A detector that is None (or 0) is not enforced. Spans in seconds."""

    interval_s: float = 10.0
    base_ejection_s: float = 30.0
    ejection_s_max: float = 300.0  # where it is below base_ejection_s, that counts
    ejection_jitter_s_max: float = 0.0  # Envoy's max_ejection_time_jitter: hosts ejected together return apart
    ejection_percent_max: int = 10
    always_eject_one: bool = False  # Envoy's always_eject_one_host: else 10 % of fewer than ten hosts is none
    split_local_origin_errors: bool = False
    consecutive_5xx: int = 0
    consecutive_gateway_failures: int = 0
    consecutive_local_origin_failures: int = 0
    success_rate_minimum_hosts: int = 0  # 0: the detector is off
    success_rate_request_volume: int = 100
    success_rate_standard_deviation_factor: float = attrs.field(default=1.9, converter=float)
    failure_percentage_minimum_hosts: int = 0  # 0: the detector is off
    failure_percentage_request_volume: int = 50
    failure_percentage_threshold: int = 85


class Detector(enum.Enum):
    """Why a host was found to be an outlier. Envoy's words in events and statistics."""

    CONSECUTIVE_5XX = "consecutive_5xx"
    CONSECUTIVE_GATEWAY_FAILURE = "consecutive_gateway_failure"
    CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "consecutive_local_origin_failure"
    SUCCESS_RATE = "success_rate"
    LOCAL_ORIGIN_SUCCESS_RATE = "local_origin_success_rate"
    FAILURE_PERCENTAGE = "failure_percentage"
    LOCAL_ORIGIN_FAILURE_PERCENTAGE = "local_origin_failure_percentage"


# Instants are floats: a span that ends exactly at a tick must not miss it by a rounding error and wait for the next.
_ROUNDING_S = 1e-6
_CONNECTING = (FailureKind.CONNECT_FAILURE, FailureKind.CONNECT_TIMEOUT)
_TIMEOUTS = (
    FailureKind.PER_TRY_TIMEOUT,
    FailureKind.PER_TRY_IDLE_TIMEOUT,
    FailureKind.PER_TRY_IDLE_TIMEOUT,
    FailureKind.REQUEST_TIMEOUT,
)


@attrs.define(eq=False)
class RequestCount:
    """How many requests a host got since the last tick, and how many of them succeeded."""

    total: int = 0
    succeeded: int = 0


@attrs.define(eq=False)
class HostRecord:
    """What the detector remembers of one host. The caller keeps it with its endpoint and reads `ejected`."""

    name: str
    ejected: bool = attrs.field(default=False, init=False)
    ejections: int = attrs.field(default=0, init=False)
    last_detector: Detector | None = attrs.field(default=None, init=False)
    consecutive_5xx: int = attrs.field(default=0, init=False)
    consecutive_gateway_failures: int = attrs.field(default=0, init=False)
    consecutive_local_origin_failures: int = attrs.field(default=0, init=False)
    counts: RequestCount = attrs.field(factory=RequestCount, init=False)
    local_origin_counts: RequestCount = attrs.field(factory=RequestCount, init=False)  # used only when split
    backoff: int = attrs.field(default=0, init=False)  # base ejection times that the next or present ejection lasts
    ejected_at: float = attrs.field(default=-math.inf, init=False)
    jitter_s: float = attrs.field(default=0.0, init=False)
    returned_at: float = attrs.field(default=math.inf, init=False)  # inf: was never ejected and returned


@attrs.frozen
class Tick:
    """What one tick changed, each in the order in which the hosts were added."""

    returned: tuple[HostRecord, ...]
    ejected: tuple[HostRecord, ...]


class OutlierDetector:
    """The hosts of one cluster under observation.

    Counters for statistics: `ejected_count` (Envoy's ejections_active), `overflows` (ejections_overflow),
    `detected`, `enforced` (ejections_detected_*, ejections_enforced_*).
    """

    __slots__ = ("_config", "_hosts", "_split", "detected", "ejected_count", "enforced", "overflows")

    def __init__(self, config: OutlierDetection) -> None:
        self._config = config
        self._split = config.split_local_origin_errors
        self._hosts: dict[str, HostRecord] = {}
        self.ejected_count = 0
        self.overflows = 0
        self.detected = dict.fromkeys(Detector, 0)
        self.enforced = dict.fromkeys(Detector, 0)

    @property
    def config(self) -> OutlierDetection:
        return self._config

    @property
    def host_by_name(self) -> Mapping[str, HostRecord]:
        return self._hosts

    def counters(self) -> Iterator[tuple[str, int]]:
        """Yield (name, value) under Envoy's names."""
        yield "ejections_active", self.ejected_count
        yield "ejections_overflow", self.overflows
        yield "ejections_enforced_total", sum(self.enforced.values())
        for detector in Detector:
            yield f"ejections_detected_{detector.value}", self.detected[detector]
            yield f"ejections_enforced_{detector.value}", self.enforced[detector]

    def replace_config(self, config: OutlierDetection) -> None:
        """Judge by other rules from now on; hosts stay as they are, ejected ones too until a tick finds their time is up."""
        self._config = config
        self._split = config.split_local_origin_errors

    def replace_hosts(self, names: Iterable[str]) -> None:
        """Watch exactly these hosts: those that stay keep their record and state."""
        kept = dict.fromkeys(names)
        for name in [name for name in self._hosts if name not in kept]:
            self.remove_host(name)
        for name in kept:
            self.add_host(name)

    def add_host(self, name: str) -> HostRecord:
        """Watch a host; one that is watched already keeps its record."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = HostRecord(name)
        return host

    def remove_host(self, name: str) -> None:
        """Forget a host. What comes later for its record is ignored."""
        host = self._hosts.pop(name, None)
        if host is not None and host.ejected:
            self.ejected_count -= 1

    def on_response(self, host: HostRecord, status: int, now: float, random: Random) -> bool:
        """Record the status of one try's response; a gRPC status first translated to HTTP. True: this ejected the host."""
        if self._split:
            self.on_connected(host)
        host.counts.total += 1
        if 500 <= status <= 599:
            return self._on_server_error(host, status, now, random)
        host.counts.succeeded += 1
        host.consecutive_5xx = host.consecutive_gateway_failures = 0
        return False

    def on_connected(self, host: HostRecord, *, final: bool = False) -> None:
        """Record that a try has its connection; ignored unless errors are split. HTTP need not call it: outcomes imply it.

        `final`: no response will be judged, as for opaque TCP; then it is the success itself.
        """
        if self._split:
            counts = host.local_origin_counts
            counts.total += 1
            counts.succeeded += 1
            host.consecutive_local_origin_failures = 0
        elif final:
            host.counts.total += 1
            host.counts.succeeded += 1
            host.consecutive_5xx = 0
            host.consecutive_gateway_failures = 0

    def on_local_failure(self, host: HostRecord, kind: FailureKind, now: float, random: Random) -> bool:
        """Record a try that failed without a response. True: this ejected the host.

        Split: it counts as a local-origin failure only, after the success of the connect that it had, if it had one, as
        Envoy's onPoolReady reports; so only failed connects come in a row. Else a timeout counts as a 504, all else as a 503:
        Envoy's router reports a reset as it reports a failed connect. An overflow is ours and says nothing about the host.
        """
        if kind is FailureKind.OVERFLOW:
            return False
        if not self._split:
            host.counts.total += 1
            return self._on_server_error(host, 504 if kind in _TIMEOUTS else 503, now, random)
        if kind not in _CONNECTING:
            self.on_connected(host)
        host.local_origin_counts.total += 1
        host.consecutive_local_origin_failures += 1
        if host.consecutive_local_origin_failures != self._config.consecutive_local_origin_failures:
            return False
        if not self._may_judge(host):
            return False
        ejected = self._eject(host, Detector.CONSECUTIVE_LOCAL_ORIGIN_FAILURE, now, random)
        host.consecutive_local_origin_failures = 0
        return ejected

    def on_health_check_passed(self, host: HostRecord, now: float) -> bool:
        """Return a host early since an active health check found it well. True: it was ejected until now."""
        if not host.ejected or not self._watches(host):
            return False
        self._return(host, now)
        return True

    def tick(self, now: float, random: Random) -> Tick:
        """End an interval: return hosts whose time is up, judge the counts of the interval, let back-offs decay.

        The caller makes the next one `interval_s` after this one, as Envoy does, not at fixed instants.
        """
        hosts = list(self._hosts.values())
        returned = [host for host in hosts if host.ejected and self._is_due(host, now)]
        for host in returned:
            self._return(host, now)
        ejected = self._judge_interval(hosts, local_origin=False, now=now, random=random)
        ejected += self._judge_interval(hosts, local_origin=True, now=now, random=random)
        for host in hosts:
            # A host that stayed in for a whole interval after its return earns one step of back-off back.
            if (
                not host.ejected
                and host.backoff > 0
                and now - host.returned_at + _ROUNDING_S >= self._config.interval_s
            ):
                host.backoff -= 1
        return Tick(tuple(returned), tuple(ejected))

    def _on_server_error(self, host: HostRecord, status: int, now: float, random: Random) -> bool:
        config = self._config
        ejected = False
        # A counter fires when it equals its threshold, and only a firing resets it: an ejected host's runs on past it,
        # so answers that were under way do not eject it once more. 0 is never equalled, so it switches a detector off.
        if 502 <= status <= 504:
            host.consecutive_gateway_failures += 1
            if host.consecutive_gateway_failures == config.consecutive_gateway_failures and self._may_judge(host):
                ejected = self._eject(host, Detector.CONSECUTIVE_GATEWAY_FAILURE, now, random)
                host.consecutive_gateway_failures = 0
        else:
            host.consecutive_gateway_failures = 0
        host.consecutive_5xx += 1
        if host.consecutive_5xx == config.consecutive_5xx and self._may_judge(host):
            ejected = self._eject(host, Detector.CONSECUTIVE_5XX, now, random)
            host.consecutive_5xx = 0
        return ejected

    def _watches(self, host: HostRecord) -> bool:
        return self._hosts.get(host.name) is host

    def _may_judge(self, host: HostRecord) -> bool:
        return not host.ejected and self._watches(host)

    def _eject(self, host: HostRecord, detector: Detector, now: float, random: Random) -> bool:
        """Eject if the share of ejected hosts allows it."""
        config = self._config
        self.detected[detector] += 1
        allowed = 100.0 * (self.ejected_count + 1) / len(self._hosts) <= min(100, config.ejection_percent_max)
        if not allowed and not (config.always_eject_one and self.ejected_count == 0):
            self.overflows += 1
            return False
        self.enforced[detector] += 1
        self.ejected_count += 1
        host.ejected = True
        host.ejections += 1
        host.last_detector = detector
        host.ejected_at = now
        host.jitter_s = random.random() * config.ejection_jitter_s_max if config.ejection_jitter_s_max > 0.0 else 0.0
        if host.backoff * config.base_ejection_s < self._ejection_s_max() + config.base_ejection_s:
            host.backoff += 1
        return True

    def _ejection_s_max(self) -> float:
        return max(self._config.ejection_s_max, self._config.base_ejection_s)

    def _is_due(self, host: HostRecord, now: float) -> bool:
        ejection_s = min(self._config.base_ejection_s * host.backoff, self._ejection_s_max()) + host.jitter_s
        return ejection_s <= now - host.ejected_at + _ROUNDING_S

    def _return(self, host: HostRecord, now: float) -> None:
        self.ejected_count -= 1
        assert self.ejected_count >= 0, "more hosts returned than were ejected"
        host.ejected = False
        host.returned_at = now
        host.consecutive_5xx = 0
        host.consecutive_gateway_failures = 0
        host.consecutive_local_origin_failures = 0

    def _judge_interval(
        self, hosts: list[HostRecord], *, local_origin: bool, now: float, random: Random
    ) -> list[HostRecord]:
        """Close the hosts' counts and eject the outliers among those that are in. Returns them."""
        config = self._config
        by_rate: list[tuple[HostRecord, float]] = []
        by_failures: list[tuple[HostRecord, float]] = []
        for host in hosts:
            counts = host.local_origin_counts if local_origin else host.counts
            total, succeeded = counts.total, counts.succeeded
            counts.total = counts.succeeded = 0
            if host.ejected or not total:
                continue
            rate = succeeded * 100.0 / total
            if total >= config.success_rate_request_volume:
                by_rate.append((host, rate))
            if total >= config.failure_percentage_request_volume:
                by_failures.append((host, rate))
        outliers: list[tuple[HostRecord, Detector]] = []
        if by_rate and 0 < config.success_rate_minimum_hosts <= len(by_rate):
            detector = Detector.LOCAL_ORIGIN_SUCCESS_RATE if local_origin else Detector.SUCCESS_RATE
            threshold = success_rate_threshold(
                [rate for _, rate in by_rate], config.success_rate_standard_deviation_factor
            )
            outliers += [(host, detector) for host, rate in by_rate if rate < threshold]
        if by_failures and 0 < config.failure_percentage_minimum_hosts <= len(by_failures):
            detector = Detector.LOCAL_ORIGIN_FAILURE_PERCENTAGE if local_origin else Detector.FAILURE_PERCENTAGE
            limit = config.failure_percentage_threshold
            outliers += [(host, detector) for host, rate in by_failures if 100.0 - rate >= limit]
        return [host for host, detector in outliers if not host.ejected and self._eject(host, detector, now, random)]


def success_rate_threshold(rates: list[float], factor: float) -> float:
    """Return the success rate below which a host is an outlier: mean - factor * standard deviation of the population."""
    mean = sum(rates) / len(rates)
    variance = sum((rate - mean) ** 2 for rate in rates) / len(rates)
    return mean - factor * math.sqrt(variance)
