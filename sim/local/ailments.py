"""What is wrong with an application, on both sides: the runner keeps it, the application's process has it."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from sim.workload.condition import Ailment, Condition, Failing, Greyness, Slowness, Stuck

_KINDS: dict[str, type[Ailment]] = {kind.__name__: kind for kind in (Slowness, Greyness, Failing, Stuck)}
Written = tuple[tuple[str, dict[str, Any]], ...]


class ToldCondition(Condition):
    """The runner's: each change is told to the process. `touched` is what that process has reported."""

    def __init__(self, tell: Callable[[Written], None]) -> None:
        super().__init__()
        self._tell = tell

    def written(self) -> Written:
        """Return all that is wrong."""
        return tuple((type(one).__name__, attrs.asdict(one)) for one in self._ailments)

    def _change(self) -> None:
        super()._change()
        self._tell(self.written())


class ObeyingCondition(Condition):
    """The application's: as it was told."""

    def __init__(self) -> None:
        super().__init__()
        self._lifts: list[Callable[[], None]] = []

    def become(self, written: Sequence[Sequence[Any]]) -> None:
        """Have exactly these ailments."""
        for lift in self._lifts:
            lift()
        self._lifts = [self.add(msgspec.convert(fields, _KINDS[kind])) for kind, fields in written]
