"""Caches in front of calls: in the instance itself, or in a service that speaks Redis' protocol. For pumps.

Nothing but keys is kept. Warmth is what was kept: a cache that was restarted is cold, and a failed call warms nothing, which
is how an empty cache holds a database down.
"""

from collections.abc import Callable
from typing import Protocol

from mesh.model.randomness import Random
from mesh.runtime.environment import Reactor
from sim.workload.database_client import DatabaseClient
from sim.workload.steps import FAILURES, Inbound, StepFailed, StepPlan

# A cache that does not answer is as good as an empty one.
ASK_TIMEOUT_S = 1.0


class Cache(Protocol):
    """Where answers may be."""

    async def holds(self, key: int) -> bool: ...
    async def keep(self, key: int) -> None: ...


class OwnCache:
    """In the memory of the instance. `full`: it holds everything, as after a long time of use."""

    def __init__(self, *, full: bool) -> None:
        self._full = full
        self._kept: dict[int, None] = {}

    async def holds(self, key: int) -> bool:
        return self._full or key in self._kept

    async def keep(self, key: int) -> None:
        self._kept[key] = None


class SharedCache:
    """In another service; `name` keeps the keys of different calls apart."""

    def __init__(self, reactor: Reactor, client: DatabaseClient, name: str) -> None:
        self._reactor = reactor
        self._client = client
        self._name = name

    async def holds(self, key: int) -> bool:
        return await self._ask("GET", key)

    async def keep(self, key: int) -> None:
        await self._ask("SET", key)

    async def _ask(self, verb: str, key: int) -> bool:
        pump = self._reactor.current
        assert pump is not None, "only pumps ask caches"
        previous = pump.deadline
        pump.set_deadline(min(self._reactor.now() + ASK_TIMEOUT_S, previous))
        try:
            return await self._client.ask_key(verb, f"{self._name}:{key}")
        except FAILURES:
            return False
        finally:
            pump.set_deadline(previous)


class CachedPlan:
    """A step whose answer may be in a cache. `note(hit)` hears how it went."""

    __slots__ = ("_cache", "_fetch", "_keys", "_note", "_optional", "_random", "_share")

    def __init__(
        self,
        cache: Cache,
        fetch: StepPlan,
        random: Random,
        *,
        keys: int,
        share: float,
        optional: bool,
        note: Callable[[bool], None],
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._random = random
        self._keys = keys
        self._share = share
        self._optional = optional
        self._note = note

    async def run(self, inbound: Inbound) -> None:
        draw = self._random.random
        cacheable = draw() < self._share
        key = int(draw() * self._keys)
        hit = cacheable and await self._cache.holds(key)
        self._note(hit)
        if hit:
            return
        try:
            await self._fetch.run(inbound)
        except StepFailed:
            if not self._optional:
                raise
            return
        if cacheable:
            await self._cache.keep(key)
