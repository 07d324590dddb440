"""The tables, as numbered steps: a store of any earlier version becomes one of ours, in one transaction.

One SQL for SQLite and PostgreSQL: types are PostgreSQL's, which SQLite understands. A step that was released is
never changed; a new one is added at the end.
"""

import attrs

from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Transaction


@attrs.frozen(kw_only=True)
class Migration:
    """The step to version `number`."""

    number: int
    statements: tuple[str, ...]


_COUNTERS = (
    # resources, members: the revision of the last change; audit: the last entry's sequence;
    # *_forgotten: the revision up to which deletions are no longer known.
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES"
    " ('resources', 0), ('resources_forgotten', 0), ('members', 0), ('members_forgotten', 0), ('audit', 0)",
)
_RESOURCES = (
    # sealed: what of the document must not be read in the file; see mesh.control.store.sealing.
    "CREATE TABLE resources (kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,"
    " version BIGINT NOT NULL, created DOUBLE PRECISION NOT NULL, modified DOUBLE PRECISION NOT NULL,"
    " revision BIGINT NOT NULL, document TEXT NOT NULL, sealed BYTEA, PRIMARY KEY (kind, mesh, name))",
    "CREATE INDEX resources_by_revision ON resources (revision)",
    "CREATE TABLE deleted_resources (kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,"
    " version BIGINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (kind, mesh, name))",
    "CREATE INDEX deleted_resources_by_revision ON deleted_resources (revision)",
)
_AUDIT = (
    "CREATE TABLE audit (sequence BIGINT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL,"
    " action TEXT NOT NULL, kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,"
    " version BIGINT NOT NULL, revision BIGINT NOT NULL, detail TEXT NOT NULL)",
)
_MEMBERS = (
    "CREATE TABLE members (mesh TEXT NOT NULL, name TEXT NOT NULL, instance TEXT NOT NULL, session TEXT NOT NULL,"
    " dataplane TEXT NOT NULL, inbounds TEXT NOT NULL, presence TEXT NOT NULL, insight TEXT NOT NULL,"
    " revision BIGINT NOT NULL, PRIMARY KEY (mesh, name))",
    "CREATE INDEX members_by_revision ON members (revision)",
    "CREATE TABLE removed_members (mesh TEXT NOT NULL, name TEXT NOT NULL, revision BIGINT NOT NULL,"
    " PRIMARY KEY (mesh, name))",
    "CREATE INDEX removed_members_by_revision ON removed_members (revision)",
    "CREATE TABLE instances (name TEXT PRIMARY KEY, address TEXT NOT NULL, beats BIGINT NOT NULL)",
)
_SEAL = ("CREATE TABLE seal (what TEXT PRIMARY KEY, sealed BYTEA NOT NULL)",)
_DEPARTURES = ("ALTER TABLE members ADD COLUMN departure TEXT NOT NULL DEFAULT 'staying'",)

MIGRATIONS: tuple[Migration, ...] = (
    Migration(number=1, statements=(*_COUNTERS, *_RESOURCES, *_AUDIT, *_MEMBERS, *_SEAL)),
    Migration(number=2, statements=_DEPARTURES),
)


def migrate(transaction: Transaction, migrations: tuple[Migration, ...] = MIGRATIONS) -> tuple[int, int]:
    """Bring the tables to our version; return the version before and after.

    Raises: ConfigError when a newer program has written the store.
    """
    transaction.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
    before = _version(transaction)
    _refuse_newer(before, migrations)
    after = migrations[-1].number
    if before == after:
        return before, after
    for migration in migrations:
        if migration.number > before:
            for statement in migration.statements:
                transaction.execute(statement)
    transaction.execute("DELETE FROM schema_version")
    transaction.execute("INSERT INTO schema_version (version) VALUES (:version)", {"version": after})
    return before, after


def check_version(transaction: Transaction) -> None:
    """For a store that may only be read. Raises: ConfigError when its tables are of another version than ours."""
    before = _version(transaction)
    _refuse_newer(before, MIGRATIONS)
    if before < MIGRATIONS[-1].number:
        message = f"the store has schema version {before}, this program reads {MIGRATIONS[-1].number}"
        raise ConfigError([Violation(message=message, hint="start its control plane once with this program")])


def _version(transaction: Transaction) -> int:
    rows = transaction.execute("SELECT version FROM schema_version")
    return int(rows[0][0]) if rows else 0


def _refuse_newer(version: int, migrations: tuple[Migration, ...]) -> None:
    newest = migrations[-1].number
    if version > newest:
        message = f"the store has schema version {version}, this program knows versions up to {newest}"
        raise ConfigError([Violation(message=message, hint="a newer program has written it: run that one")])
