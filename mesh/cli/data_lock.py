"""One control plane to a data folder: two would take each other for themselves."""

import fcntl
import os
from pathlib import Path

from mesh.model.errors import ConfigError, Violation

LOCK_FILE = "control-plane.lock"


def lock_data_folder(folder: Path) -> int:
    """Hold the folder as long as the process lives; return the open file. Raises: ConfigError when another holds it."""
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot use the data folder {folder}: {error.strerror}"
        raise ConfigError([Violation(path="--data", message=message)]) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        hint = "stop it, or name another folder"
        message = f"{folder} is in use by another control plane"
        raise ConfigError([Violation(path="--data", message=message, hint=hint)]) from error
    return descriptor
