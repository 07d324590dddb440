"""`deploy`: a new version of a service: its instances are replaced one after the other, or `at_once` at a time.

With `drain` (the default) a sidecar says that it leaves, finishes what is under way and then ends: no request is lost. Without,
program and sidecar just end: connections break, and until the others hear of it they knock at a closed port. The one in
production who does that calls it a burst of 503 with every release. `settle` is how long a draining sidecar goes on taking
requests, so that its callers have the time to hear of it: a preStop hook that sleeps. `stops_first: application` is the other
classic: the application obeys the signal at once while its sidecar still takes requests.
Source: istio/istio#7665; Kubernetes Pod termination.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from sim.faults.active import Active, Done
from sim.rollout import RolloutPlan, roll_out
from sim.scenario.schema_parts import FLAG, TARGET, ZONE, ref
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_STARTS_AFTER_S = 1.0


@attrs.frozen(kw_only=True)
class Deploy(Verb):
    """Replace the instances of a service, in all zones or one."""

    word: ClassVar = "deploy"
    about: ClassVar = "replace the instances, some at a time"
    keys: ClassVar = {
        "deploy": TARGET,
        "zone": ZONE,
        "drain": FLAG | {"description": "finish what is under way first; true"},
        "at_once": {"type": "integer", "minimum": 1},
        "settle": ref("span") | {"description": "take requests for so long after saying so; 1s"},
        "order": {"enum": ["oldest-first", "newest-first"]},
        "stops_first": {"enum": ["sidecar", "application"]},
        "between": ref("span") | {"description": "the pause between one batch and the next"},
        "start": ref("span") | {"description": "how long the new program takes to start; 1s"},
    }
    hurts: ClassVar = False
    lasts_key: ClassVar = ""
    reach: ClassVar = Reach.PROCESSES

    target: str
    zone: str = ""
    drains: bool = True
    at_once: int = 1
    newest_first: bool = False
    application_first: bool = False
    pause_s: float = 0.0
    settle_s: float | None = None
    starts_after_s: float = _STARTS_AFTER_S

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word)
        cursors = entry.cursors
        order = cursors["order"].choice(("oldest-first", "newest-first")) if "order" in entry else ""
        first = cursors["stops_first"].choice(("sidecar", "application")) if "stops_first" in entry else ""
        return cls(
            target=target,
            zone=zone,
            drains=cursors["drain"].flag() if "drain" in entry else True,
            at_once=cursors["at_once"].count(least=1) if "at_once" in entry else 1,
            newest_first=order == "newest-first",
            application_first=first == "application",
            settle_s=cursors["settle"].span() if "settle" in entry else None,
            pause_s=cursors["between"].span() if "between" in entry else 0.0,
            starts_after_s=cursors["start"].span() if "start" in entry else _STARTS_AFTER_S,
        )

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        members = mesh.instances(self.target, self.zone)
        plan = RolloutPlan(
            at_once=self.at_once,
            drains=self.drains,
            application_first=self.application_first,
            newest_first=self.newest_first,
            pause_s=self.pause_s,
            settle_s=self.settle_s,
            starts_after_s=self.starts_after_s,
        )
        mesh.world.start_task(roll_out, mesh, members, plan, name=name)
        return Done(bool(members))
