"""Store: what a control plane has acknowledged, in a database; several control planes may share one.

Owns the tables, the sealing of secrets, revisions and the audit log. Does not check resources against one another, keeps
none in memory and tells nobody: that is the catalogue's.
"""

from collections.abc import Callable, Sequence

import attrs
import trio
from structlog.typing import FilteringBoundLogger

from mesh.control.store.documents import NotReadable, Row, decode_row, encode_resource, to_stored
from mesh.control.store.instances import Instances
from mesh.control.store.member_rows import read_member_changes, read_members, write_members
from mesh.control.store.migrations import check_version, migrate
from mesh.control.store.resource_rows import (
    Author,
    RowChange,
    note_action,
    read_audit,
    read_changes,
    read_resources,
    write_resources,
)
from mesh.control.store.seal_check import check_seal, seal_again
from mesh.control.store.sealing import Sealer
from mesh.control.store.values import (
    AuditEntry,
    Change,
    Delete,
    Instance,
    Key,
    MemberChange,
    MemberRow,
    Outcome,
    Put,
    Stored,
    Unreadable,
)
from mesh.model.errors import ConfigError, StoreError, Violation
from mesh.model.names import ProxyId
from mesh.runtime.environment import Database, Transaction

_ROWS_A_TURN = 100  # Read between two checkpoints: other tasks have leases to renew.


