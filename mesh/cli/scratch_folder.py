"""The folder of `mesh up`: emptied at each start, and so only ever one that `mesh up` made."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from mesh.cli.files import check_data_folder
from mesh.model.errors import ConfigError, Violation

MARKER = ".mesh-up"
_MARKER_TEXT = "`mesh up` made this folder and empties it at each start.\n"


@contextmanager
def scratch_folder(path: Path, *, option: str = "--data") -> Iterator[Path]:
    """Give an empty folder, absolute, and keep other `mesh up` out of it meanwhile; what it holds stays there afterwards.

    Raises: ConfigError when there are files in it that `mesh up` did not write, or another one uses it.
    """
    folder = check_data_folder(path, option=option).resolve()
    try:
        lock = _lock(folder, path, option)
    except OSError as error:
        raise _refusal(option, f"cannot prepare the folder {path}: {error.strerror}", "name another one") from error
    with lock:
        yield folder


def _lock(folder: Path, path: Path, option: str) -> TextIO:
    """Empty the folder and return its marker, locked until it is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    if not marker.is_file() and any(folder.iterdir()):
        hint = "name a new or empty folder, or empty this one yourself"
        raise _refusal(option, f"{path} holds files that `mesh up` did not write", hint)
    with ExitStack() as unless_ready:
        lock = unless_ready.enter_context(marker.open("a+"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "end it, or name another folder"
            raise _refusal(option, f"another `mesh up` is using {path}", hint) from None
        _empty(folder)
        lock.truncate(0)
        lock.write(_MARKER_TEXT)
        lock.flush()
        unless_ready.pop_all()
    return lock


def _empty(folder: Path) -> None:
    """Remove all but the marker, so that a folder half emptied can be emptied again."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()


def _refusal(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Violation(path=option, message=message, hint=hint)])
