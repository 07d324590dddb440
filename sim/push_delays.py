"""How long pushes of configuration wait before they go out: as the scenario says for all, and what faults add for some."""

import attrs
import trio

from mesh.model.names import ProxyId
from mesh.model.randomness import Random
from sim.scenario.distributions import Constant, Distribution


@attrs.define(eq=False, kw_only=True)
class PushDelay:
    """What one fault adds. `proxies` None: for all; `held` counts the pushes that it held back."""

    delay: Distribution
    random: Random
    proxies: frozenset[str] | None = None
    _spared: frozenset[str] = attrs.field(default=frozenset(), init=False)
    held: int = 0
    _over: trio.Event = attrs.field(factory=trio.Event, init=False)

    def concerns(self, proxy: str) -> bool:
        return (self.proxies is None or proxy in self.proxies) and proxy not in self._spared

    def end(self) -> None:
        """Let go what is held."""
        self._over.set()

    def spare(self, proxies: frozenset[str]) -> None:
        """Leave these alone from now on, and let go what is held; what is held of others comes late no more either."""
        self._spared |= proxies
        self._over.set()
        self._over = trio.Event()

    async def hold(self) -> None:
        self.held += 1
        with trio.move_on_after(self.delay.draw(self.random)):
            await self._over.wait()


class PushDelays:
    """A `HoldPush` of all control planes. Without a usual delay and without faults it takes no time and draws nothing."""

    def __init__(self, usual: Distribution) -> None:
        self._usual = None if usual == Constant(0.0) else usual
        self._added: list[PushDelay] = []

    async def __call__(self, proxy: ProxyId, random: Random) -> None:
        if self._usual is not None:
            await trio.sleep(self._usual.draw(random))
        for delay in tuple(self._added):
            if delay.concerns(proxy.name):
                await delay.hold()

    def add(self, delay: PushDelay) -> None:
        self._added.append(delay)

    def remove(self, delay: PushDelay) -> None:
        """Take back a delay, and let go what it holds."""
        self._added.remove(delay)
        delay.end()
