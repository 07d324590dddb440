"""What an actor is: an object with `run`, made from one Environment, that owns its state and touches nothing else.

The rest is convention (STYLE: actor files): one class a file, one bounded `Mailbox` of frozen messages, children in a
nursery that the actor opened, and a `Supervisor` above that makes a new one when it crashes. State that must outlive a
crash lies on `env.disk` or with another actor: a restarted actor starts from nothing.
"""

from collections.abc import Callable
from typing import Protocol

from mesh.runtime.environment import Environment


class Actor(Protocol):
    """Anything with a life."""

    async def run(self) -> None:
        """Live until cancelled, or until the work is done. An exception is a crash."""
        ...


ActorClass = Callable[[Environment], Actor]  # how users' own actors are made, named as `package.module:Class`
