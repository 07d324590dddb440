"""`crash-loop`: the application's process dies a while after each start, and is started again after pauses that double.

Host and sidecar live on: the sidecar finds nobody at the application's port, answers 503 and, once its probe has failed,
reports that the instance is not ready. Health flaps with each start. What was under way is reset; caches are empty.
Source of the pauses: Kubernetes' CrashLoopBackOff (10 s, doubled up to 5 min); here `backoff` and `backoff_max`.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.faults.services.service_fault import service_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import Member, SimulatedMesh

_LIVES_S = 2.0
_BACKOFF_S, _BACKOFF_MAX_S = 1.0, 30.0


@attrs.frozen(kw_only=True)
class CrashLoop(Verb):
    """Let the application of a service's instances die `after` each start, and start again with a growing backoff."""

    word: ClassVar = "crash-loop"
    about: ClassVar = "let the application die after each start"
    keys: ClassVar = service_keys("crash-loop", after=ref("span"), backoff=ref("span"), backoff_max=ref("span"))

    target: str
    zone: str = ""
    after_s: float = _LIVES_S
    backoff_s: float = _BACKOFF_S
    backoff_max_s: float = _BACKOFF_MAX_S

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word)
        backoff_s = entry.cursors["backoff"].span(positive=True) if "backoff" in entry else _BACKOFF_S
        most_s = entry.cursors["backoff_max"].span() if "backoff_max" in entry else max(_BACKOFF_MAX_S, backoff_s)
        if most_s < backoff_s:
            entry.cursors["backoff_max"].refuse("must not be below backoff")
        return cls(
            target=target,
            zone=zone,
            after_s=entry.cursors["after"].span() if "after" in entry else _LIVES_S,
            backoff_s=backoff_s,
            backoff_max_s=max(most_s, backoff_s),
        )

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        loops = {member.name: _Loop(self, member) for member in mesh.instances(self.target, self.zone)}
        for loop in loops.values():
            mesh.world.start_task(loop.run, name=f"crash-loop {loop.member.name}")
        undo = {host: loop.end for host, loop in loops.items()}
        return EachHost(undo, lambda: any(loop.crashes for loop in loops.values()))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of(draw.names.instances if draw.strength < 6 else draw.services())}


class _Loop:
    """One instance that crashes again and again, at once at first."""

    def __init__(self, verb: CrashLoop, member: "Member") -> None:
        self.member = member
        self.crashes = 0
        self._verb = verb
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        verb, backoff_s = self._verb, self._verb.backoff_s
        with self._scope:
            while True:
                application = self.member.application
                if application is not None and application.crash():
                    self.crashes += 1
                    await trio.sleep(backoff_s)
                    backoff_s = min(backoff_s * 2.0, verb.backoff_max_s)
                    application.start()
                await trio.sleep(max(verb.after_s, 0.1))

    def end(self) -> None:
        """Start it for good."""
        self._scope.cancel()
        if self.member.application is not None:
            self.member.application.start()
