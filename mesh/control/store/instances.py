"""Which control planes share the store, told by counters that each raises while it lives.

How long one has been silent is measured on our own clock, from when we last saw its counter move: clocks of different
machines are never compared.
"""

import attrs
import trio

from mesh.control.store.member_rows import beat
from mesh.control.store.values import Instance
from mesh.runtime.environment import Database

PRUNED_AFTER_S = 60.0


@attrs.frozen
class _Sign:
    beats: int
    seen_at: float  # Trio's clock


@attrs.define(eq=False)
class Instances:
    """What one control plane has seen of all."""

    _last_by_name: dict[str, _Sign] = attrs.field(factory=dict, init=False)

    async def beat(self, database: Database, name: str, address: str) -> tuple[Instance, ...]:
        """Raise our own counter, prune the dead, and return everybody, by name."""
        asked_at = trio.current_time()
        dead = {
            other: sign.beats
            for other, sign in self._last_by_name.items()
            if other != name and asked_at - sign.seen_at > PRUNED_AFTER_S
        }
        rows = await database.transact(lambda transaction: beat(transaction, name, address, beats_of_dead=dead))
        now = trio.current_time()
        self._last_by_name = {found: self._sign(found, beats, now) for found, _, beats in rows}
        return tuple(
            Instance(name=found, address=at, age_s=now - self._last_by_name[found].seen_at) for found, at, _ in rows
        )

    def _sign(self, name: str, beats: int, now: float) -> _Sign:
        last = self._last_by_name.get(name)
        return last if last is not None and last.beats == beats else _Sign(beats, now)
