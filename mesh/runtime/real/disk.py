"""Durable files below one folder.

Reads and writes go to the page cache, fast enough for Trio's thread; what waits for the device runs in another thread.
"""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

import trio

from mesh.runtime.real.sqlite import SqliteDatabase, open_database

_FILE_MODE = 0o600  # Keys and tokens lie here.
_FOLDER_MODE = 0o700
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class RealDisk:
    """See `mesh.runtime.environment.Disk`. Raises PermissionError for a path that would leave the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        os.makedirs(self._folder, mode=_FOLDER_MODE, exist_ok=True)

    async def read(self, path: str) -> bytes:
        await trio.lowlevel.checkpoint()
        return _read(self._locate(path))

    async def write(self, path: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        _write(self._locate(path), data)

    async def sync(self, path: str) -> None:
        place = self._locate(path)
        # A new name is found after a crash only if its folder, and the folder's folder, remember it.
        await trio.to_thread.run_sync(_sync_all, [place, *self._folders_above(place)])

    async def rename(self, source: str, target: str) -> None:
        await trio.lowlevel.checkpoint()
        old, new = self._locate(source), self._locate(target)
        _make_folder_of(new)
        os.replace(old, new)

    async def delete(self, path: str) -> None:
        await trio.lowlevel.checkpoint()
        os.unlink(self._locate(path))

    async def list(self, folder: str) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        start = self._folder if folder in ("", ".") else self._locate(folder)
        return _files_below(start, self._folder)

    async def open_database(self, path: str) -> SqliteDatabase:
        place = self._locate(path)
        _make_folder_of(place)
        database = await trio.to_thread.run_sync(open_database, place)
        await trio.to_thread.run_sync(_sync_all, self._folders_above(place))
        return database

    def _locate(self, path: str) -> str:
        parts = PurePosixPath(path).parts
        place = os.path.join(self._folder, *parts)
        # Links count where they lead: a folder that links elsewhere does not let anybody out.
        parent = os.path.realpath(os.path.dirname(place))
        inside = parent == self._folder or parent.startswith(self._folder + os.sep)
        if not parts or path.startswith("/") or ".." in parts or "\0" in path or not inside:
            raise PermissionError(f"{path!r} is not a path inside the data folder")
        return place

    def _folders_above(self, place: str) -> Sequence[str]:
        folders = []
        while place != self._folder:
            place = os.path.dirname(place)
            folders.append(place)
        return folders


def _read(place: str) -> bytes:
    with open(os.open(place, _READ_FLAGS), "rb") as file:
        return file.read()


def _write(place: str, data: bytes) -> None:
    _make_folder_of(place)
    with open(os.open(place, _WRITE_FLAGS, _FILE_MODE), "wb") as file:
        file.write(data)


def _make_folder_of(place: str) -> None:
    os.makedirs(os.path.dirname(place), mode=_FOLDER_MODE, exist_ok=True)


def _files_below(start: str, root: str) -> tuple[str, ...]:
    found = [os.path.join(parent, name) for parent, _, names in os.walk(start) for name in names]
    return tuple(sorted(os.path.relpath(place, root) for place in found))


def _sync_all(places: Sequence[str]) -> None:
    for place in places:
        descriptor = os.open(place, _READ_FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
