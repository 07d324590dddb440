"""CutOff: what a control plane does that cannot reach the store, and that the others therefore take for dead.

It goes on from memory; but what it tells its sidecars is the world of yesterday, and others are told that they may be gone.
So it ends their streams, one by one over a while: who finds another control plane is better off there, and who does not
comes back and is served. Those who stay may find another one later, so it is tried again, ever so slowly.
When the store itself is away, sidecars change places for nothing; it costs them a connection, and nobody is forgotten.
Owns: no state but where it stands with that. Emits: the end of streams.
"""

from collections.abc import Mapping

import attrs
import trio

from mesh.control.members import Members
from mesh.control.proxy_stream import ProxyStream
from mesh.control.registry import Registry
from mesh.control.shared_members import BEAT_S, DEAD_S, SharedMembers
from mesh.model.names import ProxyId
from mesh.runtime.environment import Environment

# The first time all are gone before the others have awaited them in vain: 7 s + 10 s, of 7 s + 20 s.
FIRST_SPREAD_S = 10.0
SPREAD_S = 60.0


@attrs.define(eq=False, kw_only=True)
class CutOff:
    """See the module's text. `streams` are those of this moment, at every moment."""

    env: Environment
    registry: Registry
    shared: SharedMembers
    members: Members
    streams: Mapping[ProxyId, ProxyStream]

    async def run(self) -> None:
        """Watch, and act when it comes to that, until cancelled."""
        while True:
            await trio.sleep_until(max(self.shared.reached_at + DEAD_S, trio.current_time() + BEAT_S))
            if self.shared.cut_off:
                await self._while_cut_off()

    async def _while_cut_off(self) -> None:
        self.registry.lose_others()
        self.env.log.warning("instance.cut_off", proxies=len(self.streams))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_all_away)
            while self.shared.cut_off:
                await trio.sleep(BEAT_S)
            nursery.cancel_scope.cancel()
        self.registry.find_others(trio.current_time())
        self.env.log.info("instance.reached_again")

    async def _send_all_away(self) -> None:
        spread_s = FIRST_SPREAD_S
        while True:
            end = trio.current_time() + spread_s
            await self._send_away(spread_s)
            await trio.sleep_until(end)
            spread_s = SPREAD_S

    async def _send_away(self, spread_s: float) -> None:
        """End the streams that there are, each at a moment of its own: others shall not get all of them at once."""
        random = self.env.randomness.stream("control-plane", "cut-off")
        began = trio.current_time()
        due = sorted((began + random.uniform(0.0, spread_s), stream.session) for stream in self.streams.values())
        proxy_by_session = {stream.session: proxy for proxy, stream in self.streams.items()}
        for moment, session in due:
            await trio.sleep_until(moment)
            stream = self.streams.get(proxy_by_session[session])
            if stream is not None and stream.session == session:
                self.members.send_away(stream)
