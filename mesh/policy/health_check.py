"""Active health checks: whether an endpoint is asked how it is, how and how often, and what follows from its answers. Pure.

Source: Envoy `config.core.v3.HealthCheck`, source/extensions/health_checkers/common/health_checker_base_impl.cc; Kuma
MeshHealthCheck. An endpoint is unhealthy from its arrival until its first check; that one success is enough.
"""

import enum
from collections.abc import Iterable

import attrs

from mesh.model.randomness import Random

_PAUSE_S_MIN = 0.001  # Envoy's: no check follows its predecessor at once, whatever is configured


class HealthCheckKind(enum.Enum):
    """What is asked."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"


@attrs.frozen(kw_only=True)
class HealthCheck:
    """One check of every endpoint of a cluster. Spans in seconds; defaults are Kuma's."""

    kind: HealthCheckKind = HealthCheckKind.TCP
    interval_s: float = 60.0
    timeout_s: float = 15.0
    unhealthy_threshold: int = 5
    healthy_threshold: int = 1
    initial_jitter_s: float = 0.0
    interval_jitter_s: float = 0.0
    interval_jitter_percent: int = 0
    no_traffic_interval_s: float = 60.0
    reuse_connection: bool = True
    log_failures_always: bool = False  # else only an endpoint's first check and changes of its verdict
    path: str = "/"  # HTTP
    headers_set: tuple[tuple[str, str], ...] = ()  # HTTP
    headers_add: tuple[tuple[str, str], ...] = ()  # HTTP
    expected_statuses: tuple[int, ...] = (200,)  # HTTP
    send: bytes = b""  # TCP; sent only where something is to be received, as in Envoy
    receive: tuple[bytes, ...] = ()  # TCP: each must come, in this order, among other bytes; empty: connecting is all
    service_name: str = ""  # gRPC
    authority: str = ""  # gRPC; empty: the cluster's name


class CheckFailure(enum.Enum):
    """How a check failed. Envoy's words in statistics and events."""

    ACTIVE = "active"  # the endpoint answered, and not what it should
    NETWORK = "network"
    NETWORK_TIMEOUT = "network_timeout"
    PASSIVE = "passive"  # a response to a request said so


_PATIENT = (CheckFailure.NETWORK, CheckFailure.NETWORK_TIMEOUT)  # an endpoint is unhealthy only after some of these


@attrs.define(eq=False)
class CheckVerdict:
    """What one check has found of one endpoint: failed or not, and how far it is from the contrary."""

    failed: bool = True
    pending: bool = attrs.field(default=True, init=False)  # there has been no result yet
    passes: int = attrs.field(default=0, init=False)  # in a row, while failed
    failures: int = attrs.field(default=0, init=False)  # in a row, while not failed

    def pass_once(self, check: HealthCheck) -> bool:
        """Take a check that was passed. True: the endpoint is healthy from now on."""
        first, self.pending, self.failures = self.pending, False, 0
        if not self.failed:
            return False
        self.passes += 1
        if not first and self.passes < check.healthy_threshold:
            return False
        self.failed = False
        return True

    def fail_once(self, check: HealthCheck, failure: CheckFailure) -> bool:
        """Take a check that failed. True: the endpoint is unhealthy from now on."""
        self.pending, self.passes = False, 0
        if self.failed:
            return False
        if failure in _PATIENT:
            self.failures += 1
            if self.failures < check.unhealthy_threshold:
                return False
        self.failed = True
        return True


def delay_to_first_s(check: HealthCheck, random: Random) -> float:
    """Return how long after an endpoint's arrival it is checked for the first time."""
    return random.random() * check.initial_jitter_s if check.initial_jitter_s > 0.0 else 0.0


def delay_to_next_s(check: HealthCheck, random: Random, *, used: bool) -> float:
    """Return how long after a check's end the next one begins. `used`: the cluster has had a connection for a request."""
    delay_s = check.interval_s if used else check.no_traffic_interval_s
    if check.interval_jitter_percent > 0:
        delay_s += random.random() * delay_s * check.interval_jitter_percent / 100.0
    if check.interval_jitter_s > 0.0:
        delay_s += random.random() * check.interval_jitter_s
    return max(delay_s, _PAUSE_S_MIN)


def contains_in_order(received: bytes, expected: Iterable[bytes]) -> bool:
    """Do the expected pieces come one after the other, whatever stands between them? Source: Envoy PayloadMatcher."""
    start = 0
    for piece in expected:
        found = received.find(piece, start)
        if found < 0:
            return False
        start = found + len(piece)
    return True
