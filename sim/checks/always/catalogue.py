"""Every check that is always on, in the order of reports."""

from sim.checks.always.bounded_buffers import BoundedBuffers
from sim.checks.always.breaker_limits import BreakerLimits
from sim.checks.always.breakers_idle import BreakersIdle
from sim.checks.always.certificates import Certificates
from sim.checks.always.config_versions import ConfigVersions
from sim.checks.always.conservation import Conservation
from sim.checks.always.drain import DrainAdmitsNothing
from sim.checks.always.ejected_idle import EjectedIdle
from sim.checks.always.ejected_share import EjectedShare
from sim.checks.always.endpoints_known import EndpointsKnown
from sim.checks.always.livelock import NoLivelock
from sim.checks.always.no_plaintext import NoPlaintext
from sim.checks.always.one_outcome import OneOutcome
from sim.checks.always.permissions import Permitted
from sim.checks.always.rate_limits import RateLimits
from sim.checks.always.retries import Retries
from sim.checks.always.retry_rate import RetryRate
from sim.checks.always.telemetry import Telemetry
from sim.checks.always.whole_versions import WholeVersions
from sim.checks.watcher import Watcher

WATCHERS: tuple[type[Watcher], ...] = (
    NoPlaintext,
    Permitted,
    Certificates,
    ConfigVersions,
    WholeVersions,
    OneOutcome,
    Conservation,
    Telemetry,
    EndpointsKnown,
    EjectedIdle,
    EjectedShare,
    Retries,
    RetryRate,
    BreakerLimits,
    BreakersIdle,
    RateLimits,
    DrainAdmitsNothing,
    BoundedBuffers,
    NoLivelock,
)
