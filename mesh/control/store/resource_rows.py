"""The rows of resources and of who wrote them: the SQL of each operation, inside one transaction.

Each write takes the next number of one counter. On PostgreSQL the transactions that write stand in one line
(`mesh.runtime.real.postgres`), so that no lower number appears after a higher one.
"""

from collections.abc import Sequence

import attrs

from mesh.control.store.counters import bump, read_counter, remember_forgotten
from mesh.control.store.documents import Document, Row
from mesh.control.store.values import AuditEntry, Conflict, Forgotten, Key
from mesh.runtime.environment import Transaction

AUDIT_ROWS_MAX = 1_000_000
DELETIONS_KEPT = 10_000  # For how many writes `since` knows what was deleted.

_COLUMNS = "kind, mesh, name, version, created, modified, revision, document, sealed"
_AT_KEY = "kind = :kind AND mesh = :mesh AND name = :name"
_PUT = (
    f"INSERT INTO resources ({_COLUMNS})"
    " VALUES (:kind, :mesh, :name, :version, :created, :modified, :revision, :document, :sealed)"
    " ON CONFLICT (kind, mesh, name) DO UPDATE SET version = excluded.version, modified = excluded.modified,"
    " revision = excluded.revision, document = excluded.document, sealed = excluded.sealed"
)
_NOTE_DELETION = (
    "INSERT INTO deleted_resources (kind, mesh, name, version, revision)"
    " VALUES (:kind, :mesh, :name, :version, :revision)"
)
_NOTE_AUDIT = (
    "INSERT INTO audit (sequence, at, who, action, kind, mesh, name, version, revision, detail)"
    " VALUES (:sequence, :at, :who, :action, :kind, :mesh, :name, :version, :revision, :detail)"
)


@attrs.frozen(kw_only=True)
class RowChange:
    """A change on its way to the database; without `document` a deletion."""

    key: Key
    expected_version: int | None
    document: Document | None


@attrs.frozen(kw_only=True)
class Author:
    """Who changes something, when (seconds since the epoch) and why."""

    by: str
    at: float
    reason: str


@attrs.frozen(kw_only=True)
class Deletion:
    """What is known of a resource that is gone."""

    key: Key
    revision: int


def read_resources(transaction: Transaction) -> tuple[list[Row], int]:
    """Return all rows, by kind, mesh and name, and the revision."""
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM resources ORDER BY kind, mesh, name")
    return [_row(*row) for row in rows], read_counter(transaction, "resources")


def read_changes(transaction: Transaction, since: int) -> tuple[list[Row], list[Deletion], int]:
    """Return what was written and deleted after a revision, and the revision now. Raises: Forgotten."""
    revision = read_counter(transaction, "resources")
    # A revision from the future means that an old copy of the database was brought back.
    if since > revision or since < read_counter(transaction, "resources_forgotten"):
        raise Forgotten(since)
    values = {"since": since}
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM resources WHERE revision > :since ORDER BY revision", values)
    deleted = transaction.execute(
        "SELECT kind, mesh, name, revision FROM deleted_resources WHERE revision > :since ORDER BY revision", values
    )
    deletions = [Deletion(key=(kind, mesh, name), revision=at) for kind, mesh, name, at in deleted]
    return [_row(*row) for row in rows], deletions, revision


def write_resources(
    transaction: Transaction, changes: Sequence[RowChange], author: Author
) -> tuple[list[Row | None], int]:
    """Carry out all changes; return the new rows, None for deletions, and the revision. Raises: Conflict."""
    if not changes:
        return [], read_counter(transaction, "resources")
    revision = bump(transaction, "resources")
    sequence = bump(transaction, "audit", len(changes)) - len(changes)
    rows: list[Row | None] = []
    for change in changes:
        before = _find(transaction, change.key)
        _expect(change, before)
        sequence += 1
        row = _put(transaction, change, before, author.at, revision)
        rows.append(row)
        if row is not None:
            action = "created" if before is None else "updated"
            _note(transaction, _Entry.of_row(sequence, action, row), author)
        elif before is not None:
            _delete(transaction, before, revision)
            gone = attrs.evolve(before, revision=revision)
            _note(transaction, _Entry.of_row(sequence, "deleted", gone), author)
    _prune(transaction, revision, sequence)
    return rows, revision