@attrs.define(eq=False, kw_only=True)
class Store:
    """One database's tables; made by `open`. All methods raise StoreError when the database fails; nothing happened then."""

    database: Database
    sealer: Sealer
    wall_clock: Callable[[], float]
    log: FilteringBoundLogger
    unreadable: dict[Key, Unreadable] = attrs.field(factory=dict, init=False)  # kept in the database, and skipped
    _instances: Instances = attrs.field(factory=Instances, init=False)

    @classmethod
    async def open(
        cls,
        database: Database,
        *,
        sealer: Sealer,
        wall_clock: Callable[[], float],
        log: FilteringBoundLogger,
        read_only: bool = False,
    ) -> "Store":
        """Bring the tables to our version and check the key; read-only changes nothing.

        Raises: ConfigError (a newer program wrote it, it is not a store, the key is another), StoreError.
        """
        if read_only:
            await _check_read_only(database, sealer)
        else:
            before, after = await database.transact(migrate)
            if before != after:
                log.info("store.migrated", before=before, after=after)
            resealed = await database.transact(lambda transaction: seal_again(transaction, sealer))
            if resealed:
                log.info("store.resealed", secrets=resealed)
        return cls(database=database, sealer=sealer, wall_clock=wall_clock, log=log)

    async def aclose(self) -> None:
        """Close the database."""
        await self.database.aclose()

    async def load(self) -> tuple[tuple[Stored, ...], int]:
        """Return everything, by kind, mesh and name, and the revision."""
        rows, revision = await self.database.transact(read_resources, read_only=True)
        self.unreadable.clear()
        return tuple([stored for _, stored in await self._decode(rows)]), revision

    async def write(self, changes: Sequence[Put | Delete], *, by: str, reason: str = "") -> Outcome:
        """Carry out all changes or none, with an entry in the audit log each; durable on return.

        Raises: Conflict, StoreError; OutcomeUnknown when it may have happened.
        """
        row_changes = [self._row_change(change) for change in changes]
        author = Author(by=by, at=self.wall_clock(), reason=reason)
        rows, revision = await self.database.transact(
            lambda transaction: write_resources(transaction, row_changes, author)
        )
        for change in changes:
            self.unreadable.pop(change.key, None)
        stored = tuple(
            to_stored(change.resource, row) if isinstance(change, Put) and row is not None else None
            for change, row in zip(changes, rows, strict=True)
        )
        return Outcome(revision=revision, stored=stored)

    async def note(self, action: str, key: Key, *, by: str, reason: str = "") -> int:
        """Add an entry to the audit log about what changed no resource; durable on return. `key` says what it is about.

        Returns its sequence number. Raises: StoreError; OutcomeUnknown when it may stand there.
        """
        author = Author(by=by, at=self.wall_clock(), reason=reason)
        return await self.database.transact(lambda transaction: note_action(transaction, action, key, author))

    def _row_change(self, change: Put | Delete) -> RowChange:
        document = encode_resource(change.resource, self.sealer) if isinstance(change, Put) else None
        return RowChange(key=change.key, expected_version=change.expected_version, document=document)

    async def since(self, revision: int) -> tuple[tuple[Change, ...], int]:
        """Return what became of the resources that anybody wrote after `revision`, in order, and the revision now.

        Raises: Forgotten when that is no longer known: `load` again.
        """
        rows, deletions, now = await self.database.transact(
            lambda transaction: read_changes(transaction, revision), read_only=True
        )
        changes = [Change(key=gone.key, stored=None, revision=gone.revision) for gone in deletions]
        changes += [
            Change(key=row.key, stored=stored, revision=row.revision) for row, stored in await self._decode(rows)
        ]
        return tuple(sorted(changes, key=lambda change: (change.revision, change.key))), now

    async def _decode(self, rows: Sequence[Row]) -> list[tuple[Row, Stored]]:
        """Read what can be read; note what cannot."""
        readable = []
        for index, row in enumerate(rows):
            if index % _ROWS_A_TURN == 0:
                await trio.lowlevel.checkpoint()
            try:
                readable.append((row, decode_row(row, self.sealer)))
            except NotReadable as error:
                self._note_unreadable(row.key, str(error))
        return readable

    async def wait_changed(self) -> None:
        """Sleep until another control plane may have written; one task calls it. See `Database.wait_changed`."""
        await self.database.wait_changed()

    async def audit(self, *, limit: int, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the newest entries first, of those before a sequence number."""
        return await self.database.transact(
            lambda transaction: read_audit(transaction, limit=limit, before=before), read_only=True
        )

    async def save_members(
        self, upserts: Sequence[MemberRow], removed: Sequence[ProxyId] = (), *, instance: str
    ) -> tuple[ProxyId, ...]:
        """Write what the control plane `instance` knows of its proxies.

        Returns the proxies that are another control plane's by now: their rows are as that one wrote them.
        """
        return await self.database.transact(
            lambda transaction: write_members(transaction, upserts, removed, writer=instance)
        )

    async def load_members(self) -> tuple[MemberRow, ...]:
        """Return all members, by mesh and name."""
        rows, _ = await self.database.transact(read_members, read_only=True)
        return rows

    async def members_since(self, revision: int) -> tuple[tuple[MemberChange, ...], int]:
        """Return what became of members after `revision` (0: all that are there), in order, and the revision now.

        Members count their own revisions. Raises: Forgotten when that is no longer known: begin with 0 again.
        """
        if revision == 0:
            rows, now = await self.database.transact(read_members, read_only=True)
            return tuple(MemberChange(proxy=row.proxy, row=row, revision=row.revision) for row in rows), now
        return await self.database.transact(
            lambda transaction: read_member_changes(transaction, revision), read_only=True
        )

    async def beat(self, instance: str, address: str) -> tuple[Instance, ...]:
        """Give our own sign of life, and return all control planes, by name; those silent for over 60 s are pruned."""
        return await self._instances.beat(self.database, instance, address)

    def _note_unreadable(self, key: Key, reason: str) -> None:
        kind, mesh, name = key
        self.unreadable[key] = Unreadable(key=key, reason=reason)
        self.log.warning("resource.not_read", kind=kind, mesh=mesh, resource=name, reason=reason)


async def _check_read_only(database: Database, sealer: Sealer) -> None:
    def check(transaction: Transaction) -> None:
        check_version(transaction)
        check_seal(transaction, sealer)

    try:
        await database.transact(check, read_only=True)
    except StoreError as error:
        raise ConfigError([Violation(message=f"the store cannot be read: {error}")]) from error
