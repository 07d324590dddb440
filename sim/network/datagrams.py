"""Datagrams between simulated hosts: judged by the same rules as segments, but really lost, doubled or overtaken.

Nobody sends one again and nothing keeps their order: that is the care of those who use them (here DNS).
"""

from collections.abc import Callable
from random import Random

import attrs

from sim.clock import SimClock
from sim.network.links import Path
from sim.network.rules import PASS, Action, Kind, Segment, judge


@attrs.frozen(kw_only=True)
class Datagram:
    """One datagram on a path. `deliver` is called at each arrival: with copies, more than once, and perhaps never."""

    path: Path
    size: int
    server_port: int
    deliver: Callable[[object], None]

    def send(self, clock: SimClock, random: Random) -> None:
        """Let it go; `random` is for the link's own latency and loss."""
        verdict = judge(self.path.rules, self._segment(clock.now_ns)) if self.path.rules else PASS
        if verdict.by is not None:
            verdict.by.releases.append(lambda: self._travel(clock, random, 0))
        elif verdict.action in (Action.PASS, Action.DELAY):
            self._travel(clock, random, verdict.delay_ns)
            for _ in range(verdict.copies):
                self._travel(clock, random, 0)

    def _travel(self, clock: SimClock, random: Random, delay_ns: int) -> None:
        path = self.path
        if path.loss and path.loses(self.size, random):
            return
        if path.pipe is not None:
            delay_ns += path.pipe.delay_ns(self.size, clock.now_ns)
        clock.push(clock.now_ns + delay_ns + path.sample_ns(random), self.deliver, None)

    def _segment(self, now_ns: int) -> Segment:
        return Segment(
            kind=Kind.DATAGRAM,
            source=self.path.source,
            target=self.path.target,
            size=self.size,
            position=0,
            server_port=self.server_port,
            connection=0,
            opened_ns=now_ns,
            quiet_since_ns=now_ns,
            now_ns=now_ns,
        )
