"""A bounded mailbox: how messages reach an actor, from Trio tasks and from pumps alike."""

from collections import deque
from typing import Generic, TypeVar

import attrs
import trio

from mesh.model.errors import MeshError

M = TypeVar("M")


class MailboxFull(MeshError):
    """The actor's owner or load: it does not keep up. Drop the message, refuse the work, or wait with `put`."""

    def __init__(self, name: str, capacity: int) -> None:
        super().__init__(f"the mailbox of {name} holds {capacity} messages and is full")
        self.name = name
        self.capacity = capacity


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """How one mailbox fares. `waiting_max` is the most messages that ever waited, `refused` counts MailboxFull."""

    name: str
    capacity: int
    waiting: int
    waiting_max: int
    accepted: int
    refused: int


class Mailbox(Generic[M]):
    """Messages in the order of their arrival, for one actor."""

    def __init__(self, name: str, *, capacity: int) -> None:
        assert capacity > 0
        self.name = name
        self.capacity = capacity
        self._messages: deque[M] = deque()
        self._getters = trio.lowlevel.ParkingLot()
        self._putters = trio.lowlevel.ParkingLot()
        self._waiting_max = 0
        self._accepted = 0
        self._refused = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put_nowait(self, message: M) -> None:
        """Deliver a message, from anywhere in Trio's thread. Raises: MailboxFull."""
        if len(self._messages) >= self.capacity:
            self._refused += 1
            raise MailboxFull(self.name, self.capacity)
        self._deliver(message)

    async def put(self, message: M) -> None:
        """Deliver a message, waiting while the mailbox is full. For Trio tasks."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(self._messages) < self.capacity:
            self._deliver(message)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        while len(self._messages) >= self.capacity:
            await self._putters.park()
        self._deliver(message)

    async def get(self) -> M:
        """Take the oldest message, waiting for one. A message taken is never lost to a cancellation."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._messages:
            message = self._take()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return message
        while not self._messages:
            await self._getters.park()
        return self._take()

    def statistics(self) -> MailboxStatistics:
        """Return a snapshot for metrics and tests."""
        return MailboxStatistics(
            name=self.name,
            capacity=self.capacity,
            waiting=len(self._messages),
            waiting_max=self._waiting_max,
            accepted=self._accepted,
            refused=self._refused,
        )

    def _deliver(self, message: M) -> None:
        self._messages.append(message)
        self._accepted += 1
        self._waiting_max = max(self._waiting_max, len(self._messages))
        self._getters.unpark()

    def _take(self) -> M:
        message = self._messages.popleft()
        self._putters.unpark()
        return message
