"""Every verb that a timeline knows. A new one is a file in a folder beside this, and a line here."""

from sim.faults.changes.apply import Apply
from sim.faults.changes.scale import Scale
from sim.faults.control_plane.down import ControlPlaneDown
from sim.faults.hosts.kill import Kill
from sim.faults.network.latency import Latency
from sim.faults.network.loss import Loss
from sim.faults.network.partition import Partition
from sim.faults.services.fail import Fail
from sim.faults.services.slow import Slow
from sim.scenario.verb import Verb

CHANGES: tuple[type[Verb], ...] = (Apply, Scale)
NETWORK: tuple[type[Verb], ...] = (Partition, Latency, Loss)
HOSTS: tuple[type[Verb], ...] = (Kill,)
SERVICES: tuple[type[Verb], ...] = (Slow, Fail)
CONTROL_PLANE: tuple[type[Verb], ...] = (ControlPlaneDown,)
IDENTITY: tuple[type[Verb], ...] = ()
LOAD: tuple[type[Verb], ...] = ()

VERBS: tuple[type[Verb], ...] = (*CHANGES, *NETWORK, *HOSTS, *SERVICES, *CONTROL_PLANE, *IDENTITY, *LOAD)
VERB_BY_WORD: dict[str, type[Verb]] = {verb.word: verb for verb in VERBS}
FAULT_WORDS: tuple[str, ...] = tuple(verb.word for verb in VERBS if verb.hurts)
