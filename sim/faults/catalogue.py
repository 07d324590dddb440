"""Every verb that a timeline knows. A new one is a file in a folder beside this, and a line here."""

from sim.faults.changes.apply import Apply
from sim.faults.changes.deploy import Deploy
from sim.faults.changes.scale import Scale
from sim.faults.control_plane.bad_config import BadConfig
from sim.faults.control_plane.down import ControlPlaneDown
from sim.faults.control_plane.flapping_config import FlappingConfig
from sim.faults.control_plane.oversized_config import OversizedConfig
from sim.faults.control_plane.push_delay import PushDelay
from sim.faults.control_plane.restart import ControlPlaneRestart
from sim.faults.control_plane.stale_replica import StaleReplica
from sim.faults.hosts.clock_drift import ClockDrift
from sim.faults.hosts.clock_jump import ClockJump
from sim.faults.hosts.clock_skew import ClockSkew
from sim.faults.hosts.disk_full import DiskFull
from sim.faults.hosts.disk_slow import DiskSlow
from sim.faults.hosts.disk_torn import DiskTorn
from sim.faults.hosts.kill import Kill
from sim.faults.hosts.memory_limit import MemoryLimit
from sim.faults.hosts.pause import Pause
from sim.faults.hosts.restart import Restart
from sim.faults.hosts.slow_cpu import SlowCpu
from sim.faults.identity.ca_down import CaDown
from sim.faults.identity.cert_expiry import CertExpiry
from sim.faults.identity.root_rotation import RootRotation
from sim.faults.identity.token_revoked import TokenRevoked
from sim.faults.identity.wrong_trust import WrongTrust
from sim.faults.load.herd import Herd
from sim.faults.load.hot_key import HotKey
from sim.faults.load.spike import Spike
from sim.faults.network.bandwidth import Bandwidth
from sim.faults.network.blackhole import Blackhole
from sim.faults.network.buggify import Buggify
from sim.faults.network.dns_failure import DnsFailure
from sim.faults.network.duplicate import Duplicate
from sim.faults.network.half_open import HalfOpen
from sim.faults.network.hold import Hold
from sim.faults.network.jitter import Jitter
from sim.faults.network.latency import Latency
from sim.faults.network.loss import Loss
from sim.faults.network.partition import Partition
from sim.faults.network.refuse import Refuse
from sim.faults.network.reorder import Reorder
from sim.faults.network.reset import Reset
from sim.faults.network.stale_dns import StaleDns
from sim.faults.services.crash_loop import CrashLoop
from sim.faults.services.fail import Fail
from sim.faults.services.fail_fast import FailFast
from sim.faults.services.grey import Grey
from sim.faults.services.slow import Slow
from sim.faults.services.stuck import Stuck
from sim.scenario.verb import Verb

CHANGES: tuple[type[Verb], ...] = (Apply, Scale, Deploy)
NETWORK: tuple[type[Verb], ...] = (
    Partition,
    Latency,
    Jitter,
    Bandwidth,
    Loss,
    Duplicate,
    Reorder,
    Blackhole,
    Refuse,
    Reset,
    HalfOpen,
    Hold,
    DnsFailure,
    StaleDns,
    Buggify,
)
HOSTS: tuple[type[Verb], ...] = (
    Kill,
    Restart,
    Pause,
    SlowCpu,
    ClockSkew,
    ClockDrift,
    ClockJump,
    DiskSlow,
    DiskFull,
    DiskTorn,
    MemoryLimit,
)
SERVICES: tuple[type[Verb], ...] = (Slow, Fail, Grey, FailFast, Stuck, CrashLoop)
CONTROL_PLANE: tuple[type[Verb], ...] = (
    ControlPlaneDown,
    PushDelay,
    ControlPlaneRestart,
    StaleReplica,
    BadConfig,
    OversizedConfig,
    FlappingConfig,
)
IDENTITY: tuple[type[Verb], ...] = (CertExpiry, CaDown, RootRotation, WrongTrust, TokenRevoked)
LOAD: tuple[type[Verb], ...] = (Spike, Herd, HotKey)

GROUPS: dict[str, tuple[type[Verb], ...]] = {
    "changes": CHANGES,
    "network": NETWORK,
    "hosts": HOSTS,
    "services": SERVICES,
    "control plane": CONTROL_PLANE,
    "identity": IDENTITY,
    "load": LOAD,
}
VERBS: tuple[type[Verb], ...] = tuple(verb for verbs in GROUPS.values() for verb in verbs)
VERB_BY_WORD: dict[str, type[Verb]] = {verb.word: verb for verb in VERBS}
# What `fuzz` calls them: their words, and names that say more where a word needs its value.
FUZZ_KINDS: dict[str, str] = {verb.word: verb.word for verb in VERBS if verb.hurts} | {"cp-down": "control-plane"}
FAULT_WORDS: tuple[str, ...] = tuple(verb.word for verb in VERBS if verb.hurts)
