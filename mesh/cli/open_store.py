"""Where a control plane keeps what it must not lose: SQLite in its data folder, or PostgreSQL, and the key to its secrets."""

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from mesh.cli.signing_key import KEY_FILE, STORE_FILE
from mesh.control.store.sealing import Sealer, create_key, decode_keys, encode_keys, load_sealer
from mesh.control.store.store import Store
from mesh.model.errors import ConfigError, StoreError, Violation
from mesh.runtime.environment import Environment
from mesh.runtime.real.postgres import open_postgres

SQLITE = "sqlite"


def parse_store(text: str) -> str:
    """Read --store: `sqlite` or a PostgreSQL URL. Raises: ConfigError, which does not quote a password."""
    if text == SQLITE:
        return text
    parts = urlsplit(text)
    if parts.scheme in ("postgresql", "postgres") and parts.path.strip("/"):
        return text
    hint = "write sqlite, or postgresql://user:password@host:5432/database"
    raise ConfigError([Violation(path="--store", message="is neither sqlite nor the URL of a database", hint=hint)])


def read_key_file(path: Path) -> tuple[bytes, ...]:
    """Return the keys of --encryption-key-file, made when there is none. Raises: ConfigError naming the file."""
    try:
        return decode_keys(_read_or_create(path), path=str(path))
    except OSError as error:
        message = f"cannot keep the encryption key: {error.strerror}"
        hint = "name a file in a folder that is there and that you may write"
        raise ConfigError([Violation(path="--encryption-key-file", message=f"{path}: {message}", hint=hint)]) from error


async def open_store(env: Environment, url: str, keys: tuple[bytes, ...] | None) -> Store:
    """Open the store; without `keys` those of the data folder open its secrets. Raises: ConfigError."""
    try:
        sealer = Sealer(*keys) if keys is not None else await _own_sealer(env, url)
        if url == SQLITE:
            database = await env.disk.open_database(STORE_FILE)
        else:
            database = await open_postgres(url, log=env.log)
        return await Store.open(database, sealer=sealer, wall_clock=env.wall_clock, log=env.log)
    except StoreError as error:
        hint = "see that its disk or its server works"
        raise ConfigError([Violation(path="--store", message=f"cannot open the store: {error}", hint=hint)]) from error


async def _own_sealer(env: Environment, url: str) -> Sealer:
    """Return what the key in the data folder opens, made where nothing was sealed yet."""
    files = await env.disk.list("")
    if url == SQLITE and STORE_FILE in files and KEY_FILE not in files:
        hint = "bring it back from a copy: without it the secrets in the store cannot be read"
        raise ConfigError([Violation(path="--data", message=f"holds {STORE_FILE}, but not its {KEY_FILE}", hint=hint)])
    return await load_sealer(env, KEY_FILE)


def _read_or_create(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    # Several control planes may start with the same file: whole and durable it gets its name, and the first one stays.
    descriptor, fresh = tempfile.mkstemp(dir=path.parent or ".", prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_keys((create_key(),)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(fresh)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path.read_bytes()
