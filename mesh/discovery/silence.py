"""How long a peer may say nothing: one timer a connection, however many messages come. For both ends of a stream."""

import math

import trio

from mesh.model.errors import BrokenConnection


class Silence:
    """Bounds the silence of a peer while somebody listens. Half open connections (the host vanished) end by it."""

    def __init__(self, silence_s_max: float) -> None:
        self._silence_s_max = silence_s_max
        self._since = math.inf

    def begin(self) -> None:
        """From now on we listen."""
        self._since = trio.current_time()

    def end(self) -> None:
        """The peer spoke; until the next `begin` we are busy with what it said."""
        self._since = math.inf

    async def watch(self) -> None:
        """Stay until cancelled. Raises: BrokenConnection when nothing was heard for too long."""
        wait_s = self._silence_s_max
        while wait_s > 0:
            await trio.sleep(wait_s)
            # Whatever began since then has still as long as it is younger than this sleep was.
            wait_s = min(self._since + self._silence_s_max - trio.current_time(), self._silence_s_max)
        raise BrokenConnection(f"nothing heard for {self._silence_s_max:g} s")
