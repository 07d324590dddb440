"""A real PostgreSQL server for tests, from the binaries on this machine, in a temporary folder, on a Unix socket.

Import the fixture: `from tests.postgres_server import postgres_server  # noqa: F401`. `database_url()` gives a fresh,
empty database each time. Skips with the reason where there is no PostgreSQL.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "correct horse"
_UNPRIVILEGED = ("postgres", "nobody")  # initdb refuses to run as root.
_TIMEOUT_S = 60


class PostgresServer:
    """One cluster. Only its Unix socket is open, for user `mesh` with PASSWORD; fsync is on."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        self._data = folder / "data"
        self._numbers = itertools.count(1)

    def create(self) -> None:
        """Make the cluster."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self._own(secret)
        self._run(
            "initdb", "--pgdata", self._data, "--username=mesh", f"--pwfile={secret}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._run("pg_ctl", "start", "--wait", "--silent", "--pgdata", self._data, "--log", self.folder / "log")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash."""
        self._run("pg_ctl", "stop", "--silent", "--pgdata", self._data, "--mode", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start it."""
        self.stop(mode)
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether the server process is there."""
        return (self._data / "postmaster.pid").exists()

    def url(self, database: str = "postgres", *, user: str = "mesh", password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{quote(password)}@/{database}?host={quote(str(self.folder), safe='')}"

    def database_url(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str, *, database: str = "postgres") -> None:
        """Run one statement as the owner of everything."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql)  # type: ignore[call-overload]  # Tests may build statements.

    def _own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, *self._user())

    def _user(self) -> tuple[int, int]:
        user = next(user for user in map(_find_user, _UNPRIVILEGED) if user is not None)
        return user.pw_uid, user.pw_gid

    def _run(self, program: str, *arguments: object) -> None:
        uid, gid = self._user() if os.getuid() == 0 else (None, None)
        done = subprocess.run(
            [self._binaries / program, *map(str, arguments)],
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout.decode()}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, made once."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra `postgres`)")
    binaries = _find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    # The path of a Unix socket is short: not below pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="mesh-pg-") as name:
        server = PostgresServer(binaries, Path(name))
        server._own(server.folder)
        server.create()
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.stop("immediate")


def _find_binaries() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _find_user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
