"""LeaseQueue: which lease runs out first, where most leases are extended long before they end. Pure: instants in seconds.

A heap of what was once the end of each lease. An extension only notes the new end; the entry in the heap is put right
when it comes to the top, so a lease costs a step in the heap once in its length and not once a heartbeat.
"""

import heapq
import math

import attrs

from mesh.model.names import ProxyId


@attrs.define(eq=False)
class LeaseQueue:
    """The ends of leases by proxy. Leases without an end are not in it."""

    _until: dict[ProxyId, float] = attrs.field(factory=dict)
    _queued: dict[ProxyId, float] = attrs.field(factory=dict)  # the entry that counts; never after the lease's end
    _heap: list[tuple[float, ProxyId]] = attrs.field(factory=list)

    def put(self, proxy: ProxyId, until: float) -> None:
        """Let a proxy's lease end at an instant, whenever it would have ended so far."""
        if until == math.inf:
            self.remove(proxy)
            return
        self._until[proxy] = until
        if until < self._queued.get(proxy, math.inf):
            self._push(proxy, until)

    def remove(self, proxy: ProxyId) -> None:
        """Forget a proxy."""
        self._until.pop(proxy, None)
        self._queued.pop(proxy, None)

    def first(self) -> float:
        """Return when the first lease ends, infinity when there is none."""
        while self._heap:
            instant, proxy = self._heap[0]
            if self._queued.get(proxy) == instant:
                until = self._until[proxy]
                if until == instant:
                    return instant
                self._push(proxy, until)
            heapq.heappop(self._heap)
        return math.inf

    def take_until(self, now: float) -> list[ProxyId]:
        """Take out those whose leases have ended by `now`, in no order."""
        taken = []
        while self.first() <= now:
            _, proxy = self._heap[0]
            self.remove(proxy)
            taken.append(proxy)
        return taken

    def _push(self, proxy: ProxyId, instant: float) -> None:
        self._queued[proxy] = instant
        heapq.heappush(self._heap, (instant, proxy))
