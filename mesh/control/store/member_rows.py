"""The rows of proxies, and of the control planes that serve them: the SQL of each operation, inside one transaction."""

from collections.abc import Mapping, Sequence

from mesh.control.store.counters import bump, read_counter, remember_forgotten
from mesh.control.store.documents import decode_json, encode_json
from mesh.control.store.values import Forgotten, MemberChange, MemberRow
from mesh.model.names import ProxyId
from mesh.runtime.environment import Transaction

REMOVALS_KEPT = 10_000  # For how many writes `members_since` knows who was removed.

_COLUMNS = "mesh, name, instance, session, dataplane, inbounds, departure, presence, insight, revision"
# Another control plane's proxy is its own, unless it came over to us.
_PUT = (
    f"INSERT INTO members ({_COLUMNS})"
    " VALUES (:mesh, :name, :instance, :session, :dataplane, :inbounds, :departure, :presence, :insight, :revision)"
    " ON CONFLICT (mesh, name) DO UPDATE SET instance = excluded.instance, session = excluded.session,"
    " dataplane = excluded.dataplane, inbounds = excluded.inbounds, departure = excluded.departure,"
    " presence = excluded.presence, insight = excluded.insight, revision = excluded.revision"
    " WHERE members.instance = :writer OR :takes_over = 1 RETURNING mesh"
)
_REMOVE = "DELETE FROM members WHERE mesh = :mesh AND name = :name AND instance = :writer RETURNING mesh"
_NOTE_REMOVAL = "INSERT INTO removed_members (mesh, name, revision) VALUES (:mesh, :name, :revision)"
_FORGET_REMOVAL = "DELETE FROM removed_members WHERE mesh = :mesh AND name = :name"
_BEAT = (
    "INSERT INTO instances (name, address, beats) VALUES (:name, :address, 1)"
    " ON CONFLICT (name) DO UPDATE SET address = excluded.address, beats = instances.beats + 1"
)


def write_members(
    transaction: Transaction, upserts: Sequence[MemberRow], removed: Sequence[ProxyId], *, writer: str
) -> tuple[ProxyId, ...]:
    """Write and remove rows for one control plane; return the proxies that are another's by now: they were let be."""
    if not upserts and not removed:
        return ()
    revision = bump(transaction, "members")
    others: list[ProxyId] = []
    for row in upserts:
        if transaction.execute(_PUT, _values(row, writer=writer, revision=revision)):
            transaction.execute(_FORGET_REMOVAL, _name(row.proxy))
        else:
            others.append(row.proxy)
    for proxy in removed:
        if transaction.execute(_REMOVE, _name(proxy) | {"writer": writer}):
            transaction.execute(_NOTE_REMOVAL, _name(proxy) | {"revision": revision})
    _prune(transaction, revision)
    return tuple(others)


def read_members(transaction: Transaction) -> tuple[tuple[MemberRow, ...], int]:
    """Return all rows, by mesh and name, and the revision."""
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM members ORDER BY mesh, name")
    return tuple(_row(*row) for row in rows), read_counter(transaction, "members")


def read_member_changes(transaction: Transaction, since: int) -> tuple[tuple[MemberChange, ...], int]:
    """Return what became of members after a revision, in order, and the revision now. Raises: Forgotten."""
    revision = read_counter(transaction, "members")
    if since > revision or since < read_counter(transaction, "members_forgotten"):
        raise Forgotten(since)
    values = {"since": since}
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM members WHERE revision > :since", values)
    removed = transaction.execute("SELECT mesh, name, revision FROM removed_members WHERE revision > :since", values)
    changes = [MemberChange(proxy=row.proxy, row=row, revision=row.revision) for row in (_row(*row) for row in rows)]
    changes += [MemberChange(proxy=ProxyId(mesh, name), row=None, revision=at) for mesh, name, at in removed]
    return tuple(sorted(changes, key=lambda change: (change.revision, change.proxy))), revision


def beat(
    transaction: Transaction, name: str, address: str, *, beats_of_dead: Mapping[str, int]
) -> list[tuple[str, str, int]]:
    """Count one life sign of a control plane, prune those that are at their last known one still; return who is left.

    Rows are (name, address, life signs), by name.
    """
    transaction.execute(_BEAT, {"name": name, "address": address})
    for dead, beats in beats_of_dead.items():
        transaction.execute(
            "DELETE FROM instances WHERE name = :name AND beats = :beats", {"name": dead, "beats": beats}
        )
    rows = transaction.execute("SELECT name, address, beats FROM instances ORDER BY name")
    return [(str(found), str(at), int(beats)) for found, at, beats in rows]


def _prune(transaction: Transaction, revision: int) -> None:
    forgotten = transaction.execute(
        "DELETE FROM removed_members WHERE revision <= :last RETURNING revision", {"last": revision - REMOVALS_KEPT}
    )
    remember_forgotten(transaction, "members_forgotten", forgotten)


def _name(proxy: ProxyId) -> dict[str, str | int]:
    return {"mesh": proxy.mesh, "name": proxy.name}


def _values(row: MemberRow, *, writer: str, revision: int) -> dict[str, str | int]:
    return _name(row.proxy) | {
        "instance": row.instance,
        "session": row.session,
        "dataplane": encode_json(row.dataplane),
        "inbounds": encode_json(row.inbounds),
        "departure": row.departure,
        "presence": row.presence,
        "insight": encode_json(row.insight),
        "revision": revision,
        "writer": writer,
        "takes_over": int(row.revision == 0),
    }


def _row(
    mesh: str,
    name: str,
    instance: str,
    session: str,
    dataplane: str,
    inbounds: str,
    departure: str,
    presence: str,
    insight: str,
    revision: int,
) -> MemberRow:
    return MemberRow(
        proxy=ProxyId(mesh, name),
        instance=instance,
        session=session,
        dataplane=decode_json(dataplane),
        inbounds=decode_json(inbounds),
        departure=departure,
        presence=presence,
        insight=decode_json(insight),
        revision=revision,
    )
