"""Is the key that we were given the one with which the secrets in this store were sealed?"""

from mesh.control.store.sealing import CannotOpen, Sealer
from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Transaction

_WHAT = "check"
_PLACE = ("seal", _WHAT)
_MESSAGE = b"the secrets of this store are sealed with this key"


def check_seal(transaction: Transaction, sealer: Sealer) -> bool:
    """Open the sealed check value; return whether there is one. Raises: ConfigError when none of our keys opens it."""
    sealed = _read(transaction)
    if sealed is None:
        return False
    try:
        sealer.open(sealed, place=_PLACE)
    except CannotOpen:
        message = "the sealing key is not the one with which the secrets in the store were sealed"
        hint = "bring the key file back that the store was made with"
        raise ConfigError([Violation(message=message, hint=hint)]) from None
    return True


def seal_again(transaction: Transaction, sealer: Sealer) -> int:
    """Check the key, and seal with the first key what is sealed with an older one; return how many secrets that were.

    A secret that no key opens is left as it is. Raises: ConfigError when none of our keys is the store's.
    """
    check_seal(transaction, sealer)
    sealed = _read(transaction)
    if sealed is not None and sealer.is_current(sealed):
        return 0
    _write(transaction, sealer.seal(_MESSAGE, place=_PLACE))
    if sealed is None:
        return 0
    rows = transaction.execute("SELECT kind, mesh, name, sealed FROM resources WHERE sealed IS NOT NULL")
    return sum(_reseal(transaction, sealer, (kind, mesh, name), bytes(old)) for kind, mesh, name, old in rows)


def _reseal(transaction: Transaction, sealer: Sealer, key: tuple[str, str, str], sealed: bytes) -> bool:
    try:
        fresh = sealer.seal(sealer.open(sealed, place=key), place=key)
    except CannotOpen:
        return False
    kind, mesh, name = key
    transaction.execute(
        "UPDATE resources SET sealed = :sealed WHERE kind = :kind AND mesh = :mesh AND name = :name",
        {"sealed": fresh, "kind": kind, "mesh": mesh, "name": name},
    )
    return True


def _read(transaction: Transaction) -> bytes | None:
    rows = transaction.execute("SELECT sealed FROM seal WHERE what = :what", {"what": _WHAT})
    return bytes(rows[0][0]) if rows else None


def _write(transaction: Transaction, sealed: bytes) -> None:
    transaction.execute(
        "INSERT INTO seal (what, sealed) VALUES (:what, :sealed)"
        " ON CONFLICT (what) DO UPDATE SET sealed = excluded.sealed",
        {"what": _WHAT, "sealed": sealed},
    )
