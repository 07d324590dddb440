"""WakeUp: tell one waiting task that something changed; what changed it reads for itself, so nothing queues up."""

import trio


class WakeUp:
    """Set from anywhere in Trio's thread, pumps included; any number of sets before a wait count once."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Return once it was set since the last return."""
        await self._event.wait()
        self._event = trio.Event()
