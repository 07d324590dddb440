"""Everything that must come about, in the order of reports. Source of the list: the project's reference on simulation.

While the load goes on, in a core that was healed (`phases`):
  L1 core-configured      L2 goodput-returns      L3 ejections-end      L4 streams-progress      L5 certificates-rotate
  L6 endpoints-share      L7 reconnects-decay     L8 core-serves
When the load is over and everything is healed: all-connected and nothing-left in every run, L9 idle-is-quiet with `phases`.
"""

from sim.checks.liveness.certificates import CertificatesRotate
from sim.checks.liveness.configuration import NewestConfiguration
from sim.checks.liveness.core_serves import CoreServes
from sim.checks.liveness.ejections import EjectionsEnd
from sim.checks.liveness.goodput import GoodputReturns
from sim.checks.liveness.promise import LivenessPromise
from sim.checks.liveness.reconnects import ReconnectsDecay
from sim.checks.liveness.shares import FairShares
from sim.checks.liveness.streams import StreamsProgress

PROMISES: tuple[type[LivenessPromise], ...] = (
    NewestConfiguration,
    GoodputReturns,
    EjectionsEnd,
    StreamsProgress,
    CertificatesRotate,
    FairShares,
    ReconnectsDecay,
    CoreServes,
)
