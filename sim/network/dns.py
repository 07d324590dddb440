"""DNS of the simulated world: a resolver in each zone that remembers answers, and the questions of hosts to it.

A host asks the resolver of its zone with a datagram, as the system's resolver does: it waits 5 s for the answer, asks a second
time, and gives up after 10 s. Another answer than addresses (NXDOMAIN, a second SERVFAIL) is an error at once.
The resolver answers from memory while an answer's TTL lasts, so a change is seen late by up to that; otherwise it asks the
domain's servers, which takes RECURSION_NS and cannot be cut by faults of links. It has no limit of memory and is never killed;
links to it can be cut and slowed: it is a host of its zone called `dns-ZONE`.

Source: resolv.conf(5): timeout 5 s, 2 attempts; RFC 1035; RFC 2308 for what is remembered of failures.
"""

import errno
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from mesh.model.errors import ConnectFailed
from sim.clock import NS_PER_S
from sim.network.datagrams import Datagram
from sim.network.host import NetworkHost
from sim.network.names import Answer, Code

if TYPE_CHECKING:
    from sim.network.fabric import SimNetwork

PORT = 53
TIMEOUT_NS = 5 * NS_PER_S
TRIES_MAX = 2
RECURSION_NS = NS_PER_S // 50
_HEADER_BYTES = 40  # of IP, UDP and DNS, about
_RECORD_BYTES = 16


def resolver_name(zone: str) -> str:
    """Return the name of the host on which a zone's resolver runs."""
    return f"dns-{zone}"


class ZoneResolver:
    """Answers the questions of one zone's hosts. Owns what it remembers."""

    def __init__(self, network: "SimNetwork", zone: str) -> None:
        self.host = NetworkHost(resolver_name(zone), zone, "")
        self._network = network
        self._remembered: dict[str, tuple[Answer, int]] = {}  # by name: the answer, and until when it is good

    def answer(self, name: str, asker: str) -> tuple[Answer, int]:
        """Return the answer to a question of now, and how many nanoseconds it takes."""
        names, zone = self._network.names, self.host.zone
        found, delay_ns = self._recall(name, asker)
        told, late_ns = names.told(name, zone=zone, asker=asker, authority=False, truth=found)
        return told, delay_ns + late_ns

    def _recall(self, name: str, asker: str) -> tuple[Answer, int]:
        names, now_ns = self._network.names, self._network.clock.now_ns
        remembered = self._remembered.get(name)
        if remembered is not None and now_ns < remembered[1]:
            return remembered[0], 0
        truth = names.truth(name)
        answer, late_ns = names.told(name, zone=self.host.zone, asker=asker, authority=True, truth=truth)
        delay_ns = RECURSION_NS + late_ns
        if answer.ttl_s > 0.0:
            self._remembered[name] = answer, now_ns + delay_ns + round(answer.ttl_s * NS_PER_S)
        return answer, delay_ns


class Question:
    """One host's question for a name's addresses; `done` is called once, with them or the error, unless it is cancelled."""

    def __init__(
        self,
        network: "SimNetwork",
        asker: NetworkHost,
        name: str,
        done: Callable[[tuple[str, ...] | ConnectFailed], None],
    ) -> None:
        self._network = network
        self._clock = network.clock
        self._asker = asker
        self._life = asker.incarnation
        self._name = name
        self._done = done
        self._resolver = network.resolver(asker.zone)
        self._there = network.path(asker, self._resolver.host)
        self._back = network.path(self._resolver.host, asker)
        # Both directions enter the event hash, with the sizes of what arrives.
        self._there_id = network.log.trace_id(asker.name, self._resolver.host.name, 0)
        self._back_id = network.log.trace_id(self._resolver.host.name, asker.name, 0)
        self._random: Random = network.randomness.stream("dns", asker.name)
        self._tries = 0
        self._over = False

    def start(self) -> None:
        """Ask for the first time."""
        self._ask()

    def cancel(self) -> None:
        """Wait no longer; `done` will not be called."""
        self._over = True

    def _ask(self) -> None:
        self._tries += 1
        size = _HEADER_BYTES + len(self._name)
        question = Datagram(path=self._there, size=size, server_port=PORT, deliver=self._arrive)
        question.send(self._clock, self._random)
        self._clock.push(self._clock.now_ns + TIMEOUT_NS, self._expire, self._tries)

    def _arrive(self, _: object) -> None:
        """Be at the resolver, perhaps twice: it answers each time."""
        self._network.log.trace((self._clock.now_ns, self._there_id + len(self._name)))
        answer, delay_ns = self._resolver.answer(self._name, self._asker.name)
        if answer.code is not Code.SILENCE:
            self._clock.push(self._clock.now_ns + delay_ns, self._send_back, answer)

    def _send_back(self, answer: Answer) -> None:
        size = _HEADER_BYTES + len(self._name) + _RECORD_BYTES * len(answer.addresses)
        back = Datagram(path=self._back, size=size, server_port=PORT, deliver=lambda _: self._take(answer))
        back.send(self._clock, self._random)

    def _take(self, answer: Answer) -> None:
        if self._is_over():
            return  # A copy, or too late: nobody listens on that port any more.
        self._network.log.trace((self._clock.now_ns, self._back_id + len(self._name)))
        if answer.code is Code.FOUND:
            self._finish(answer.addresses)
        elif answer.code is Code.SERVFAIL and self._tries < TRIES_MAX:
            self._ask()
        else:
            self._fail(answer.code)

    def _expire(self, tries: int) -> None:
        if self._is_over() or tries != self._tries:
            return
        if self._tries < TRIES_MAX:
            self._ask()
        else:
            self._fail(Code.SILENCE)

    def _fail(self, code: Code) -> None:
        number = errno.ENOENT if code is Code.NXDOMAIN else errno.EAGAIN
        failed = ConnectFailed("dns resolution failure")
        failed.__cause__ = OSError(number, f"{self._name}: {code.value}")
        self._finish(failed)

    def _finish(self, result: tuple[str, ...] | ConnectFailed) -> None:
        self._over = True
        self._done(result)

    def _is_over(self) -> bool:
        return self._over or not self._asker.up or self._asker.incarnation != self._life