def note_action(transaction: Transaction, action: str, key: Key, author: Author) -> int:
    """Add an entry about what changed no resource; return its sequence number."""
    sequence = bump(transaction, "audit")
    revision = read_counter(transaction, "resources")
    _note(transaction, _Entry(sequence=sequence, action=action, key=key, version=0, revision=revision), author)
    _prune_audit(transaction, sequence)
    return sequence


def read_audit(transaction: Transaction, *, limit: int, before: int | None) -> tuple[AuditEntry, ...]:
    """Return entries, the newest first, of those before a sequence number."""
    where = "" if before is None else "WHERE sequence < :before"
    rows = transaction.execute(
        "SELECT sequence, at, who, action, kind, mesh, name, version, revision, detail"
        f" FROM audit {where} ORDER BY sequence DESC LIMIT :limit",
        {"limit": limit} if before is None else {"limit": limit, "before": before},
    )
    return tuple(
        AuditEntry(
            sequence=sequence,
            at=at,
            by=who,
            action=action,
            key=(kind, mesh, name),
            version=version,
            revision=revision,
            detail=detail,
        )
        for sequence, at, who, action, kind, mesh, name, version, revision, detail in rows
    )


def _expect(change: RowChange, before: Row | None) -> None:
    actual = before.version if before else 0
    if change.expected_version is not None and change.expected_version != actual:
        raise Conflict(change.key, expected=change.expected_version, actual=actual)


def _put(transaction: Transaction, change: RowChange, before: Row | None, now: float, revision: int) -> Row | None:
    if change.document is None:
        return None
    row = Row(
        key=change.key,
        version=(before.version if before else _forget_deletion(transaction, change.key)) + 1,
        created=before.created if before else now,
        modified=now,
        revision=revision,
        document=change.document,
    )
    values = _values(row.key) | {"version": row.version, "created": row.created, "modified": row.modified}
    values |= {"revision": revision, "document": row.document.text, "sealed": row.document.sealed}
    transaction.execute(_PUT, values)
    return row


def _forget_deletion(transaction: Transaction, key: Key) -> int:
    """Return the last version of a resource that was deleted, 0 if there was none.

    Versions go on from there: a writer who still believes in the deleted one must not meet its number again.
    """
    rows = transaction.execute(f"DELETE FROM deleted_resources WHERE {_AT_KEY} RETURNING version", _values(key))
    return int(rows[0][0]) if rows else 0


def _delete(transaction: Transaction, row: Row, revision: int) -> None:
    transaction.execute(f"DELETE FROM resources WHERE {_AT_KEY}", _values(row.key))
    transaction.execute(_NOTE_DELETION, _values(row.key) | {"version": row.version, "revision": revision})


@attrs.frozen(kw_only=True)
class _Entry:
    sequence: int
    action: str
    key: Key
    version: int
    revision: int

    @classmethod
    def of_row(cls, sequence: int, action: str, row: Row) -> "_Entry":
        return cls(sequence=sequence, action=action, key=row.key, version=row.version, revision=row.revision)


def _note(transaction: Transaction, entry: _Entry, author: Author) -> None:
    values = _values(entry.key) | {"sequence": entry.sequence, "action": entry.action}
    values |= {"version": entry.version, "revision": entry.revision}
    transaction.execute(_NOTE_AUDIT, values | {"at": author.at, "who": author.by, "detail": author.reason})


def _prune_audit(transaction: Transaction, sequence: int) -> None:
    transaction.execute("DELETE FROM audit WHERE sequence <= :last", {"last": sequence - AUDIT_ROWS_MAX})


def _prune(transaction: Transaction, revision: int, sequence: int) -> None:
    _prune_audit(transaction, sequence)
    forgotten = transaction.execute(
        "DELETE FROM deleted_resources WHERE revision <= :last RETURNING revision", {"last": revision - DELETIONS_KEPT}
    )
    remember_forgotten(transaction, "resources_forgotten", forgotten)


def _find(transaction: Transaction, key: Key) -> Row | None:
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM resources WHERE {_AT_KEY}", _values(key))
    return _row(*rows[0]) if rows else None


def _values(key: Key) -> dict[str, str | int | float | bytes | None]:
    kind, mesh, name = key
    return {"kind": kind, "mesh": mesh, "name": name}


def _row(
    kind: str,
    mesh: str,
    name: str,
    version: int,
    created: float,
    modified: float,
    revision: int,
    document: str,
    sealed: bytes | None,
) -> Row:
    return Row(
        key=(kind, mesh, name),
        version=version,
        created=created,
        modified=modified,
        revision=revision,
        document=Document(text=document, sealed=sealed),
    )
