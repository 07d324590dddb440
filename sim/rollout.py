"""A rolling deployment: the instances of a service are replaced, some at a time, each by a fresh start on its host.

Next comes who is next when those before are ready for their callers, as deployment controllers do it. When that takes too
long the rollout stops where it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from mesh.model.departure import Departure

if TYPE_CHECKING:
    from sim.assembly import Member, SimulatedMesh

READY_S_MAX = 120.0
_POLL_S = 0.1


@attrs.frozen(kw_only=True)
class RolloutPlan:
    """How instances are replaced. Spans in seconds.

    `drains`: a sidecar finishes what is under way before it ends, and tells the others. `application_first`: the application
    ends before that. `settle_s`: how long a draining sidecar takes requests at least (None: as its settings say).
    `starts_after_s`: how long the new program takes to start; the host is there meanwhile.
    """

    at_once: int = 1
    drains: bool = True
    application_first: bool = False
    newest_first: bool = False
    pause_s: float = 0.0
    settle_s: float | None = None
    starts_after_s: float = 1.0


async def roll_out(mesh: "SimulatedMesh", members: "Sequence[Member]", plan: RolloutPlan) -> None:
    """Replace the members, in order."""
    order = list(reversed(members)) if plan.newest_first else list(members)
    for place in range(0, len(order), plan.at_once):
        if place:
            await trio.sleep(plan.pause_s)
        batch = order[place : place + plan.at_once]
        async with trio.open_nursery() as nursery:
            for member in batch:
                nursery.start_soon(_replace, member, plan)
        if not await _wait_ready(mesh, batch):
            names = [member.name for member in batch]
            mesh.world.log.record("rollout.stalled", "timeline", level="warning", not_ready=names)
            return


async def _replace(member: "Member", plan: RolloutPlan) -> None:
    if plan.application_first and member.application is not None:
        member.application.crash()
    if plan.drains and member.host.alive and member.sidecar is not None:
        await member.sidecar.drain(plan.settle_s)
    await member.host.stop()
    member.starts_after_s = plan.starts_after_s
    member.host.start_if_off()


async def _wait_ready(mesh: "SimulatedMesh", members: "Sequence[Member]") -> bool:
    with trio.move_on_after(READY_S_MAX):
        while not all(_is_ready(mesh, member) for member in members):
            await trio.sleep(_POLL_S)
        return True
    return False


def _is_ready(mesh: "SimulatedMesh", member: "Member") -> bool:
    if member.name in mesh.outsiders:
        return member.service is not None
    status = mesh.status().get(member.name)
    if status is None or not status.converged or status.departure is not Departure.STAYING:
        return False
    return all(ready for _, ready in status.inbounds)
