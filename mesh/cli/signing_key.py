"""Keys with which tokens are signed here: from a file, or from the store in a control plane's data folder.

The store is only read, and may be in use by its control plane meanwhile. Blocks: for commands, which do one thing.
"""

import contextlib
from pathlib import Path

from mesh.cli.files import check_data_folder
from mesh.control.store.documents import NotReadable, decode_row
from mesh.control.store.migrations import check_version
from mesh.control.store.resource_rows import read_resources
from mesh.control.store.seal_check import check_seal
from mesh.control.store.sealing import Sealer, decode_keys
from mesh.identity.token_authority import SecretKey, TokenAuthority, TokenKind, signing_key_secret
from mesh.identity.tokens import SigningKey
from mesh.model.errors import ConfigError, IdentityError, StoreError, Violation
from mesh.resources.resource import DEFAULT_MESH
from mesh.resources.secret import Secret
from mesh.runtime.environment import Transaction
from mesh.runtime.real.sqlite import connect_read_only
from mesh.runtime.sqlite import run_transaction

STORE_FILE = "mesh.db"
KEY_FILE = "encryption.key"


def read_key_file(path: Path, kid: str) -> SigningKey:
    """Return the private key in a file. Raises: ConfigError naming the file, never quoting it."""
    hint = "make one with mesh generate signing-key"
    try:
        return SigningKey.decode(kid, path.read_bytes())
    except OSError as error:
        message = f"cannot read the signing key: {error.strerror}"
        raise ConfigError([Violation(file=str(path), message=message, hint=hint)]) from error
    except IdentityError as error:
        raise ConfigError([Violation(file=str(path), message=str(error), hint=hint)]) from None


def read_signing_key(data_dir: Path, *, kind: TokenKind = TokenKind.DATAPLANE, mesh: str = DEFAULT_MESH) -> SigningKey:
    """Return the newest signing key of a kind in the store of a control plane. Raises: ConfigError naming what is missing."""
    folder = check_data_folder(data_dir)
    mesh = mesh if kind is TokenKind.DATAPLANE else ""
    secrets = _read_secrets(folder / STORE_FILE, folder / KEY_FILE)
    authority = TokenAuthority(secrets)
    serials = authority.serials(kind, mesh=mesh)
    if not serials:
        of_mesh = f" of mesh {mesh!r}" if mesh else ""
        hint = "name a mesh that is there with --mesh" if mesh else "start its control plane once"
        message = f"holds no signing key for a {kind.value.replace('-', ' ')}{of_mesh}"
        raise ConfigError([Violation(file=str(folder / STORE_FILE), message=message, hint=hint)])
    try:
        return SigningKey.decode(serials[-1], secrets[signing_key_secret(kind, serials[-1], mesh=mesh)])
    except IdentityError as error:
        hint = "bring it back from a copy: tokens signed with another key are refused"
        raise ConfigError([Violation(file=str(folder / STORE_FILE), message=str(error), hint=hint)]) from None


def _read_secrets(store: Path, key_file: Path) -> dict[SecretKey, bytes]:
    """Return the data of all secrets in a store. Raises: ConfigError."""
    sealer = Sealer(*_read_sealing_keys(store, key_file))

    def read(transaction: Transaction) -> dict[SecretKey, bytes]:
        check_version(transaction)
        check_seal(transaction, sealer)
        secrets = {}
        for row in read_resources(transaction)[0]:
            if row.document.sealed is not None:
                try:
                    secrets[row.key] = decode_row(row, sealer).resource.spec_as(Secret).data
                except NotReadable:
                    continue  # Another secret than the one that is looked for, or it will be missed below.
        return secrets

    try:
        with contextlib.closing(connect_read_only(str(store))) as connection:
            return run_transaction(connection, read, read_only=True)
    except StoreError as error:
        message = f"is not the store of a control plane: {error}"
        raise ConfigError([Violation(file=str(store), message=message)]) from error


def _read_sealing_keys(store: Path, key_file: Path) -> tuple[bytes, ...]:
    hint = "it is there once `mesh control-plane --data` has run"
    if not store.is_file():
        hint += "; where the store is PostgreSQL, ask the control plane: leave out --data"
        raise ConfigError([Violation(file=str(store), message="there is no store", hint=hint)])
    try:
        return decode_keys(key_file.read_bytes(), path=str(key_file))
    except OSError as error:
        message = f"cannot read the key that opens the store: {error.strerror}"
        raise ConfigError([Violation(file=str(key_file), message=message, hint=hint)]) from error
