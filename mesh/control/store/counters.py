"""Numbers that only grow, one row each."""

from typing import Any

from mesh.runtime.environment import Transaction


def bump(transaction: Transaction, name: str, by: int = 1) -> int:
    """Raise a counter and return its new value."""
    rows = transaction.execute(
        "UPDATE counters SET value = value + :by WHERE name = :name RETURNING value", {"by": by, "name": name}
    )
    return int(rows[0][0])


def read_counter(transaction: Transaction, name: str) -> int:
    """Return a counter's value."""
    return int(transaction.execute("SELECT value FROM counters WHERE name = :name", {"name": name})[0][0])


def remember_forgotten(transaction: Transaction, name: str, revisions: list[tuple[Any, ...]]) -> None:
    """Note up to which revision deletions are no longer known, given those that were dropped just now."""
    if revisions:
        newest = max(int(revision) for (revision,) in revisions)
        transaction.execute("UPDATE counters SET value = :newest WHERE name = :name", {"newest": newest, "name": name})
