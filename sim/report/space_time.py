"""Cuts the messages around chosen moments out of what a run has recorded. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sim.network.recording import Message, Tape
from sim.report.material import HostFacts

MESSAGES_MAX = 1_400  # in one window: more cannot be told apart
_BEFORE = 0.35  # share of a window that lies before its moment
_WIDEST_S, _NARROWEST_S = 4.0, 0.02


@attrs.frozen(kw_only=True)
class Moment:
    """What to look at. `at_s`: seconds of the run."""

    at_s: float
    title: str


def windows_of(
    tape: Tape, moments: Sequence[Moment], *, origin_s: float, hosts: Sequence[HostFacts]
) -> list[dict[str, Any]]:
    """Return a window for each moment around which anything was sent, as wide as its messages can be told apart."""
    windows = (_window(tape, moment, origin_s, hosts) for moment in moments)
    return [window for window in windows if window["messages"]]


def _window(tape: Tape, moment: Moment, origin_s: float, hosts: Sequence[HostFacts]) -> dict[str, Any]:
    number_by_host = {host.name: number for number, host in enumerate(hosts)}
    at_s = moment.at_s + origin_s
    found = list(tape.between(at_s - _BEFORE * _WIDEST_S, at_s + (1 - _BEFORE) * _WIDEST_S))
    width_s = _WIDEST_S
    while len(found) > MESSAGES_MAX and width_s > _NARROWEST_S:
        width_s *= 0.7
        from_s, to_s = at_s - _BEFORE * width_s, at_s + (1 - _BEFORE) * width_s
        found = [message for message in found if _touches(message, from_s, to_s)]
    names = {name for message in found for name in (message.source, message.target)}
    # Zone by zone: what is cut between zones is then seen to end in the middle.
    lines = sorted((host.zone, number) for number, host in enumerate(hosts) if host.name in names)
    return {
        "title": moment.title,
        "at": moment.at_s,
        "from": moment.at_s - _BEFORE * width_s,
        "to": moment.at_s + (1 - _BEFORE) * width_s,
        "hosts": [number for _, number in lines],
        "messages": [_written(message, origin_s, number_by_host) for message in found[: 2 * MESSAGES_MAX]],
    }


def _touches(message: Message, from_s: float, to_s: float) -> bool:
    return from_s <= message.sent_s <= to_s or (message.arrived_s is not None and from_s <= message.arrived_s <= to_s)


def _written(message: Message, origin_s: float, number_by_host: Mapping[str, int]) -> list[Any]:
    return [
        round(message.sent_s - origin_s, 6),
        None if message.arrived_s is None else round(message.arrived_s - origin_s, 6),
        number_by_host[message.source],
        number_by_host[message.target],
        message.size,
        int(message.kind),
        message.connection,
    ]
