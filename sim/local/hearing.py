"""What processes report, made into the run's evidence and into what checks look at, in the order in which it happened.

A look compares counters of a sidecar with its records, so records wait here until the standing that belongs to them is there.
Log lines wait for the look, too: those of different processes come in any order.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import attrs
import trio

from sim.checks.inspection import Inspection, Seen
from sim.checks.record_tally import RecordTally
from sim.checks.views import ProxyView
from sim.clock import NS_PER_S
from sim.local.messages import Report
from sim.local.mirrors import MirroredPlaces, MirroredService, MirroredSidecar, MirroredUsers, UsersGoingRound
from sim.local.places import CONTROL_PLANE
from sim.local.reporting import add_tally, add_users, record_of
from sim.local.steering import Connected
from sim.workload.deployment import Edge, Instance

if TYPE_CHECKING:
    from sim.local.hosts import LocalMember
    from sim.local.mesh import LocalMesh


_PUSHED = "configuration.pushed"
# What follows from a line of the control plane's, and is to come after it.
_ANSWERS = ("configuration.accepted",)
_SENDING_S = 1.0


class Logged(NamedTuple):
    """A log line. `at`: seconds of the runner's clock."""

    at: float
    host: str
    kind: str
    level: str
    fields: Mapping[str, Any]


@attrs.define(eq=False)
class _Account:
    """The records of one sidecar that wait for its standing."""

    tally: RecordTally
    waiting: SimpleNamespace  # `seen`, as an inspection has it


class Hearing:
    """See the module's text."""

    def __init__(self, mesh: "LocalMesh") -> None:
        self._mesh = mesh
        self._accounts: dict[str, _Account] = {}
        self._logged: list[Logged] = []

    def expect(self, what: Instance | Edge) -> None:
        """Begin to keep what the processes of an instance or edge see."""
        mesh, waiting = self._mesh, SimpleNamespace(seen=[])
        tally = RecordTally(
            mesh.evidence,
            cast(Inspection, waiting),
            host=what.name,
            workload=what.workload,
            origin_s=lambda: mesh.origin_s,
        )
        self._accounts[what.name] = _Account(tally, waiting)

    def greet(self, process: Connected) -> None:
        """A process is there: what is known of its role begins anew."""
        member = self._mesh.members.get(process.name)
        if member is None:
            return
        match process.role:
            case "sidecar":
                member.sidecar = MirroredSidecar(member.host.end_sidecar)
            case "service":
                member.service = MirroredService()
            case "users" if isinstance(member.what, Edge):
                member.users = MirroredUsers(UsersGoingRound(member.what.user_count))

    def part(self, process: Connected) -> None:
        """A process has ended: what it told stands, and nothing is known of it any more."""
        self._commit(process.name)
        self._release_of(process.name)
        member = self._mesh.members.get(process.name)
        if member is not None and process.role == "sidecar":
            member.sidecar = None
        elif member is not None and process.role == "service":
            member.service = None

    def take(self, process: Connected, report: Report) -> None:
        """Take in a report."""
        mesh, shift_s, name = self._mesh, self._mesh.shift_s, process.name
        tally = self._accounts[name].tally
        for row in report.records:
            tally.append(record_of(row, shift_s=-shift_s))
        for at, kind, level, fields in report.events:
            self._logged.append(Logged(at - shift_s, name, kind, level, fields))
        member = mesh.members.get(name)
        if member is not None:
            member.host.processor.late += report.late - process.late
            self._mirror(member, process, report)
        process.late = report.late
        if report.journeys or report.visits:
            add_users(mesh.evidence.users, report, origin=mesh.origin_s + shift_s)
        if process.role == "service":
            condition = mesh.condition_of(name)
            condition.touched += report.touched - process.touched
            process.touched = report.touched
        if report.tally:
            add_tally(mesh.evidence.services, report.tally, shift_s=-shift_s)

    def _mirror(self, member: "LocalMember", process: Connected, report: Report) -> None:
        mesh = self._mesh
        if process.role == "service" and member.service is not None:
            member.service.places = MirroredPlaces(*report.places)
        elif process.role == "users" and member.users is not None:
            member.users.active = report.busy
            mesh.evidence.users.begun += report.begun - member.users.begun
            member.users.begun = report.begun
        elif report.standing is not None and member.sidecar is not None:
            member.sidecar.take(report.standing, shift_s=-mesh.shift_s)
            self._commit(member.name)

    def _commit(self, name: str) -> None:
        waiting = self._accounts[name].waiting
        self._mesh.inspection.seen += waiting.seen
        waiting.seen = []

    # What a look is made of.

    async def gather(self) -> float:
        """Ask all processes how they stand, and the control plane what it has logged; return when everything was there."""
        mesh, asked = self._mesh, trio.current_time()
        await mesh.steering.look()
        for moment, kind, level, fields in mesh.plane.read_log():
            self._logged.append(Logged(moment - mesh.epoch, CONTROL_PLANE, kind, level, fields))
        self._release(asked)
        mesh.inspection.seen.sort(key=_ended_at)
        return trio.current_time()

    def _release(self, asked: float) -> None:
        """Record what was logged: of sidecars what belongs to their standings, and of what others follow from, everything.

        What follows from it waits when it came after the question: not everybody has told as much.
        """
        logged, self._logged = in_order(self._logged), []
        for one in logged:
            follows = one.kind in _ANSWERS or (one.host == CONTROL_PLANE and one.kind != _PUSHED)
            if follows and one.at > asked:
                self._logged.append(one)
                continue
            self._record(one)

    def _release_of(self, host: str) -> None:
        """Record what a process said that has ended: it comes before what its host says next."""
        for one in self._logged:
            if one.host == host:
                self._record(one)
        self._logged = [one for one in self._logged if one.host != host]

    def _record(self, one: Logged) -> None:
        self._mesh.world.log.append(one.kind, one.host, one.level, one.fields, at_ns=round(one.at * NS_PER_S))

    def views(self) -> tuple[ProxyView, ...]:
        """Return how the sidecars of hosts with power stand, as of the last look."""
        views = [
            member.sidecar.view(
                member=member.name,
                workload=member.what.workload,
                life=member.host.network_host.incarnation,
                busy=_busy(member),
                shift_s=-self._mesh.shift_s,
            )
            for member in self._mesh.members.values()
            if member.sidecar is not None and member.host.alive
        ]
        return tuple(view for view in views if view is not None)


def _busy(member: "LocalMember") -> int:
    users, service = member.users, member.service
    busy = 0 if users is None else users.active + users.settings.users
    return busy if service is None else busy + service.places.busy + service.places.waiting


def _ended_at(seen: Seen) -> float:
    return seen.record.ended_at


def in_order(logged: Sequence[Logged]) -> list[Logged]:
    """Sort lines by what they tell: a push is logged once it is sent, and the proxy may have said before that it took it."""
    taken_at = {(one.host, one.fields.get("nonce")): one.at for one in logged if one.kind in _ANSWERS}

    def order(one: Logged) -> tuple[float, bool]:
        if one.kind != _PUSHED:
            return one.at, True
        answered_at = taken_at.get((one.fields.get("proxy", ""), one.fields.get("nonce")), one.at)
        # Nonces begin anew with each connection: an answer of long ago is to another push.
        return (answered_at if one.at - _SENDING_S < answered_at < one.at else one.at), False

    return sorted(logged, key=order)
