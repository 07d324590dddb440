"""Callers: which of a policy's entries mean the peer at the other end of a connection. Pure.

Source: Kuma `rules[].matches[]`; SPIFFE IDs are compared as in `mesh.policy.authorization`.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from mesh.policy.authorization import PeerMatch, covers_peer

T = TypeVar("T")

REMEMBERED_MAX = 1024  # callers; beyond it all are forgotten


class CallerTable(Generic[T]):
    """Entries with their matches, in order. What a caller gets is worked out once and remembered.

    So the cost of a request does not grow with the number of entries. Callers are told apart by the text of their SPIFFE ID,
    "" without one, and the server name that they asked for. An entry that names no SPIFFE ID means callers
    without an identity too, any other does not.
    """

    __slots__ = ("_entries", "_remembered")

    def __init__(self, entries: Sequence[tuple[PeerMatch, T]]) -> None:
        self._entries = tuple(entries)
        self._remembered: dict[tuple[str, str], tuple[T, ...]] = {}

    def of(self, spiffe_id: str, sni: str) -> tuple[T, ...]:
        """Return all entries that mean this caller, in their order."""
        found = self._remembered.get((spiffe_id, sni))
        if found is None:
            found = tuple(value for match, value in self._entries if covers_peer(match, spiffe_id, sni))
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[spiffe_id, sni] = found
        return found
