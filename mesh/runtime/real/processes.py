"""Helper programs that end when we end.

The kernel kills a child when the thread that forked it ends (PR_SET_PDEATHSIG). So children are forked in Trio's own
thread, never by `trio.run_process`, which forks in a worker thread that ends after 10 s of idleness.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import trio

from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Process

_PR_SET_PDEATHSIG = 1  # Source: prctl(2).
_LOG_MODE = 0o600


class RealProcess:
    """A running or ended helper program."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self.pid = popen.pid
        self._popen = popen

    async def wait(self) -> int:
        """Return the exit status; minus the signal's number when a signal ended it."""
        await trio.lowlevel.checkpoint()
        while (status := self._popen.poll()) is None:
            ended = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(ended)
            finally:
                os.close(ended)
        return status

    def terminate(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        self._popen.kill()


class RealProcesses:
    """See `mesh.runtime.environment.Processes`. Log paths are relative to `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)

    async def start(self, command: Sequence[str], *, log_path: str | None = None) -> Process:
        """Start a program; what it prints goes to its log, or to our standard error.

        Raises: ConfigError when there is no such program or it may not be run.
        """
        await trio.lowlevel.checkpoint()
        output = self._open_log(log_path) if log_path is not None else sys.__stderr__
        parent = os.getpid()
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220 -- Trio's own would fork in a thread that ends, see above.
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own: Ctrl-C in the terminal reaches us alone, and we end our children in order.
                process_group=0,
                preexec_fn=lambda: self._die_with(parent),
            )
        except OSError as error:
            raise ConfigError([Violation(message=f"cannot start {command[0]}: {error.strerror}")]) from error
        finally:
            if isinstance(output, int):
                os.close(output)
        return RealProcess(popen)

    def _die_with(self, parent: int) -> None:
        # SIGKILL: only when we died ourselves and nobody is left to wait for an orderly end.
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # We died before the kernel knew.

    def _open_log(self, log_path: str) -> int:
        place = os.path.join(self._folder, log_path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _LOG_MODE)
