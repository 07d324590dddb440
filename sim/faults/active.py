"""What was begun and can be ended. A verb's `begin` returns an `Active`; the timeline ends it, or narrows it to heal a core.

`bit` says whether a fault touched anything: one that did not leaves its checks without meaning, and is reported.
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from sim.network.rules import InstalledRule


class Active(Protocol):
    """Something that was begun. `end` is called once, when its time is over; `bit` may be asked at any time after."""

    def end(self) -> None: ...
    def bit(self) -> bool: ...

    def spare(self, core: frozenset[str]) -> bool:
        """Leave the named hosts, and the ways between them, alone from now on.

        False when nothing is left of it then, or when it cannot be narrowed: the timeline ends the whole.
        """
        ...


class Whole:
    """A base for what is ended as a whole."""

    def spare(self, core: frozenset[str]) -> bool:
        return False


@attrs.frozen
class Done(Whole):
    """Nothing is left to end."""

    touched: bool = True

    def end(self) -> None:
        """Stay as it is."""

    def bit(self) -> bool:
        return self.touched


@attrs.frozen
class RuleActive:
    """A rule on the network; lifted at the end."""

    installed: InstalledRule

    def end(self) -> None:
        self.installed.remove()

    def bit(self) -> bool:
        return self.installed.hits > 0

    def spare(self, core: frozenset[str]) -> bool:
        self.installed.spare(core)
        return True


@attrs.define
class Undone(Whole):
    """Ended by a callback; `count` counts what could be touched, `before` of it when it began."""

    undo: Callable[[], None]
    count: Callable[[], int]
    before: int
    after: int | None = None

    def end(self) -> None:
        self.after = self.count()
        self.undo()

    def bit(self) -> bool:
        return (self.count() if self.after is None else self.after) > self.before


@attrs.define
class EachHost:
    """Something done to hosts one by one; ended for each by a callback. `bit` is asked of `touched`."""

    undo_by_host: dict[str, Callable[[], None]]
    touched: Callable[[], bool]

    def end(self) -> None:
        for undo in self.undo_by_host.values():
            undo()
        self.undo_by_host = {}

    def bit(self) -> bool:
        return self.touched()

    def spare(self, core: frozenset[str]) -> bool:
        for name in [name for name in self.undo_by_host if name in core]:
            self.undo_by_host.pop(name)()
        return bool(self.undo_by_host)
