"""Starts the processes of a scenario by forking one that has everything imported: in milliseconds instead of a second each.

`python -m sim.local.forker SOCKET` is that one; `Forker` is the runner's side. They speak lines of JSON: the runner names a
settings file and a log, the answer is a pid; later the pid comes again with its exit status.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import trio

from mesh.runtime.environment import Process, Processes
from sim.local.process import main as run_process

_LOG_MODE = 0o600
_REAP_S = 0.02
_NICE = -10  # where we may
_LINE_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1  # Source: prctl(2).


def serve(path: str) -> None:
    """Fork a process for each line until the runner is gone. Runs no threads, so that a fork copies all there is."""
    libc = ctypes.CDLL(None, use_errno=True)
    # What stands for machines of its own should not wait for the other work of this one.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    gc.collect()
    gc.freeze()  # Children share what is there: collecting would copy its pages.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as runner:
        runner.connect(path)
        buffer = b""
        children: dict[int, None] = {}
        while True:
            if select.select([runner], [], [], _REAP_S)[0]:
                data = runner.recv(_LINE_BYTES)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    pid = _fork(json.loads(line), runner, libc)
                    children[pid] = None
                    _say(runner, {"pid": pid})
            for pid in list(children):
                ended, status, used = os.wait4(pid, os.WNOHANG)
                if ended:
                    del children[pid]
                    cpu_s = used.ru_utime + used.ru_stime
                    _say(runner, {"ended": pid, "code": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s})


def _say(runner: socket.socket, what: Mapping[str, Any]) -> None:
    runner.sendall(json.dumps(what).encode() + b"\n")


def _fork(what: Mapping[str, Any], runner: socket.socket, libc: ctypes.CDLL) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:  # Else it died before the kernel knew of us.
            os.setpgid(0, 0)
            runner.close()
            log = os.open(what["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, _LOG_MODE)
            os.dup2(log, 1)
            os.dup2(log, 2)
            run_process(what["settings"])
            code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


class ForkedProcess:
    """A process that the forker has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.ended = trio.Event()

    async def wait(self) -> int:
        """Return the exit status; minus the signal's number when a signal ended it."""
        await self.ended.wait()
        assert self.code is not None
        return self.code

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Safe when it has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Forker:
    """The runner's side. `run` first."""

    def __init__(self, processes: Processes, socket_path: str) -> None:
        self._processes = processes
        self._path = socket_path
        self._stream: trio.SocketStream | None = None
        self._program: Process | None = None
        self.cpu_s = 0.0  # of all processes that have ended
        self._started: list[ForkedProcess] = []
        self._by_pid: dict[int, ForkedProcess] = {}
        self._news = trio.Condition()
        self._turn = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the forker and listen to it until cancelled. Raises: ConfigError."""
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listening:
            await listening.bind(self._path)
            listening.listen(1)
            command = [sys.executable, "-m", "sim.local.forker", self._path]
            self._program = await self._processes.start(command, log_path="logs/forker.log")
            accepted, _ = await listening.accept()
        async with trio.SocketStream(accepted) as self._stream:
            task_status.started()
            buffer = b""
            async for data in self._stream:
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    await self._hear(json.loads(line))

    async def _hear(self, news: Mapping[str, Any]) -> None:
        async with self._news:
            if "pid" in news:
                process = self._by_pid[news["pid"]] = ForkedProcess(news["pid"])
                self._started.append(process)
            else:
                process = self._by_pid.pop(news["ended"])
                process.code = int(news["code"])
                self.cpu_s += news["cpu_s"]
                process.ended.set()
            self._news.notify_all()

    async def start(self, settings_file: str, *, log: str) -> ForkedProcess:
        """Start a process with its settings."""
        assert self._stream is not None, "the forker runs"
        async with self._turn:
            await self._stream.send_all(json.dumps({"settings": settings_file, "log": log}).encode() + b"\n")
            async with self._news:
                while not self._started:
                    await self._news.wait()
                return self._started.pop()

    def end(self) -> None:
        """End the forker, and with it all that it has started."""
        if self._program is not None:
            self._program.kill()


if __name__ == "__main__":
    serve(sys.argv[1])
