"""What follows from what: gives each event of a run the event that it follows from. Pure; done after the run.

Where the simulation knows for certain (a fault and what it does at once), the event brings its cause along. The others are
found by who speaks of whom: an acknowledgement follows the push of that version to that proxy, an ejection the failures that
this host had with this endpoint, these the fault that lay on one of the two. That is how an operator reads a log; it can err.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from sim.event_log import Event
from sim.report.failures import Failing

_FAULT_TAIL_S = 5.0  # Connections break, and timeouts end, some time after a fault has.


@attrs.frozen(kw_only=True)
class Happening:
    """One event, numbered for this run's files: `e17` of the log, `r3` found in requests. `cause`: the id of another one.

    `at_s`: seconds of the run.
    """

    id: str
    at_s: float
    host: str
    kind: str
    level: str
    fields: Mapping[str, Any]
    cause: str = ""


# {kind: (kind of its cause, what that says, what this one says)}: the latest cause with the same value on both sides.
# "host" is who says it, "" is anybody, other words are fields. Where several fit, the latest one is it.
_FOLLOWS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "host.started": (("host.killed", "host", "host"), ("service.scaling", "", "")),
    "sidecar.started": (("host.started", "host", "host"),),
    "sidecar.draining": (("timeline.begun", "", ""), ("service.scaling", "", "")),
    "control_plane.started": (("host.started", "host", "host"),),
    "configuration.restored": (("host.started", "host", "host"),),
    "control_plane.connected": (("sidecar.started", "host", "host"), ("control_plane.disconnected", "host", "host")),
    "control_plane.disconnected": (("host.killed", "host", "peer"), ("fault.bit", "", ""), ("timeline.begun", "", "")),
    "proxy.joined": (("sidecar.started", "host", "proxy"), ("control_plane.disconnected", "host", "proxy")),
    "proxy.lost": (("host.killed", "host", "proxy"), ("fault.bit", "", "")),
    "proxy.disconnected": (("proxy.lost", "proxy", "proxy"), ("host.killed", "host", "proxy"), ("fault.bit", "", "")),
    "proxy.left": (("sidecar.draining", "host", "proxy"),),
    "authority.created": (("installation.prepared", "", ""),),
    "certificate.issued": (("proxy.joined", "proxy", "proxy"), ("authority.rotated", "", "")),
    "certificate.received": (("certificate.issued", "proxy", "host"),),
    "identity.replaced": (("certificate.received", "host", "host"), ("sidecar.started", "host", "host")),
    "control_plane.resources_replaced": (("timeline.begun", "", ""),),
    "configuration.pushed": (
        ("proxy.joined", "", ""),
        ("proxy.left", "", ""),
        ("proxy.lost", "", ""),
        ("proxy.disconnected", "", ""),
        ("proxy.inbound_changed", "", ""),
        ("probe.verdict_changed", "", ""),
        ("control_plane.resources_replaced", "", ""),
        ("authority.rotated", "", ""),
        ("timeline.begun", "", ""),
    ),
    "configuration.accepted": (("configuration.pushed", "proxy", "host"),),
    "configuration.applied": (("configuration.pushed", "proxy", "host"), ("sidecar.started", "host", "host")),
    "configuration.acked": (("configuration.accepted", "host", "proxy"),),
    "configuration.nacked": (("configuration.pushed", "proxy", "proxy"), ("configuration.pushed", "proxy", "host")),
    "listener.opened": (("configuration.pushed", "proxy", "host"), ("sidecar.started", "host", "host")),
    "listener.closed": (("configuration.pushed", "proxy", "host"), ("sidecar.draining", "host", "host")),
    "probe.verdict_changed": (("host.started", "host", "host"),),
    "endpoint.returned": (("endpoint.ejected", "host+endpoint", "host+endpoint"),),
    "fault.bit": (("fault.armed", "fault", "fault"),),
    "fault.lifted": (("fault.armed", "fault", "fault"),),
    "timeline.ended": (("timeline.begun", "what", "what"),),
}
_MATCHED = ("proxy", "fault", "what", "version")


def happenings_of(
    events: Iterable[Event], failings: Iterable[Failing], *, origin_s: float, hosts: Iterable[str]
) -> tuple[Happening, ...]:
    """Return the events of the log and the failures found in requests, in the order of time, with causes."""
    from_log = [(event.at_s - origin_s, 1, event.number, _of_log(event, origin_s)) for event in events]
    from_requests = [
        (failing.at_s, 0, number, _of_requests(number, failing)) for number, failing in enumerate(failings, start=1)
    ]
    search = _Search(hosts)
    return tuple(search.explained(entry[3]) for entry in sorted([*from_log, *from_requests], key=lambda e: e[:3]))


def _of_log(event: Event, origin_s: float) -> Happening:
    return Happening(
        id=f"e{event.number}",
        at_s=event.at_s - origin_s,
        host=event.host,
        kind=event.kind,
        level=event.level,
        fields=event.fields,
        cause="" if event.cause is None else f"e{event.cause}",
    )


def _of_requests(number: int, failing: Failing) -> Happening:
    return Happening(
        id=f"r{number}",
        at_s=failing.at_s,
        host=failing.host,
        kind=failing.kind,
        level="warning",
        fields={
            "service": failing.service,
            "endpoint": failing.endpoint,
            "reason": failing.reason,
            "requests": failing.count,
            "until_s": round(failing.until_s, 6),
            "trace": failing.trace,
        },
    )


@attrs.define(eq=False)
class _Active:
    id: str
    at_s: float
    until_s: float
    what: str


class _Search:
    """Remembers what happened last, by kind and by whom it concerns."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(hosts)
        self._latest: dict[tuple[str, str, str], tuple[int, str]] = {}
        self._count = 0
        self._faults: list[_Active] = []
        self._down: dict[str, str] = {}  # {host without power: the event that took it}

    def explained(self, event: Happening) -> Happening:
        """Return the event with its cause, and remember it."""
        if not event.cause:
            event = attrs.evolve(event, cause=self._cause(event))
        self._remember(event)
        return event

    def _cause(self, event: Happening) -> str:
        if event.kind.startswith("requests."):
            return self._cause_of_failures(event)
        if event.kind == "endpoint.ejected":
            endpoint = str(event.fields.get("endpoint", ""))
            found = self._find((("requests.failing", "host+endpoint", ""),), event, f"{event.host}+{endpoint}")
            return found or self._fault_on((event.host, endpoint), event.at_s)
        return self._find(_FOLLOWS.get(event.kind, ()), event)

    def _find(self, rules: Sequence[tuple[str, str, str]], event: Happening, value: str | None = None) -> str:
        best = (-1, "")
        for kind, theirs, ours in rules:
            wanted = _value(event, ours) if value is None else value
            best = max(best, self._latest.get((kind, theirs, wanted), best))
        return best[1]

    def _cause_of_failures(self, event: Happening) -> str:
        endpoint, service = str(event.fields["endpoint"]), str(event.fields["service"])
        if endpoint in self._down:
            return self._down[endpoint]
        # An instance that fails may itself have been failed, further down.
        below = self._latest.get(("requests.failing", "host", endpoint)) if endpoint else None
        fault = self._fault_on((event.host, endpoint, service), event.at_s)
        if below is not None and (not fault or event.fields["reason"].startswith("5")):
            return below[1]
        return fault

    def _fault_on(self, names: Sequence[str], at_s: float) -> str:
        """Return the fault whose title names one of these, or the latest one of all."""
        active = [fault for fault in self._faults if fault.at_s <= at_s <= fault.until_s + _FAULT_TAIL_S]
        if not active:
            return ""
        words = [name for name in names if name]
        named = [fault for fault in active if any(name in fault.what for name in words)]
        return max(named or active, key=lambda fault: fault.at_s).id

    def _remember(self, event: Happening) -> None:
        self._count += 1
        mark = (self._count, event.id)
        latest, kind = self._latest, event.kind
        latest[kind, "", ""] = latest[kind, "host", event.host] = mark
        for name in _MATCHED:
            if name in event.fields:
                latest[kind, name, str(event.fields[name])] = mark
        if "endpoint" in event.fields:
            latest[kind, "host+endpoint", _value(event, "host+endpoint")] = mark
        if kind == "timeline.begun":
            self._faults.append(_Active(event.id, event.at_s, event.at_s, str(event.fields.get("what", ""))))
            self._faults[-1].until_s = float("inf")
        elif kind == "timeline.ended":
            for fault in self._faults:
                if fault.what == event.fields.get("what") and fault.until_s == float("inf"):
                    fault.until_s = event.at_s
                    break
        elif kind == "host.killed":
            self._down[event.host] = event.id
        elif kind == "host.started":
            self._down.pop(event.host, None)


def _value(event: Happening, what: str) -> str:
    if what == "host":
        return event.host
    if what == "host+endpoint":
        return f"{event.host}+{event.fields.get('endpoint', '')}"
    return str(event.fields.get(what, "")) if what else ""
